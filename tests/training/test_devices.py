"""States on several devices and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from ssdkd_jax.errors import UserError
from ssdkd_jax.training import devices

STATE = {
    "weights": np.arange(6, dtype=np.float32).reshape(2, 3),
    "images": np.arange(11 * 2, dtype=np.uint8).reshape(11, 2),
    "step": np.int32(7),
}
SHARDED = {"weights": False, "images": True, "step": False}


@pytest.mark.parametrize("count", [1, 2, 8])
def test_gather_undoes_spread(count):
    """11 rows are no multiple of 2 or 8."""
    spread = devices.spread(STATE, jax.local_devices()[:count], SHARDED)
    assert spread["weights"].shape == (count, 2, 3)
    assert spread["images"].shape == (count, -(-11 // count), 2)
    back = devices.gather(spread, STATE, SHARDED)
    for name, value in STATE.items():
        assert_array_equal(back[name], value)
        assert back[name].dtype == value.dtype


@pytest.mark.parametrize("count", [1, 2, 8])
def test_spread_shapes_says_what_spread_does(count):
    chosen = jax.local_devices()[:count]
    said = devices.spread_shapes(jax.eval_shape(lambda: STATE), chosen, SHARDED)
    for name, array in devices.spread(STATE, chosen, SHARDED).items():
        assert (said[name].shape, said[name].dtype, said[name].sharding) == (array.shape, array.dtype, array.sharding)


def test_each_device_holds_its_rows():
    chosen = jax.local_devices()[:2]
    images = devices.spread(STATE, chosen, SHARDED)["images"]
    assert [shard.device for shard in images.addressable_shards] == chosen
    assert_array_equal(images[1], [*STATE["images"][6:], [0, 0]])


def test_everything_is_copied_without_sharding():
    back = devices.gather(devices.spread(STATE, jax.local_devices()))
    assert_array_equal(back["images"], STATE["images"])


def test_pmap_names_the_axis():
    chosen = jax.local_devices()[:4]
    total = devices.pmap(lambda x: jax.lax.psum(x, devices.AXIS), chosen)(jnp.arange(4.0))
    assert_array_equal(total, [6, 6, 6, 6])


def test_local_devices():
    assert devices.local_devices() == jax.local_devices()
    assert devices.local_devices(3) == jax.local_devices()[:3]
    with pytest.raises(UserError, match="devices=9, but this machine has 8"):
        devices.local_devices(9)


@pytest.mark.parametrize(
    ("error", "reason"),
    [(RuntimeError("no libtpu\nat all"), "no libtpu"), (AssertionError(), "JAX_PLATFORMS=cpu")],
)
def test_no_device_of_the_platform_that_is_asked_for(monkeypatch, error, reason):
    def fail():
        raise error

    monkeypatch.setattr(jax, "local_devices", fail)
    with pytest.raises(UserError, match=rf"JAX finds no device \({reason}\); to use the CPU, set JAX_PLATFORMS=cpu"):
        devices.local_devices()


@pytest.mark.parametrize("size", [0, 3])
def test_check_divisible(size):
    devices.check_divisible(jax.local_devices(), batch_size=16)
    with pytest.raises(UserError, match=f"batch_size={size} cannot be divided over 8 devices"):
        devices.check_divisible(jax.local_devices(), batch_size=size)

"""The bank that outgrows the device: what a window holds, and that each image is drawn equally often."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from ssdkd_jax import replay_buffer
from ssdkd_jax.methods.image_bank import window_on
from tests.numbered_images import SHAPE, NumberedImages, a_problem, megabytes, numbers

BATCH, WINDOW = 8, 24


def a_bank(count, capacity):
    """A bank in host memory whose first `count` images show their number; classes and confidences belong to it too."""
    number = np.arange(capacity)
    return replay_buffer.ReplayBuffer(
        images=np.broadcast_to(number[:, None, None, None], (capacity, *SHAPE)).astype(np.uint8),
        predicted_class=(number % 5).astype(np.int32),
        confidence=(number / 7).astype(np.float32),
        priority=(number < count).astype(np.float32),
        age=(number[::-1] // BATCH).astype(np.int32),
        valid=number < count,
    )


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 200), st.integers(1, 30), st.integers(1, 60), st.integers(0, 2**32))
def test_a_window_holds_different_images_and_room_for_a_batch(count, batch_size, more, seed):
    size = batch_size + more
    window = window_on(a_bank(count, 200), size, batch_size, np.random.default_rng(seed))
    drawn = min(count, more)
    assert_array_equal(window.valid, np.arange(size) < drawn)
    held = window.images[window.valid, 0, 0, 0].astype(int)
    assert len(set(held)) == drawn and all(number < count for number in held)
    assert_array_equal(window.predicted_class[window.valid], held % 5)
    assert_array_equal(window.confidence[window.valid], (held / 7).astype(np.float32))
    assert_allclose(np.sum(window.priority), count, rtol=1e-5)
    if count <= more:
        assert_array_equal(held, np.arange(count))
    for given_array, array in zip(a_bank(1, 200), window, strict=True):
        assert array.dtype == given_array.dtype and array.shape == (size, *given_array.shape[1:])


def draws(count, windows):
    """How often each of count + BATCH images is drawn, in one batch of 16 from each of so many windows: an epoch's."""
    method = NumberedImages(problem=a_problem(), bank_megabytes=megabytes(WINDOW))
    start = method.init(jax.random.key(0), {})._replace(synthesis=jnp.int32(count), epoch=jnp.int32(count // BATCH))
    bank = a_bank(count, 64)
    filled = [method.window.fill(bank, np.random.default_rng(seed)) for seed in range(windows)]

    def batch(window, key):
        state, metrics = method.synthesize(start._replace(bank=window), {}, key)
        indices, weights = method.sample(state.bank, key)
        return numbers(replay_buffer.read(state.bank, indices)), weights, state.bank.priority, metrics["buffer_size"]

    keys = jax.random.split(jax.random.key(1), windows)
    drawn, weights, priority, size = jax.jit(jax.vmap(batch))(jax.tree.map(lambda *x: np.stack(x), *filled), keys)
    assert_array_equal(weights, 1)
    assert_array_equal(size, count + BATCH)
    return np.bincount(np.ravel(drawn), minlength=count + BATCH), np.asarray(priority)


@pytest.mark.parametrize("count", [8, 16, 32, 56])
def test_each_image_of_the_whole_bank_is_drawn_equally_often(count):
    windows = 2000
    found, priority = draws(count, windows)
    assert len(found) == count + BATCH
    expected = windows * 16 / (count + BATCH)
    # Draws within a window are no less even than independent ones of an image that is there or not.
    old, there = min(count, WINDOW - BATCH), min(1, (WINDOW - BATCH) / count)
    in_window = 16 / (count + BATCH) / there
    deviation = np.sqrt(windows * (there * in_window + there * (1 - there) * in_window**2))
    assert np.all(np.abs(found - expected) < 5 * deviation)
    assert np.abs(found[count:].sum() - BATCH * expected) <= windows  # one of a batch's draws is on the border
    assert_allclose(priority[:, :old], count / old, rtol=1e-6)
    assert_array_equal(priority[:, old : old + BATCH], 1)


def test_a_bank_in_host_memory_keeps_no_views():
    with pytest.raises(ValueError, match=r"views is 2, expected 0 where the devices have no room for all 64 images"):
        NumberedImages(problem=a_problem(), bank_megabytes=megabytes(63), views=2)


def test_a_bank_that_fits_is_none_of_this():
    fitting = NumberedImages(problem=a_problem(), bank_megabytes=megabytes(64))
    assert fitting.window is None
    assert NumberedImages(problem=a_problem(), bank_megabytes=megabytes(63)).window is not None

    def program(method):
        state = jax.eval_shape(method.init, jax.random.key(0), {})
        return str(jax.make_jaxpr(method.epoch)(state, {}, jax.random.key(0)))

    assert program(fitting) == program(NumberedImages(problem=a_problem()))
    bank = replay_buffer.init(64, SHAPE)._replace(valid=np.arange(64) < 24, priority=np.arange(64.0))
    uniform = replay_buffer.sample(bank, jax.random.key(3), 16, alpha=0.0, beta=0.0)
    jax.tree.map(assert_array_equal, fitting.sample(bank, jax.random.key(3)), uniform)


@pytest.mark.parametrize("dtype, itemsize", [("uint8", 1), ("bfloat16", 2), ("float32", 4)])
def test_the_window_is_what_fits_into_the_budget(dtype, itemsize):
    one_byte = 1e-6
    budget = megabytes(21, itemsize) - one_byte
    method = NumberedImages(problem=a_problem(), bank_megabytes=budget, bank_dtype=dtype)
    assert len(method.init(jax.random.key(0), {}).bank.valid) == 20
    assert method.window.capacity == 64


def test_too_small_a_budget():
    with pytest.raises(
        ValueError, match=r"^bank_megabytes is 3e-05, expected at least 3.2e-05, room for two batches of 8 images$"
    ):
        NumberedImages(problem=a_problem(), bank_megabytes=3e-5)
    assert NumberedImages(problem=a_problem(), bank_megabytes=3.2e-5).window

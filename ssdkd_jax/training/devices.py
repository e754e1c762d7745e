"""The devices of a run, and how a state is spread over them and gathered from them."""

import os

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ssdkd_jax.errors import UserError
from ssdkd_jax.training import multiprocess

AXIS = "devices"


def local_devices(count=0):
    """The first `count` local devices, all of them for 0.

    Raises:
      UserError: more are asked for than there are.
    """
    try:
        devices = jax.local_devices()
    except (RuntimeError, AssertionError) as error:  # the latter, without a word, where JAX lacks the platform's plugin
        reason = str(error).splitlines()[0] if str(error) else f"JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS', '')}"
        raise UserError(
            f"JAX finds no device ({reason}); to use the CPU, set JAX_PLATFORMS=cpu; README.md, under GPU and TPU, has "
            "the packages for accelerators"
        ) from error
    if count > len(devices):
        raise UserError(
            f"devices={count}, but this machine has {len(devices)} ({devices[0].platform}); "
            "use --config.devices=0 for all of them"
        )
    return devices[: count or None]


def devices_of_run(count=0):
    """The first `count` devices of each process, all of them for 0; process by process, as collectives need them.

    Raises:
      UserError: a process has fewer, or not as many as the others.
    """
    here = local_devices(count)
    if multiprocess.count() == 1:
        return here
    by_process = [jax.local_devices(process_index=index) for index in range(multiprocess.count())]
    numbers = [len(devices) for devices in by_process]
    if min(numbers) < len(here) or (not count and max(numbers) > len(here)):
        raise UserError(
            f"the processes have {', '.join(map(str, numbers))} devices, expected as many in each: "
            f"--config.devices={min(numbers)}"
        )
    return [device for devices in by_process for device in devices[: len(here)]]


def check_divisible(devices, **batch_sizes):
    """Raises UserError unless every named batch size is a positive multiple of the number of devices."""
    for field, size in batch_sizes.items():
        if size < 1 or size % len(devices):
            raise UserError(
                f"{field}={size} cannot be divided over {len(devices)} devices; "
                f"use a multiple of {len(devices)}, or fewer devices with --config.devices=1"
            )


def pmap(function, devices, *, in_axes=0, donate_argnums=()):
    """`jax.pmap` over the project's axis and the given devices."""
    return jax.pmap(function, axis_name=AXIS, devices=devices, in_axes=in_axes, donate_argnums=donate_argnums)


def spread(state, devices, sharded=None):
    """One device's view of a state -> the pmapped state, with a leading axis of devices.

    Args:
      state: pytree of arrays.
      devices: list of devices.
      sharded: pytree of bools like `state`: leaves whose first axis is split over the devices (padded with zeros to a
        multiple of their number); the others are copied to each.  None: all are copied.
    """
    sharding = _sharding(devices)

    def place(x, split=False):
        x = np.asarray(x)
        shape = _shape_on(devices, x.shape, split)
        if split:
            padding = [(0, shape[0] * shape[1] - len(x))] + [(0, 0)] * (x.ndim - 1)
            x = np.pad(x, padding).reshape(shape)
        else:
            x = np.broadcast_to(x, shape)
        return jax.make_array_from_callback(shape, sharding, lambda index: x[index])

    return jax.tree.map(place, state) if sharded is None else jax.tree.map(place, state, sharded)


def spread_shapes(shapes, devices, sharded):
    """The shapes, dtypes and placement of what `spread` makes of a state of these shapes."""
    sharding = _sharding(devices)

    def place(x, split):
        return jax.ShapeDtypeStruct(_shape_on(devices, x.shape, split), x.dtype, sharding=sharding)

    return jax.tree.map(place, shapes, sharded)


def _sharding(devices):
    return NamedSharding(Mesh(np.array(devices), (AXIS,)), PartitionSpec(AXIS))


def _shape_on(devices, shape, split):
    if split:
        return (len(devices), -(-shape[0] // len(devices)), *shape[1:])
    return (len(devices), *shape)


def gather(state, like=None, sharded=None):
    """The inverse of `spread`, as NumPy arrays on the host: the same whatever the number of devices.

    Args:
      state: pmapped pytree.
      like: pytree of the arrays' (or shapes') original shapes; needed with `sharded`.
      sharded: as for `spread`.
    """
    if sharded is None:
        return jax.tree.map(replica, state)

    def collect(x, original, split):
        return multiprocess.whole(x).reshape(-1, *x.shape[2:])[: original.shape[0]] if split else replica(x)

    return jax.tree.map(collect, state, like, sharded)


def replica(x):
    """A pmapped array that is the same on every device, as one of this process's holds it: NumPy array."""
    # Not as x[0], for which a program of each shape would be compiled.  Copied, since on CPUs this is the memory that
    # the next epoch, to which it is donated, writes into.
    return np.array(x.addressable_shards[0].data)[0]

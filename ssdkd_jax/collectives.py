"""Averages, sums and slices over the pmapped axis; plain identities when there is none.

Every module below `methods` takes `axis_name: str | None`.  With a name, arrays that belong to a batch hold this
device's part of it (a contiguous slice, device 0 first), everything else is the same on every device, and N devices
compute what one device computes on the whole batch.
"""

import jax
import jax.numpy as jnp
from jax import lax


def pmean(tree, axis_name=None):
    """Mean of every leaf over the devices."""
    return tree if axis_name is None else lax.pmean(tree, axis_name)


def axis_size(axis_name=None):
    """Number of devices, a Python int."""
    return 1 if axis_name is None else lax.axis_size(axis_name)


def all_gather(tree, axis_name=None):
    """This device's part (b, ...) of every leaf -> the whole batch (devices * b, ...), the same on every device."""
    if axis_name is None:
        return tree
    return jax.tree.map(lambda x: lax.all_gather(x, axis_name, tiled=True), tree)


def local_part(tree, axis_name=None):
    """The whole batch (devices * b, ...), the same on every device -> this device's part (b, ...)."""
    if axis_name is None:
        return tree

    def part(x):
        size = x.shape[0] // lax.axis_size(axis_name)
        return lax.dynamic_slice_in_dim(x, lax.axis_index(axis_name) * size, size)

    return jax.tree.map(part, tree)


def sum_scatter(x, axis_name=None):
    """Sum of x (devices * b, ...) over the devices, of which each keeps its part (b, ...)."""
    if axis_name is None:
        return x
    return lax.psum_scatter(x, axis_name, scatter_dimension=0, tiled=True)


def put_rows(rows, slots, values, axis_name=None):
    """Sets rows of an array whose first axis is split over the devices.

    Args:
      rows: (slots, ...) this device's slots.
      slots: (b,) int, numbers of slots of the whole array.
      values: (b, ...) of the whole batch.
      axis_name: the pmapped axis.
    """
    return rows.at[_rows_here(rows, slots, axis_name)].set(values, mode="drop")


def take_rows(rows, slots, axis_name=None, *within):
    """Reads rows of an array whose first axis is split over the devices.

    Args:
      rows: (slots, ...) this device's slots.
      slots: (b,) int, numbers of slots of the whole array.
      axis_name: the pmapped axis.
      *within: (b,) int, indices of further axes.

    Returns:
      (b / devices, ...), this device's part of the batch.
    """
    here = _rows_here(rows, slots, axis_name)
    found = rows[(jnp.where(here < rows.shape[0], here, 0), *within)]
    there = (here < rows.shape[0]).reshape(-1, *[1] * (found.ndim - 1))
    return sum_scatter(jnp.where(there, found, 0), axis_name)


def _rows_here(rows, slots, axis_name):
    """Rows on this device that hold the given slots; out of range for slots of other devices."""
    here = slots - device_index(axis_name) * rows.shape[0]
    return jnp.where((here >= 0) & (here < rows.shape[0]), here, rows.shape[0])


def device_index(axis_name=None):
    """Position of this device on the axis, int32 scalar."""
    return jnp.int32(0) if axis_name is None else lax.axis_index(axis_name)

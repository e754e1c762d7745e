"""The teacher's outputs for views of buffer entries, computed once and kept: a student step then runs no teacher.

A view is one crop and flip of an image.  There are few of them, `count(padding, flip)`: 9 where images are shifted by
at most one pixel, 162 with four pixels and a flip.  An entry of a small buffer is drawn far more often than it is
replaced, so the teacher sees every view once instead of hundreds of times.  [ours; the papers run the teacher in every
student step]

Like the buffer's images, kept views are sharded over the devices, slot by slot.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssdkd_jax import collectives
from ssdkd_jax.data.preprocessing import crop


class KeptViews(NamedTuple):
    """V views of every buffer entry.

    number: (slots, V) int32, which views; see `look`.
    output: (slots, V, classes) float32, what the teacher makes of them.
    """

    number: jax.Array
    output: jax.Array


def count(padding: int, flip: bool) -> int:
    """Number of different views of an image: offsets in -padding..padding by row and by column, mirrored or not."""
    return (2 * padding + 1) ** 2 * (2 if flip else 1)


def init(capacity: int, views: int, num_classes: int) -> KeptViews:
    """Nothing kept yet, for a whole buffer of this capacity."""
    return KeptViews(jnp.zeros((capacity, views), jnp.int32), jnp.zeros((capacity, views, num_classes), jnp.float32))


def draw(key: jax.Array, entries: int, views: int, different: int) -> jax.Array:
    """Numbers of `views` different views for each entry, out of `different` ones: (entries, views) int32."""
    if views >= different:
        return jnp.broadcast_to(jnp.arange(different, dtype=jnp.int32), (entries, different))
    order = jnp.argsort(jax.random.uniform(key, (entries, different)), axis=1)
    return order[:, :views].astype(jnp.int32)


def look(images: jax.Array, number: jax.Array, *, padding: int, flip: bool) -> jax.Array:
    """One view of each image.

    Args:
      images: (n, h, w, c).
      number: (n,) int32 below `count(padding, flip)`.
      padding, flip: of the augmentation, as for `data.preprocessing.augment`.
    """
    if flip:
        number, mirrored = number // 2, number % 2 == 1
    side = 2 * padding + 1
    if padding:
        images = crop(images, jnp.stack([number // side, number % side], axis=1), padding)
    return jnp.where(mirrored[:, None, None, None], images[:, :, ::-1], images) if flip else images


def answers(teacher: Callable, images: jax.Array, number: jax.Array, *, padding: int, flip: bool) -> jax.Array:
    """The teacher's outputs for some views of each image.

    Args:
      teacher: images (n, h, w, c) in [0, 1] -> (n, classes).
      images: (n, h, w, c) in [0, 1].
      number: (n, V) int32.
      padding, flip: as for `look`.

    Returns:
      (n, V, classes) float32.
    """
    output = jax.lax.map(lambda column: teacher(look(images, column, padding=padding, flip=flip)), number.T)
    return jnp.swapaxes(output, 0, 1).astype(jnp.float32)


def put(kept: KeptViews, slots: jax.Array, number, output, *, axis_name: str | None = None) -> KeptViews:
    """Keeps the views of the entries at `slots`.

    Args:
      kept: KeptViews.
      slots: (b,) int, of the whole batch.
      number, output: (b, V) and (b, V, classes), this device's part of the batch.
      axis_name: the pmapped axis.
    """
    number, output = collectives.all_gather((number, output), axis_name)
    return KeptViews(
        number=collectives.put_rows(kept.number, slots, number, axis_name),
        output=collectives.put_rows(kept.output, slots, output, axis_name),
    )


def pick(kept: KeptViews, slots: jax.Array, columns: jax.Array, *, axis_name: str | None = None):
    """One of the kept views of each entry.

    Args:
      kept: KeptViews.
      slots, columns: (b,) int, of the whole batch: which entry, and which of its views.
      axis_name: the pmapped axis.

    Returns:
      (number (b / devices,) int32, output (b / devices, classes) float32), this device's part of the batch.
    """
    return tuple(collectives.take_rows(rows, slots, axis_name, columns) for rows in kept)

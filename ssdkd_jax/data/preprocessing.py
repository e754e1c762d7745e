"""What happens to pixels on the device: ranges, normalization, random crops and flips.

All are pure functions; the random ones take a key. Crops, flips and normalization are differentiable in the images.
"""

import jax
import jax.numpy as jnp
from jax import lax, random
from jax.typing import ArrayLike, DTypeLike

from ssdkd_jax import collectives


def to_unit(images: ArrayLike, dtype: DTypeLike = jnp.float32) -> jax.Array:
    """uint8 images of any shape -> floats in [0, 1]."""
    return jnp.asarray(images, dtype) / 255


def to_uint8(images01: ArrayLike) -> jax.Array:
    """Float images of any shape -> uint8, rounded; values outside of [0, 1] are clipped."""
    return jnp.clip(jnp.round(images01 * 255), 0, 255).astype(jnp.uint8)


def normalize(images01: jax.Array, mean: ArrayLike, std: ArrayLike) -> jax.Array:
    """Images (..., c) in [0, 1] -> (images - mean) / std, same shape and dtype; mean and std hold c numbers each."""
    return (images01 - jnp.asarray(mean, images01.dtype)) / jnp.asarray(std, images01.dtype)


def random_crop(key: jax.Array, images: jax.Array, padding: int, *, axis_name: str | None = None) -> jax.Array:
    """Shifts every image by its own random offset and fills the uncovered border with zeros.

    The same as padding with zeros on all four sides and cutting out a window of the old size at a random place (the
    crop of FastDFKD, arXiv 2112.06253, with 4 pixels there).

    Args:
      key: the same on every device.
      images: (b, h, w, c), any dtype; this device's part of the batch where `axis_name` is given.
      padding: >= 0; the shifts are uniform in -padding..padding, by row and by column.
      axis_name: the pmapped axis, if any.

    Returns:
      images of the same shape and dtype.
    """
    if padding == 0:
        return images
    corners = random.randint(key, (_whole_batch(images, axis_name), 2), 0, 2 * padding + 1)
    return crop(images, collectives.local_part(corners, axis_name), padding)


def crop(images: jax.Array, corners: jax.Array, padding: int) -> jax.Array:
    """Pads images (n, h, w, c) with zeros on all sides and cuts out the windows of the old size at `corners`.

    `corners` (n, 2) int, row and column, are in 0..2 * padding; (padding, padding) is the image as it was.
    """
    padded = jnp.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    # Of the ways to write this (selection-matrix matmuls, take_along_axis, barrel shifter), the plain one is the
    # fastest on CPU, forward and backward, and compiles to a loop of slices on TPU.
    return jax.vmap(lambda image, corner: lax.dynamic_slice(image, (*corner, 0), images.shape[1:]))(padded, corners)


def random_flip(key: jax.Array, images: jax.Array, *, axis_name: str | None = None) -> jax.Array:
    """Mirrors every image left to right with probability one half.

    Args:
      key: the same on every device.
      images: (b, h, w, c), any dtype; this device's part of the batch where `axis_name` is given.
      axis_name: the pmapped axis, if any.

    Returns:
      images of the same shape and dtype.
    """
    flipped = collectives.local_part(random.bernoulli(key, shape=(_whole_batch(images, axis_name),)), axis_name)
    return jnp.where(flipped[:, None, None, None], images[:, :, ::-1], images)


def random_resized_crop(
    key: jax.Array, images: jax.Array, least_area: float, *, axis_name: str | None = None
) -> jax.Array:
    """Cuts a random window out of every image and stretches it to the whole size, bilinearly.

    It is the local view of CMI (arXiv 2105.08584).

    Args:
      key: the same on every device.
      images: (b, h, w, c) float; this device's part of the batch where `axis_name` is given.
      least_area: the window's share of the image is uniform between this and 1; its width over its height, relative to
        the image's, is log-uniform between 3/4 and 4/3, cut off where the window would not fit.
      axis_name: the pmapped axis, if any.

    Returns:
      images of the same shape and dtype.
    """
    area_key, aspect_key, place_key = random.split(key, 3)
    count = _whole_batch(images, axis_name)
    area = random.uniform(area_key, (count, 1), minval=least_area, maxval=1.0)
    aspect = jnp.exp(random.uniform(aspect_key, (count, 1), minval=jnp.log(3 / 4), maxval=jnp.log(4 / 3)))
    window = jnp.minimum(jnp.concatenate([jnp.sqrt(area / aspect), jnp.sqrt(area * aspect)], axis=1), 1.0)
    corner = random.uniform(place_key, (count, 2)) * (1 - window)
    window, corner = collectives.local_part((window, corner), axis_name)

    def stretch(image, window, corner):
        size = jnp.array(image.shape[:2], jnp.float32)
        return jax.image.scale_and_translate(
            image, image.shape, (0, 1), 1 / window, -corner * size / window, "linear", antialias=False
        )

    return jax.vmap(stretch)(images, window, corner)


def augment(key: jax.Array, images: jax.Array, *, padding: int, flip: bool, axis_name: str | None = None) -> jax.Array:
    """Applies a random crop, then a random flip.

    The draws are made for the whole batch on every device, so N devices augment exactly as one device would.

    Args:
      key: the same on every device.
      images: (b, h, w, c), any dtype; this device's part of the batch where `axis_name` is given.
      padding: >= 0; 0 means no crop.
      flip: whether to flip at all.
      axis_name: the pmapped axis, if any.

    Returns:
      images of the same shape and dtype; the very same array with `padding=0, flip=False`.
    """
    if padding == 0 and not flip:
        return images
    crop_key, flip_key = random.split(key)
    images = random_crop(crop_key, images, padding, axis_name=axis_name)
    return random_flip(flip_key, images, axis_name=axis_name) if flip else images


def _whole_batch(images, axis_name):
    return len(images) * collectives.axis_size(axis_name)

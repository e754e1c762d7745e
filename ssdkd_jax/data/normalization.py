"""Pixel ranges: bytes, the unit interval, and the channel normalisation that teacher and student expect."""

import jax.numpy as jnp

_HALF = ((0.5,), (0.5,))
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

# What the public PyTorch weights of this field were trained with (zju-vipa/Fast-Datafree): a teacher must see the
# numbers it was trained with, so these stay as published even where they are not the exact statistics of the set.
_PUBLISHED = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    "imagenet": _IMAGENET,
    "imagenet2012": _IMAGENET,
    "fashion_mnist": ((0.2860,), (0.3530,)),
}


def normalization(name, channels=3):
    """Mean and standard deviation per channel, on the scale of [0, 1].

    Args:
      name: a data set's name; 'imagenet' is also what many published CIFAR-10 checkpoints were trained with.
      channels: how many channels, for sets that are not in the table.

    Returns: (mean, std), tuples of floats; 0.5 in every channel for sets that are not in the table (digits, camvid,
      nyuv2, image folders, ...).
    """
    unversioned = name.split(":")[0]  # TFDS writes 'cifar10:3.0.2'
    return _PUBLISHED.get(unversioned, tuple(half * channels for half in _HALF))


def normalize(images01, mean, std):
    """Images (..., c) in [0, 1] -> (images - mean) / std, same shape and dtype; mean and std hold c numbers each."""
    return (images01 - jnp.asarray(mean, images01.dtype)) / jnp.asarray(std, images01.dtype)


def to_unit(images, dtype=jnp.float32):
    """uint8 images of any shape -> floats in [0, 1]."""
    return jnp.asarray(images, dtype) / 255


def to_uint8(images01):
    """Float images of any shape -> uint8, rounded; values outside of [0, 1] are clipped."""
    return jnp.clip(jnp.round(images01 * 255), 0, 255).astype(jnp.uint8)

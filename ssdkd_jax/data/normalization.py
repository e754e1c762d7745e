"""Pixel ranges: bytes, the unit interval, and the channel normalization that teacher and student expect."""

import math

from ssdkd_jax.errors import UserError

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


def public_normalization(architecture):
    """The normalization that a network's public checkpoints want whatever their data set is, or ""."""
    return "imagenet" if architecture.endswith(("_option_a", "_imagenet")) else ""  # akamaster's, torchvision's


def chosen_normalization(text, channels=3):
    """The normalization that a user writes down.

    Args:
      text: a name of the table, 'half' for 0.5 in every channel, or numbers such as '0.49,0.48,0.45/0.2,0.2,0.2':
        means, a slash, standard deviations.
      channels: of the images.

    Returns: (mean, std), tuples of floats.
    Raises: UserError for an unknown name, or numbers that are not one per channel.
    """
    if text == "half":
        return normalization(text, channels)
    if "/" in text:
        mean, std = _numbers(text)
    elif text.split(":")[0] in _PUBLISHED:
        mean, std = normalization(text, channels)
    else:
        raise UserError(
            f"unknown normalization {text!r}; known are: {', '.join(_PUBLISHED)}, half, or numbers such as "
            "0.49,0.48,0.45/0.2,0.2,0.2 (means, a slash, standard deviations)"
        )
    if not len(mean) == len(std) == channels:
        raise UserError(
            f"normalization {text!r} has {len(mean)} means and {len(std)} standard deviations, but the images have "
            f"{channels} channels"
        )
    return mean, std


def _numbers(text):
    try:
        mean, std = (tuple(float(number) for number in part.split(",")) for part in text.split("/"))
    except ValueError:
        mean, std = (), ()
    if not mean or not all(math.isfinite(number) for number in (*mean, *std)) or min(std) <= 0:
        raise UserError(f"normalization {text!r} is not MEAN,MEAN,.../STD,STD,... with positive deviations")
    return mean, std

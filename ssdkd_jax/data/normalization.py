"""The mean and standard deviation per channel that teacher and student expect of their images."""

import math

from ssdkd_jax.data.benchmarks import BENCHMARKS, base_name
from ssdkd_jax.errors import UserError, did_you_mean

Numbers = tuple[float, ...]


def normalization(name: str, channels: int = 3) -> tuple[Numbers, Numbers]:
    """Mean and standard deviation per channel, on the scale of [0, 1].

    Args:
      name: a data set's name; 'imagenet' is also what many published CIFAR-10 checkpoints were trained with.
      channels: number of channels of sets without published numbers.

    Returns:
      (mean, std), tuples of floats; 0.5 in every channel for sets without published numbers (digits, image folders, a
      user's own, ...).
    """
    known = BENCHMARKS.get(normalization_name(name))
    return (known.mean, known.std) if known else ((0.5,) * channels, (0.5,) * channels)


def normalization_name(name: str) -> str:
    """What `chosen_normalization` calls the normalization of a data set; "half" of one without published numbers."""
    base = base_name(name)
    return base if base in _published() else "half"


def _published():
    return [name for name, benchmark in BENCHMARKS.items() if benchmark.mean is not None]


def chosen_normalization(text: str, channels: int = 3) -> tuple[Numbers, Numbers]:
    """Reads the normalization that a user writes down.

    Args:
      text: a benchmark with published numbers, 'half' for 0.5 in every channel, or numbers such as
        '0.49,0.48,0.45/0.2,0.2,0.2': means, a slash, standard deviations.
      channels: of the images.

    Returns:
      (mean, std), tuples of floats.

    Raises:
      UserError: an unknown name, or numbers that are not one per channel.
    """
    if text == "half":
        return normalization(text, channels)
    if "/" in text:
        mean, std = _numbers(text)
    elif normalization_name(text) != "half":
        mean, std = normalization(text, channels)
    else:
        raise UserError(
            f"unknown normalization {text!r}; {did_you_mean(text, [*_published(), 'half'])}known are: "
            f"{', '.join(_published())}, half, or numbers such as 0.49,0.48,0.45/0.2,0.2,0.2 (means, a slash, "
            "standard deviations)"
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
    # A deviation of 1/255 is that of a network for bytes.
    if not (all(0 <= number <= 1 for number in mean) and all(1 / 256 <= number <= 1 for number in std)):
        raise UserError(
            f"normalization {text!r} cannot be of images in [0, 1]: expected means from 0 to 1 and deviations from "
            "1/256 to 1; numbers for bytes are divided by 255, 127.5/127.5 is 0.5/0.5"
        )
    return mean, std

"""Decoding, resizing and stacking of images on the host."""

import os
from collections.abc import Iterable, Sequence
from typing import IO

import numpy as np
from PIL import Image

from ssdkd_jax.errors import UserError

# What Pillow raises for files that are damaged, cut short, or no images at all.
DECODING_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def decode(file: str | os.PathLike | IO[bytes], channels: int) -> np.ndarray:
    """A path or a binary file -> uint8 (h, w, channels), with 1 (gray), 3 (RGB) or 4 (RGBA) channels."""
    with Image.open(file) as image:
        image = _of_8_bits(image)
        return np.asarray(image.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels])).reshape(*image.size[::-1], channels)


def _of_8_bits(image):
    """Scales 16 bits to 8, which Pillow's own conversion would clip at 255; ValueError where the range is unknown."""
    deep = image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))
    if deep:
        return Image.fromarray(np.round(np.asarray(image) / 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"its pixels are of mode {image.mode}, 32 bits of unknown range; expected 8 or 16 bits")
    return image


def resize(image: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """uint8 (h, w, c) -> uint8 (*size, c), bilinear with antialiasing; `size` None keeps the image as it is."""
    if size is None or image.shape[:2] == size:
        return image
    channels = image.shape[-1]
    # Pillow would take a fourth channel for transparency, and weight the other three by it.
    if channels not in (1, 3):
        return np.concatenate([resize(image[..., i : i + 1], size) for i in range(channels)], axis=-1)
    flat = image[..., 0] if channels == 1 else image
    resized = Image.fromarray(flat).resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(resized).reshape(*size, channels)


def with_channels(images: np.ndarray, channels: int) -> np.ndarray:
    """uint8 (n, h, w, c) -> (n, h, w, channels): gray is repeated, colors become their luminance (ITU-R 601)."""
    if images.shape[-1] == channels:
        return images
    gray = images
    if images.shape[-1] >= 3:
        gray = np.round(images[..., :3] @ np.array([0.299, 0.587, 0.114]))[..., None].astype(np.uint8)
    return np.repeat(gray[..., :1], channels, axis=-1)


def shown(image: np.ndarray) -> np.ndarray:
    """uint8 (h, w, c) as a picture shows it: colors (h, w, 3) as they are, else in gray, (h, w, 1)."""
    return image if image.shape[-1] == 3 else with_channels(image[None], 1)[0]


def picture(image: np.ndarray) -> Image.Image:
    """`shown` as an image of Pillow's."""
    image = shown(image)
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def stack(images: Iterable[np.ndarray], names: Sequence) -> np.ndarray:
    """An iterable of images uint8 (h, w, c) -> (n, h, w, c); `names` (n,) are for the message if their sizes differ."""
    stacked = None
    for i, image in enumerate(images):
        if stacked is None:
            stacked = np.empty((len(names), *image.shape), np.uint8)
        check_same_size(image.shape, names[i], stacked.shape[1:], names[0])
        stacked[i] = image
    return stacked


def check_same_size(shape: Sequence[int], name, first_shape: Sequence[int], first_name) -> None:
    """Raises UserError, naming both images, unless both shapes (h, w, ...) agree in height and width."""
    if tuple(shape[:2]) != tuple(first_shape[:2]):
        raise UserError(
            f"{name} is {shape[0]}x{shape[1]} but {first_name} is {first_shape[0]}x{first_shape[1]} (height x width); "
            "images of differing size need one that all are resized to: --config.image_size=N"
        )

"""Decoding, resizing and stacking of images on the host."""

import numpy as np
from PIL import Image

from ssdkd_jax.errors import UserError

# What Pillow raises for files that are damaged, cut short, or no images at all.
DECODING_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def decode(file, channels):
    """A path or a binary file -> uint8 (h, w, channels), with 1 (gray), 3 (RGB) or 4 (RGBA) channels."""
    with Image.open(file) as image:
        return np.asarray(image.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels])).reshape(*image.size[::-1], channels)


def resize(image, size):
    """uint8 (h, w, c) -> uint8 (*size, c), bilinear with antialiasing; `size` None keeps the image as it is."""
    if size is None or image.shape[:2] == size:
        return image
    flat = image[..., 0] if image.shape[-1] == 1 else image
    resized = Image.fromarray(flat).resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(resized).reshape(*size, image.shape[-1])


def with_channels(images, channels):
    """uint8 (n, h, w, c) -> (n, h, w, channels): gray is repeated, colors become their luminance (ITU-R 601)."""
    if images.shape[-1] == channels:
        return images
    gray = images
    if images.shape[-1] >= 3:
        gray = np.round(images[..., :3] @ np.array([0.299, 0.587, 0.114]))[..., None].astype(np.uint8)
    return np.repeat(gray[..., :1], channels, axis=-1)


def stack(images, names):
    """An iterable of images uint8 (h, w, c) -> (n, h, w, c); `names` (n,) are for the message if their sizes differ."""
    stacked = None
    for i, image in enumerate(images):
        if stacked is None:
            stacked = np.empty((len(names), *image.shape), np.uint8)
        check_same_size(image.shape, names[i], stacked.shape[1:], names[0])
        stacked[i] = image
    return stacked


def check_same_size(shape, name, first_shape, first_name):
    """Raises UserError, naming both images, unless both shapes (h, w, ...) agree in height and width."""
    if tuple(shape[:2]) != tuple(first_shape[:2]):
        raise UserError(
            f"{name} is {shape[0]}x{shape[1]} but {first_name} is {first_shape[0]}x{first_shape[1]} (height x width); "
            "images of differing size need image_size, for example image_size=32."
        )

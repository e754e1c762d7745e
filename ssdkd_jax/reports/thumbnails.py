"""Synthetic images as data URIs, for pages that must open without a network."""

import base64
import io
from typing import NamedTuple

import numpy as np
from PIL import Image

from ssdkd_jax.data import pixels
from ssdkd_jax.reports.run_files import Buffer

# The longer side in pixels up to which every pixel is kept, and to which larger images are shrunk.
_LOSSLESS_SIDE = 48
_LARGEST_SIDE = 96


class Thumbnail(NamedTuple):
    """An image for a page.

    uri: data URI.
    confidence: the teacher's probability of the class that it sees.
    """

    uri: str
    confidence: float


def thumbnails(buffer: Buffer, positions: np.ndarray) -> list[Thumbnail]:
    """Returns the images at some positions of the buffer."""
    return [Thumbnail(image_uri(buffer.images[i]), float(buffer.confidence[i])) for i in positions]


def keeps_pixels(buffer: Buffer) -> bool:
    """Returns whether the images are so small that a page shows each pixel as a square."""
    return max(buffer.images.shape[1:3]) <= _LOSSLESS_SIDE


def image_uri(image: np.ndarray) -> str:
    """Returns a data URI of one image, uint8 (h, w, c), shown in color where it has three channels.

    Images up to 48 pixels a side are stored without loss as PNG; larger ones are shrunk to at most 96 pixels and
    stored as JPEG, because a page holds up to 200 of them.
    """
    picture = pixels.picture(image)
    lossless = max(picture.size) <= _LOSSLESS_SIDE
    if not lossless:
        picture.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    if lossless:
        picture.save(stream, "PNG", optimize=True)
    else:
        picture.save(stream, "JPEG", quality=85, optimize=True)
    kind = "png" if lossless else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"

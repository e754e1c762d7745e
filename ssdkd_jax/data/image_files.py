"""Image files of the user's in folders: which ones they are, what their headers say, and what is wrong with them.

Files and folders whose names begin with a dot are none of the user's images: file managers leave them there.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ssdkd_jax.data import pixels
from ssdkd_jax.errors import UserError

# Names of a split's folder; the first that is there is taken.
SPLIT_FOLDERS = {"train": ("train",), "test": ("test", "val", "validation")}
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff"}
_GRAY_MODES = {"1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N", "F"}


def split_folder(root: Path, split: str) -> Path | None:
    """The folder of "train" or "test" in a data set's, or None."""
    return next((root / name for name in SPLIT_FOLDERS[split] if (root / name).is_dir()), None)


def is_image_name(name: str) -> bool:
    """True for the name of an image file that is the user's."""
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES


def is_gray(file: Path) -> bool:
    """True for an image file without colors, by its header; UserError where it cannot be read."""
    return _header(file).mode in _GRAY_MODES


def common_size(files: Sequence[Path]) -> tuple[int, int]:
    """(height, width) of images, by their headers.

    Raises:
      UserError: one cannot be read, or two differ.
    """
    sizes = [_header(file).size[::-1] for file in files]
    for size, file in zip(sizes, files, strict=True):
        pixels.check_same_size(size, file, sizes[0], files[0])
    return sizes[0]


def decode(file: Path, channels: int) -> np.ndarray:
    """As `pixels.decode`, but a UserError where the file cannot be read."""
    try:
        return pixels.decode(file, channels)
    except pixels.DECODING_ERRORS as error:
        raise damaged(file, error) from error


def damaged(file: Path, error: Exception) -> UserError:
    """What to say of a file of which Pillow has said `error`."""
    reason = " ".join(str(error).split())
    return UserError(f"{file} cannot be read as an image ({reason}); replace it, or remove it: rm '{file}'")


def _header(file):
    """Mode and size of an image, which Pillow reads without decoding it."""
    try:
        with Image.open(file) as image:
            return image
    except pixels.DECODING_ERRORS as error:
        raise damaged(file, error) from error

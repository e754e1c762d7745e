"""Image files of the user's in folders: which ones they are, what their headers say, and what is wrong with them.

Files and folders whose names begin with a dot are none of the user's images: file managers leave them there.
"""

import collections
import contextlib
import filecmp
import functools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ssdkd_jax.data import pixels
from ssdkd_jax.errors import UserError, first_few

# Names of a split's folder; the first that is there is taken.
SPLIT_FOLDERS = {"train": ("train",), "test": ("test", "val", "validation")}
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff"}
# Of files that are not read, the most frequent.
_KINDS_NAMED = 6
# Images that tell whether most of a folder are gray.
_SAMPLED = 20
# With an alpha channel; palettes have one color for it instead.
_ALPHA_MODES = {"LA", "La", "PA", "RGBA", "RGBa"}
# Formats whose further images are frames or pages; those of MPO, as phones write it, are previews of the first.
_WITH_FRAMES = {"GIF", "PNG", "WEBP", "TIFF"}
_GRAY_MODES = {"1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N", "F"}


def split_folder(root: Path, split: str) -> Path | None:
    """The folder of "train" or "test" in a data set's, or None."""
    return next((root / name for name in SPLIT_FOLDERS[split] if (root / name).is_dir()), None)


def check_apart(root: Path, splits: dict[str, Sequence[Path]]) -> None:
    """Makes sure that no image to test with is one to train on, by a link, and that not all of them are copies.

    Args:
      root: folder of the data set.
      splits: the image files of "train" and "test".

    Raises:
      UserError: one is, or all are.
    """
    train, test = (split_folder(root, split) for split in ("train", "test"))
    so = "so that a network would be measured on what it was trained on; replace"
    trained = {_identity(file): file for file in splits["train"]}
    for file in splits["test"]:
        if found := trained.get(_identity(file)):
            raise UserError(f"{file} and {found} are the same file, by a link, {so} {test} by a folder of other images")
    pairs = [(train / file.relative_to(test), file) for file in splits["test"]] if train and test else []
    if pairs and all(one.is_file() and filecmp.cmp(one, other, shallow=False) for one, other in pairs):
        raise UserError(f"all images of {test} are copies of those in {train}, {so} {test} by other images")


def _identity(file):
    """What two names of one file have in common, whichever kind of link they are."""
    found = file.stat()
    return found.st_dev, found.st_ino


def is_image_name(name: str) -> bool:
    """True for the name of an image file that is the user's."""
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES


def below(folder: Path) -> list[Path]:
    """The user's files in a folder and below it, sorted; links to folders are among them, and not followed."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        found += [Path(place, name) for name in (*names, *links) if not name.startswith(".")]
    return sorted(found)


def directly_in(folder: Path) -> list[Path]:
    """The user's files in a folder, sorted, without those below it."""
    return sorted(file for file in folder.iterdir() if not (file.name.startswith(".") or file.is_dir()))


def kinds(files: Iterable[Path], elsewhere: str = "images") -> str:
    """How many files there are of each kind, such as "10 .heic, 2 .txt"; `elsewhere` is what images are called."""

    def kind(file):
        if file.is_dir():
            return "linked folder(s)"
        return elsewhere if is_image_name(file.name) else file.suffix.lower() or "without a suffix"

    counts = collections.Counter(map(kind, files)).most_common()
    named = [f"{count:,} {kind}" for kind, count in counts]
    return first_few(named, _KINDS_NAMED)


def note_skipped(folder: Path, files: Iterable[Path], read: Iterable[Path], elsewhere: str = "") -> None:
    """Says in a line on the terminal, once, which of a folder's files are not read.

    Args:
      folder: what holds them, for the line.
      files: all of them.
      read: those that are read.
      elsewhere: where the images are that are not, such as "in no class's folder"; "" if all are read.
    """
    files, read = list(files), set(read)
    skipped = [file for file in files if file not in read]
    if skipped:
        counted = f"{len(skipped):,} of {len(files):,} files in {folder} are skipped: {kinds(skipped, elsewhere)}"
        _say_once(f"{counted}; those that are read end in {', '.join(sorted(SUFFIXES))}")


def note_odd_colors(folder: Path, files: Sequence[Path]) -> None:
    """Says in a line on the terminal, once, which images of a folder are in color, if most of them are gray.

    Args:
      folder: what holds them, for the line.
      files: all of its images, whose headers are read; where a sample of them is in color, only those of the sample.
    """
    sample = files[:: max(1, len(files) // _SAMPLED)]
    if 2 * sum(map(is_gray, sample)) <= len(sample):
        return
    colored = [f"{file} ({mode})" for file in files if (mode := _header(file).mode) not in _GRAY_MODES]
    if colored:
        _say_once(
            f"{len(colored):,} of {len(files):,} images in {folder} are in color, the others gray: "
            f"{first_few(colored)}; so all are read in color; for gray images, save those as such, or move them "
            "elsewhere"
        )


def note_left_out(folder: Path, files: Sequence[Path]) -> None:
    """Says in a line each on the terminal, once, which images store transparency and which have several frames.

    Args:
      folder: what holds them, for the line.
      files: of which only the colors, and the first frame, are read.
    """
    transparent, moving = [], []
    for file in files:
        with _opened(file) as image:
            if image.mode in _ALPHA_MODES or "transparency" in image.info:
                transparent.append(f"{file} ({image.mode})")
            if image.format in _WITH_FRAMES and getattr(image, "is_animated", False):
                moving.append(f"{file} ({image.n_frames})")
    if transparent:
        _say_once(
            f"{len(transparent):,} of {len(files):,} images in {folder} store transparency, which is not read: "
            f"{first_few(transparent)}; for a background of another color, save them with it"
        )
    if moving:
        _say_once(
            f"{len(moving):,} of {len(files):,} images in {folder} have several frames, of which the first is read: "
            f"{first_few(moving)}; for the others, save each as a file of its own"
        )


@functools.cache
def _say_once(line):
    print(line, flush=True)


def check_is_file(file: Path) -> None:
    """Raises UserError for a pipe, which would be waited for, a folder, or a link to nothing."""
    if not file.is_file():
        raise UserError(f"{file} is no file, expected an image; move it elsewhere")


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
    return UserError(f"{file} cannot be read as an image ({reason}); replace it, or move it elsewhere")


def _header(file):
    """Mode and size of an image, which Pillow reads without decoding it."""
    with _opened(file) as image:
        return image


@contextlib.contextmanager
def _opened(file):
    try:
        with Image.open(file) as image:
            yield image
    except pixels.DECODING_ERRORS as error:
        raise damaged(file, error) from error

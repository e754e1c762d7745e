"""Label maps of semantic segmentation: their files, their classes, and what is wrong with them.

A data set's maps hold class numbers in 0..classes - 1 and IGNORE, wherever its own files have another number for pixels
that belong to no class.
"""

import colorsys
import json
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from ssdkd_jax.data import image_files, pixels
from ssdkd_jax.errors import UserError

# Of pixels that count nowhere: the largest uint8, so that one more than it is 0.
IGNORE = 255
CLASSES_FILE = "classes.json"
_MODES = ("L", "P", "1")
_LOSSY = ("JPEG", "WEBP")


class Labeling(NamedTuple):
    """The classes of label maps.

    class_names: in the order of the numbers; empty where only the files tell how many there are.
    colors: (red, green, blue) of each class in 0..255; empty where none are given.
    ignore: the number of pixels that count nowhere.
    """

    class_names: tuple[str, ...] = ()
    colors: tuple[tuple[int, int, int], ...] = ()
    ignore: int = IGNORE


CAMVID = Labeling(
    (
        *("sky", "building", "pole", "road", "pavement", "tree"),
        *("sign", "fence", "car", "pedestrian", "bicyclist"),
    ),
    (
        *((128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0)),
        *((192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192)),
    ),
    ignore=11,
)
# In the order of the 13 classes' numbers, from which 1 is taken, since 0 is unlabeled (Couprie et al., ICLR 2013).
NYUV2 = Labeling(
    (
        *("bed", "books", "ceiling", "chair", "floor", "furniture", "objects"),
        *("picture", "sofa", "table", "tv", "wall", "window"),
    )
)


def default_colors(count: int) -> tuple[tuple[int, int, int], ...]:
    """Colors of classes that have none: hues a golden angle apart, in three shades."""
    of_unit = (colorsys.hsv_to_rgb(i * 0.618034 % 1, 0.75, (0.9, 0.65, 0.45)[i % 3]) for i in range(count))
    return tuple(tuple(round(255 * x) for x in color) for color in of_unit)


def read_labeling(path: pathlib.Path) -> Labeling:
    """Reads classes.json, `{"names": [...], "colors": [[255, 0, 0], ...], "ignore": 255}`, the last two optional.

    Raises:
      UserError: it is not that.
    """
    expected = f'{path}: expected {{"names": ["sky", ...], "colors": [[128, 128, 128], ...], "ignore": {IGNORE}}}'
    try:
        content = json.loads(path.read_text())
        names = tuple(content["names"] if isinstance(content["names"], list) else ())
        colors = tuple(tuple(color) for color in content.get("colors", ()))
        ignore = content.get("ignore", IGNORE)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{expected} ({type(error).__name__}: {error}); mend it") from error
    if len(names) > IGNORE:
        raise UserError(f"{expected}, but has {len(names)}; expected at most {IGNORE}, which label files can number")
    if not names or not all(isinstance(name, str) and name for name in names) or len(set(names)) != len(names):
        raise UserError(f"{expected}, but its names are {content['names']!r}; give each class a name of its own")
    in_range = all(isinstance(x, int) and 0 <= x <= 255 for color in colors for x in color)
    if colors and not (len(colors) == len(names) and all(len(color) == 3 for color in colors) and in_range):
        raise UserError(f"{expected}, but its colors are not three numbers in 0..255 for each of {len(names)} names")
    if not isinstance(ignore, int) or not len(names) <= ignore <= IGNORE:
        raise UserError(f"{expected}, but ignore is {ignore!r}; expected {len(names)}..{IGNORE}, beside the classes")
    return Labeling(names, colors, ignore)


def read_map(file: pathlib.Path) -> np.ndarray:
    """Reads the numbers of a label file: uint8 (h, w).

    Raises:
      UserError: it is no image of numbers, such as one of colors.
    """
    try:
        with Image.open(file) as image:
            if image.format in _LOSSY:
                raise UserError(f"{file} is a {image.format}, which changes numbers; expected a PNG: write it anew")
            if image.mode not in _MODES:
                raise UserError(
                    f"{file} has pixels of mode {image.mode}, expected class numbers, a gray or palette PNG of 8 bits; "
                    "replace colors by numbers"
                )
            return np.asarray(image).astype(np.uint8)
    except pixels.DECODING_ERRORS as error:
        raise image_files.damaged(file, error) from error


def with_ignore(labels: np.ndarray, labeling: Labeling, file: pathlib.Path) -> np.ndarray:
    """Puts IGNORE in the place of the files' own number, and checks that all others are classes.

    Raises:
      UserError: a number that is no class.
    """
    classes = len(labeling.class_names)
    outside = np.unique(labels[(labels >= classes) & (labels != labeling.ignore)])
    if outside.size:
        raise UserError(
            f"{file} has the label {', '.join(map(str, outside[:3]))}, expected 0..{classes - 1}, or "
            f"{labeling.ignore} for pixels to ignore; mend the file, or {CLASSES_FILE}"
        )
    return np.where(labels == labeling.ignore, IGNORE, labels).astype(np.uint8)


def resize(labels: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """uint8 (h, w) -> uint8 `size`, every pixel as its nearest one; `size` None keeps the map as it is."""
    if size is None or labels.shape == size:
        return labels
    return np.asarray(Image.fromarray(labels).resize(size[::-1], Image.Resampling.NEAREST))


def check_every_class(seen: set[int], resized: np.ndarray, class_names: Sequence[str], owner: str) -> None:
    """Raises UserError where a class has no pixel, which no network can learn.

    Args:
      seen: classes in the files.
      resized: the maps as they are used, (n, h, w).
      class_names: of all classes.
      owner: what the maps are called in the message.
    """
    missing = [name for number, name in enumerate(class_names) if number not in seen]
    if missing:
        raise UserError(
            f"{owner} has no pixel of the class {', '.join(missing)}; add images with it, or take it out of "
            f"{CLASSES_FILE} and of the labels"
        )
    left = np.unique(resized)
    lost = [name for number, name in enumerate(class_names) if number not in left]
    if lost:
        raise UserError(
            f"{owner} has no pixel of the class {', '.join(lost)} left at {resized.shape[1]}x{resized.shape[2]}; "
            "choose a larger --config.image_size=N"
        )

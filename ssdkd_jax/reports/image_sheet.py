"""A run's synthetic images on one sheet: `images.png`."""

import math
import pathlib
import warnings

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from ssdkd_jax.data.pixels import shown
from ssdkd_jax.files import replaced_file
from ssdkd_jax.reports.run_files import IMAGES, Buffer

_MOST_CLASSES = 10
_IMAGES_PER_CLASS = 12
# Pixels: what small images are scaled up to and large ones are shrunk to, the gap between images, the sheet's margin.
_SIDE = 64
_GAP = 4
_MARGIN = 10
_LONGEST_NAME = 24
# A power of two, so that sizes in inches are whole pixels without rounding.
_DPI = 64


def write_image_sheet(folder: pathlib.Path, buffer: Buffer | None) -> pathlib.Path | None:
    """Writes `images.png`: one row per class, from the teacher's most to its least confident image.

    Up to 10 classes, evenly spaced by index, have up to 12 images each.  Small images are scaled up by whole pixels.

    Args:
      folder: of the run.
      buffer: the run's, as `run_files.read_buffer` returns.

    Returns:
      The path of the file; None where the buffer is None or empty, of which there is nothing to draw.
    """
    if buffer is None or not len(buffer.images):
        return None
    path = pathlib.Path(folder) / IMAGES
    classes = buffer.shown_classes(_MOST_CLASSES)
    rows = [[fitted(buffer.images[i]) for i in buffer.sample_of_class(c, _IMAGES_PER_CLASS)] for c in classes]
    with matplotlib.rc_context({"font.size": 15}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        sheet = _draw([_short(buffer.class_names[c]) for c in classes], rows)
        with replaced_file(path) as unfinished:
            sheet.savefig(unfinished, dpi=_DPI, format="png")
    return path


def fitted(image: np.ndarray) -> np.ndarray:
    """Scales an image to about 64 pixels.

    Args:
      image: uint8 (h, w, c), shown in color where it has three channels.

    Returns:
      uint8 (h', w', 3): every pixel repeated the same whole number of times, or an image of more than 64 pixels a side
      shrunk to 64 on its longer one.
    """
    image = np.broadcast_to(shown(image), (*image.shape[:2], 3))
    longest = max(image.shape[:2])
    if longest > _SIDE:
        picture = Image.fromarray(np.ascontiguousarray(image))
        picture.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
        return np.asarray(picture)
    return image.repeat(_SIDE // longest, axis=0).repeat(_SIDE // longest, axis=1)


def _short(name: str) -> str:
    name = " ".join(name.split())
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def _draw(names: list[str], rows: list[list[np.ndarray]]) -> Figure:
    height, width = np.max([image.shape[:2] for row in rows for image in row], axis=0) + _GAP
    left = 2 * _MARGIN + math.ceil(max(map(_text_width, names)))
    sheet_width = left + max(map(len, rows)) * width - _GAP + _MARGIN
    sheet_height = len(rows) * height - _GAP + 2 * _MARGIN
    figure = _figure(sheet_width, sheet_height)
    for row, (name, images) in enumerate(zip(names, rows, strict=True)):
        # Matplotlib counts pixels from below.
        top = sheet_height - _MARGIN - row * height
        middle = (top - (height - _GAP) / 2) / sheet_height
        # Names are data: a "$" in one must not start Matplotlib's formulas.
        figure.text(_MARGIN / sheet_width, middle, name, va="center", parse_math=False)
        for column, image in enumerate(images):
            figure.figimage(image, left + column * width, top - image.shape[0], origin="upper")
    return figure


def _text_width(name: str) -> float:
    figure = _figure(1, 1)
    return figure.text(0, 0, name, parse_math=False).get_window_extent(figure.canvas.get_renderer()).width


def _figure(width: int, height: int) -> Figure:
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure

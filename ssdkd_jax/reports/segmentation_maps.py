"""What a run's page shows of segmentation: label maps in the data set's colors, and the IoU of each class."""

import base64
import io

import numpy as np
from PIL import Image

from ssdkd_jax.data import pixels
from ssdkd_jax.reports import charts, pages
from ssdkd_jax.reports.maps_file import Maps
from ssdkd_jax.reports.run_files import number, subobject

# Pixels of an image's longer side on a page.
_SIDE = 160
_IGNORED = (0, 0, 0)


def segmentation_maps(maps: Maps | None, summary: dict) -> dict | None:
    """The legend, rows of data URIs (image, label, teacher, student) and (image, teacher), and the chart of IoUs."""
    if maps is None:
        return None
    marks = [
        pages.Mark(str(name), _css(color), "block") for name, color in zip(maps.class_names, maps.colors, strict=True)
    ]
    real = zip(maps.real_images, maps.real_labels, maps.real_teacher, maps.real_student, strict=True)
    made = zip(maps.made_images, maps.made_teacher, strict=True)
    return {
        "legend": [*marks, pages.Mark("ignored", _css(_IGNORED), "block")],
        "real": [[_uri(image), *(_uri(painted(one, maps.colors)) for one in of_image)] for image, *of_image in real],
        "made": [[_uri(image), _uri(painted(seen, maps.colors))] for image, seen in made],
        "iou": _iou_chart(summary, [str(name) for name in maps.class_names]),
    }


def painted(labels: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """A label map in its classes' colors, uint8 (h, w) -> uint8 (h, w, 3); what is no class is black."""
    table = np.full((256, 3), _IGNORED, np.uint8)
    table[: len(colors)] = colors
    return table[labels]


def _css(color) -> str:
    return "#{:02x}{:02x}{:02x}".format(*map(int, color))


def _uri(image: np.ndarray) -> str:
    """A PNG whose pixels are repeated, or left out, to about 160 on the longer side."""
    picture = pixels.picture(image)
    longest = max(picture.size)
    size = tuple(max(1, round(side * _SIDE / longest)) for side in picture.size)
    picture = picture.resize(size, Image.Resampling.NEAREST)
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def _iou_chart(summary: dict, class_names: list[str]) -> pages.Figure | None:
    """Bars for the student, steps for the teacher; None where nothing was measured."""
    found = [subobject(summary, f"{whose}_iou") for whose in ("student", "teacher")]
    if not all(found):
        return None
    values = [np.array([number(one.get(name)) or 0.0 for name in class_names]) for one in found]
    caption = "Intersection over union of each class on real test images."
    svg = charts.class_chart("iou", caption, values, class_names, x_label="class", y_label="IoU (%)")
    marks = pages.Mark("student", charts.COLORS[0], "block"), pages.Mark("teacher", charts.COLORS[1], "line")
    return pages.Figure(svg, caption, marks)

"""What a run's page says about the images: examples of each class, and histograms of classes and difficulty."""

import numpy as np

from ssdkd_jax.reports import charts, pages
from ssdkd_jax.reports.image_statistics import evenness
from ssdkd_jax.reports.run_files import Buffer
from ssdkd_jax.reports.thumbnails import image_uri, keeps_pixels, thumbnails

_IMAGES_PER_CLASS = 10
_MOST_CLASSES = 20

# What the page calls the images of each source (`run_files.image_source`).
SOURCE_NAMES = {
    "kept": "buffer",
    "generated": "sample of generated images",
    "given": "sample of the given images",
}


def image_rows(buffer: Buffer | None) -> dict | None:
    """Images of up to 20 classes, ten each, and the numbers of the note above them; None without a buffer."""
    if buffer is None:
        return None
    height, width = buffer.images.shape[1:3]
    shown = buffer.shown_classes(_MOST_CLASSES) if len(buffer.images) else []
    return {
        "count": len(buffer.images),
        "height": height,
        "width": width,
        "per_class": _IMAGES_PER_CLASS,
        "classes": len(buffer.class_names),
        "pixels": keeps_pixels(buffer),
        "of_pixels": buffer.shares is not None,
        "rows": [
            {
                "name": buffer.class_names[index],
                "count": np.count_nonzero(buffer.predicted_class == index),
                "images": thumbnails(buffer, buffer.sample_of_class(index, _IMAGES_PER_CLASS)),
                **_collected(buffer, index),
            }
            for index in shown
        ],
    }


def _collected(buffer: Buffer, index: int) -> dict:
    """The collected images of a class beside those of the buffer; {} where there are none at all."""
    if buffer.collected is None:
        return {}
    members = np.flatnonzero(buffer.collected.predicted_class == index)[:_IMAGES_PER_CLASS]
    uris = [image_uri(buffer.collected.images[i]) for i in members]
    return {"collected": uris, "collected_count": buffer.collected.counts[index]}


def histograms(buffer: Buffer | None, source: str) -> list[pages.Figure]:
    """Draws how the images spread over the classes and the teacher's confidence, next to real ones where there are any.

    Args:
      buffer: None or an empty one gives no charts.
      source: as `run_files.image_source` returns.
    """
    if buffer is None or not len(buffer.images):
        return []
    return [_class_histogram(buffer, SOURCE_NAMES[source]), _difficulty_histogram(buffer, SOURCE_NAMES[source])]


def _class_histogram(buffer: Buffer, name: str) -> pages.Figure:
    shares = buffer.class_percent()
    if buffer.shares is None:
        counts = np.bincount(buffer.predicted_class, minlength=len(buffer.class_names))
        spread = f"{counts.min():,} to {counts.max():,} images per class, "
    else:
        counts, spread = shares[0], f"{shares[0].min():.1f} to {shares[0].max():.1f} % of the pixels per class, "
    caption = (
        f"Classes, as the teacher sees them. In the {name}: {spread}"
        f"{np.count_nonzero(counts == 0)} of {len(counts)} classes empty; {_evenness(shares[0])}."
    )
    if buffer.collected is not None:
        collected = buffer.collected.counts / max(1, buffer.collected.counts.sum())
        caption += f" Collected images: {_evenness(100.0 * collected)}."
    if len(shares) > 1:
        caption += f" Real images: {_evenness(shares[1])}."
    svg = charts.class_chart("classes", caption, shares, buffer.class_names)
    return pages.Figure(svg, caption, _legend(name, buffer.real_class))


def _difficulty_histogram(buffer: Buffer, name: str) -> pages.Figure:
    difficulties = [1 - buffer.confidence, *([] if buffer.real_confidence is None else [1 - buffer.real_confidence])]
    means = [f"{np.mean(values):.3f}" if values.size else "unknown" for values in difficulties]
    caption = f"Difficulty: 1 − the teacher's confidence. Mean in the {name}: {means[0]}."
    if len(means) > 1:
        caption += f" Mean of the real images: {means[1]}."
    svg = charts.difficulty_chart("difficulty", caption, difficulties)
    return pages.Figure(svg, caption, _legend(name, buffer.real_confidence))


def _legend(name: str, real: np.ndarray | None) -> tuple[pages.Mark, ...]:
    marks = (pages.Mark(name, charts.COLORS[0], "block"),)
    return marks if real is None else (*marks, pages.Mark("real test images", charts.COLORS[1], "line"))


def _evenness(share: np.ndarray) -> str:
    return f"entropy {100.0 * evenness(share):.1f} % of the largest possible"

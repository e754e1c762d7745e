"""How good predictions are, from a confusion matrix: of all images' or all pixels' classes, labeled and predicted.

A matrix is counted on the devices, batch by batch (`confusion_matrix`); the metrics are computed from it on the host.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np


def confusion_matrix(labels: jax.Array, predicted: jax.Array, num_classes: int) -> jax.Array:
    """Counts every pair of label and prediction.

    Args:
      labels: (n,) or (n, h, w) int; what is not in 0..num_classes - 1 counts nowhere.
      predicted: the same shape, int in 0..num_classes - 1.
      num_classes: C.

    Returns:
      (C, C) int32; rows are labels, columns predictions.
    """
    chex.assert_equal_shape([labels, predicted])
    # Products of zeros and ones, which matrix units add up exactly as far as float32 counts: to 2^24 in a row.
    rows = (1, -1) if labels.ndim == 1 else (len(labels), -1)
    of_label, of_predicted = (jax.nn.one_hot(x.reshape(rows), num_classes) for x in (labels, predicted))
    counts = jnp.einsum("rpi,rpj->rij", of_label, of_predicted)
    return jnp.sum(counts.astype(jnp.int32), axis=0)


def accuracy(confusion: np.ndarray) -> float:
    """Share of images, or of pixels, whose prediction is their label: percent."""
    return 100.0 * float(np.trace(confusion) / np.sum(confusion))


def iou_by_class(confusion: np.ndarray) -> np.ndarray:
    """Intersection over union of labeled and predicted pixels (Everingham et al., PASCAL VOC): percent.

    Returns:
      (C,) float64; NaN for a class that is neither labeled nor predicted.
    """
    both = np.diagonal(confusion).astype(np.float64)
    either = confusion.sum(0) + confusion.sum(1) - both
    return 100.0 * np.where(either > 0, both / np.maximum(either, 1), np.nan)


def mean_iou(confusion: np.ndarray) -> float:
    """Mean over the classes that are labeled or predicted anywhere: percent."""
    return float(np.nanmean(iou_by_class(confusion)))


class Metric(NamedTuple):
    """What a task is measured by.

    name: as in the names of fields, such as student_accuracy.
    words: as in tables.
    unit: behind a number.
    agreement: says how far the student agrees with the teacher, "{}" for the percent.
    of: (confusion matrix) -> percent.
    chance: (confusion matrix) -> percent that a network without any knowledge reaches.
    details: (confusion matrix, class names) -> {name: percent, or {class: percent}} of what else is reported.
    """

    name: str
    words: str
    unit: str
    agreement: str
    of: Callable[[np.ndarray], float]
    chance: Callable[[np.ndarray], float]
    details: Callable[[np.ndarray, Sequence[str]], dict]


def _of_one_class(confusion):
    """mIoU of a network that names the most frequent class everywhere."""
    counts = confusion.sum(1)
    return 100.0 * float(counts.max() / counts.sum()) / max(1, np.count_nonzero(counts))


def _details_of_pixels(confusion, class_names):
    by_class = zip(class_names, iou_by_class(confusion).tolist(), strict=True)
    return {
        "pixel_accuracy": accuracy(confusion),
        "iou": {name: value for name, value in by_class if not np.isnan(value)},
    }


ACCURACY = Metric(
    "accuracy",
    "accuracy",
    "%",
    agreement="student agrees with the teacher on {:.2f} % of held-out images",
    of=accuracy,
    chance=lambda confusion: 100 / len(confusion),
    details=lambda confusion, class_names: {},
)
MIOU = Metric(
    "miou",
    "mIoU",
    "% mIoU",
    agreement="student agrees with the teacher's maps of held-out images to {:.2f} % mIoU",
    of=mean_iou,
    chance=_of_one_class,
    details=_details_of_pixels,
)
METRICS = {metric.name: metric for metric in (ACCURACY, MIOU)}


def metric_named(name: object) -> Metric:
    """The metric that a file names; accuracy where it names none that is known."""
    return METRICS.get(name, ACCURACY) if isinstance(name, str) else ACCURACY

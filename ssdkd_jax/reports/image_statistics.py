"""How a set of images spreads over the teacher's classes and confidence."""

import numpy as np


def class_shares(predicted_class: np.ndarray, num_classes: int) -> np.ndarray:
    """The percentage of images in each class, float64 (C,); zeros where there are no images.

    Args:
      predicted_class: the teacher's class of each image, int64 (n,).
      num_classes: C.
    """
    return 100.0 * np.bincount(predicted_class, minlength=num_classes) / max(1, len(predicted_class))


def evenness(shares: np.ndarray) -> float:
    """The entropy of class shares over that of equal shares, in [0, 1]; 1 means that all classes are equally frequent.

    Args:
      shares: percent, (C,), one share above 0 at least.
    """
    p = shares[shares > 0] / 100.0
    return max(0.0, float(-np.sum(p * np.log(p)) / np.log(len(shares)))) if len(shares) > 1 else 1.0


def confidence_histogram(confidence: np.ndarray, bins: int = 10) -> np.ndarray:
    """The percentage of images in equal bins of the teacher's confidence from 0 to 1, float64 (bins,)."""
    counts, _ = np.histogram(np.clip(confidence, 0.0, 1.0), bins, (0.0, 1.0))
    return 100.0 * counts / max(1, len(confidence))

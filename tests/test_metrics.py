"""Metrics from confusion matrices against scikit-learn's."""

import jax
import numpy as np
import pytest
from sklearn import metrics as sklearn

from ssdkd_jax import metrics
from ssdkd_jax.data.label_maps import IGNORE

CLASSES = 5
COUNT = jax.jit(metrics.confusion_matrix, static_argnums=2)


def maps(classes=CLASSES):
    """Label maps of which a third is to be ignored, and predictions that are right more often than not."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, (4, 6, 7)).astype(np.uint8)
    predicted = np.where(rng.random(labels.shape) < 0.6, labels, rng.integers(0, classes, labels.shape))
    labels[rng.random(labels.shape) < 0.3] = IGNORE
    return labels, predicted.astype(np.int32)


def test_pixels_are_counted_as_scikit_learn_counts_them():
    labels, predicted = maps()
    known = labels != IGNORE
    pairs = labels[known], predicted[known]
    confusion = np.asarray(COUNT(labels, predicted, CLASSES))
    np.testing.assert_array_equal(confusion, sklearn.confusion_matrix(*pairs, labels=range(CLASSES)))
    np.testing.assert_allclose(metrics.iou_by_class(confusion), 100 * sklearn.jaccard_score(*pairs, average=None))
    assert metrics.mean_iou(confusion) == pytest.approx(100 * sklearn.jaccard_score(*pairs, average="macro"))
    assert metrics.accuracy(confusion) == pytest.approx(100 * sklearn.accuracy_score(*pairs))


def test_one_label_an_image():
    confusion = np.asarray(COUNT(np.int32([0, 1, 2, 1, -1]), np.int32([0, 1, 2, 0, 2]), 3))
    np.testing.assert_array_equal(confusion, [[1, 0, 0], [1, 1, 0], [0, 0, 1]])
    assert metrics.ACCURACY.of(confusion) == 75.0


def test_a_class_that_is_nowhere_has_no_iou():
    labels, predicted = maps(CLASSES - 1)
    confusion = np.asarray(COUNT(labels, predicted, CLASSES))
    by_class = metrics.iou_by_class(confusion)
    assert np.isnan(by_class[-1]) and metrics.mean_iou(confusion) == pytest.approx(by_class[:-1].mean())
    assert list(metrics.MIOU.details(confusion, "abcde")["iou"]) == ["a", "b", "c", "d"]


def test_a_network_that_names_one_class_everywhere_knows_nothing():
    labels = np.repeat(np.uint8([0, 1, 2, 2]), 5)[None, None]
    confusion = np.asarray(COUNT(labels, np.full(labels.shape, 2, np.int32), CLASSES))
    assert metrics.MIOU.of(confusion) == pytest.approx(metrics.MIOU.chance(confusion)) == pytest.approx(50 / 3)

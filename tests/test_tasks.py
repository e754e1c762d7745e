"""Segmentation is classification of every pixel; labels go with their images."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from ssdkd_jax.data.label_maps import IGNORE
from ssdkd_jax.data.preprocessing import augment
from ssdkd_jax.tasks import CLASSIFICATION, SEGMENTATION

IMAGES, HEIGHT, WIDTH, CLASSES = 3, 4, 5, 6
TEACHER, STUDENT = np.random.default_rng(0).normal(size=(2, IMAGES, HEIGHT, WIDTH, CLASSES)).astype(np.float32)


def by_pixel(function, *maps):
    """What a function of classification makes of all pixels, averaged image by image."""
    rows = [x.reshape(-1, *x.shape[3:]) for x in maps]
    return np.asarray(function(*rows)).reshape(IMAGES, -1).mean(1)


@pytest.mark.parametrize(
    ("name", "arguments"), [("kl", (4.0,)), ("adversarial", (True,)), ("l1", ()), ("jensen_shannon", (3.0,))]
)
def test_a_loss_is_the_mean_of_its_pixels(name, arguments):
    plain, ours = getattr(CLASSIFICATION, name), getattr(SEGMENTATION, name)
    expected = by_pixel(lambda t, s: plain(t, s, *arguments), TEACHER, STUDENT)
    assert_allclose(ours(TEACHER, STUDENT, *arguments), expected, rtol=1e-5)


def test_targets_are_the_teachers_own_prediction_of_each_pixel():
    targets = SEGMENTATION.drawn_targets(TEACHER, np.zeros(IMAGES, np.int32))
    assert_array_equal(targets, TEACHER.argmax(-1))
    expected = by_pixel(CLASSIFICATION.task_loss, TEACHER, targets)
    assert_allclose(SEGMENTATION.task_loss(TEACHER, targets), expected, rtol=1e-5)
    assert_allclose(SEGMENTATION.confidence(TEACHER), by_pixel(CLASSIFICATION.confidence, TEACHER), rtol=1e-5)
    rows = TEACHER.reshape(-1, CLASSES)
    assert_allclose(SEGMENTATION.class_balance(TEACHER, None), CLASSIFICATION.class_balance(rows, None), rtol=1e-5)


def test_a_buffer_keeps_the_share_of_each_class():
    shares = SEGMENTATION.image_classes(TEACHER)
    assert shares.shape == SEGMENTATION.no_image_classes(IMAGES, CLASSES).shape
    expected = [np.bincount(one.argmax(-1).ravel(), minlength=CLASSES) / (HEIGHT * WIDTH) for one in TEACHER]
    assert_allclose(shares, expected, rtol=1e-6)


def test_ignored_pixels_teach_nothing():
    labels = np.random.default_rng(1).integers(0, CLASSES, (IMAGES, HEIGHT, WIDTH)).astype(np.uint8)
    labels[0], labels[1, 0] = IGNORE, IGNORE
    loss, gradient = jax.jit(jax.value_and_grad(lambda x: SEGMENTATION.label_loss(x, labels).sum()))(TEACHER)
    per_pixel = np.asarray(CLASSIFICATION.label_loss(TEACHER, np.where(labels == IGNORE, 0, labels).astype(np.int32)))
    assert_allclose(loss, per_pixel[1, 1:].mean() + per_pixel[2].mean(), rtol=1e-5)
    assert not np.any(np.asarray(gradient)[labels == IGNORE])


def test_labels_are_cropped_and_flipped_as_their_images_are():
    labels = np.random.default_rng(2).integers(0, 200, (16, 6, 8)).astype(np.uint8)
    labels[:, 2] = IGNORE
    how = {"padding": 3, "flip": True, "axis_name": None}
    key = jax.random.key(3)
    found = np.asarray(jax.jit(functools.partial(SEGMENTATION.augment_labels, **how))(key, labels))
    # Of images that hold the label and, in a second channel, ones, which are zeros where a crop has its border.
    images = np.stack([labels, np.ones_like(labels)], -1).astype(np.float32)
    moved, inside = np.moveaxis(np.asarray(augment(key, jnp.asarray(images), **how)), -1, 0)
    assert_array_equal(found, np.where(inside == 1, moved, IGNORE))
    assert 0 < np.mean(inside) < 1

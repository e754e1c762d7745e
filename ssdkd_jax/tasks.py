"""What a method needs to know of the task, as a handful of pure functions.

A method never asks which task it has: classification and segmentation are two `Task`s.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssdkd_jax import losses, metrics
from ssdkd_jax.data.label_maps import IGNORE
from ssdkd_jax.data.preprocessing import augment
from ssdkd_jax.metrics import Metric


class Task(NamedTuple):
    """Pure functions on the networks' outputs; "per sample" means (n,) float32.

    name: as data sets and networks say it.
    kl: (teacher_output, student_output, temperature) -> distillation loss per sample.
    task_loss: (teacher_output, targets) -> per sample; how far the teacher's output is from the targets.
    drawn_targets: (teacher_output, classes (n,) int) -> targets, where a method draws a class for each image.
    adversarial: (teacher_output, student_output, masked) -> per sample, <= 0.
    l1: (teacher_output, student_output) -> per sample, >= 0 (DFAD).
    jensen_shannon: (teacher_output, student_output, temperature) -> per sample, >= 0 (DeepInversion).
    class_balance: (output, axis_name) -> scalar of the whole batch, least when its classes are balanced (DAFL).
    predicted_class: (output) -> int32, which are targets too.
    confidence: (output) -> the largest probability per sample.
    image_classes: (output) -> what a buffer keeps of the classes in each image, see `replay_buffer.ReplayBuffer`.
    no_image_classes: (count, number of classes) -> that of so many images of which nothing is known.
    label_loss: (output, labels) -> per sample; what a network trained on real labels minimizes.
    augment_labels: (key, labels, *, padding, flip, axis_name) -> labels of images that `augment` changed with this key.
    label_shape: (image_shape) -> shape of an image's labels, which its logits have too, before their classes.
    metric: what networks are measured by.
    """

    name: str
    kl: Callable
    task_loss: Callable
    drawn_targets: Callable
    adversarial: Callable
    l1: Callable
    jensen_shannon: Callable
    class_balance: Callable
    predicted_class: Callable
    confidence: Callable
    image_classes: Callable
    no_image_classes: Callable
    label_loss: Callable
    augment_labels: Callable
    label_shape: Callable
    metric: Metric


def predicted_class(logits):
    """(n, ..., classes) -> (n, ...) int32."""
    return jnp.argmax(logits, axis=-1).astype(jnp.int32)


def confidence(logits):
    """(n, ..., classes) -> (n, ...) float32, the largest softmax probability."""
    return jnp.max(jax.nn.softmax(logits.astype(jnp.float32)), axis=-1)


CLASSIFICATION = Task(
    name="classification",
    kl=losses.kl_divergence,
    task_loss=losses.cross_entropy,
    drawn_targets=lambda output, classes: classes,
    adversarial=lambda teacher, student, masked: losses.adversarial(teacher, student, masked=masked),
    l1=losses.l1_distance,
    jensen_shannon=losses.jensen_shannon,
    class_balance=lambda output, axis_name: losses.class_balance(output, axis_name=axis_name),
    predicted_class=predicted_class,
    confidence=confidence,
    image_classes=predicted_class,
    no_image_classes=lambda count, num_classes: jnp.zeros(count, jnp.int32),
    label_loss=losses.cross_entropy,
    augment_labels=lambda key, labels, *, padding, flip, axis_name: labels,
    label_shape=lambda image_shape: (),
    metric=metrics.ACCURACY,
)


def _mean_over_pixels(function):
    """A loss per sample from one of (n, h, w, classes), whose values are per pixel."""
    return lambda *args, **kwargs: jnp.mean(function(*args, **kwargs), axis=(1, 2))


def _class_shares(logits):
    """Each class's share of an image's pixels: (n, h, w, classes) -> (n, classes) float32, without gradient."""
    return jnp.mean(jax.nn.one_hot(predicted_class(logits), logits.shape[-1]), axis=(1, 2))


def _labeled_pixels_loss(logits, labels):
    """Mean cross-entropy of an image's labeled pixels, (n,); 0 without any."""
    labeled = labels != IGNORE
    loss = losses.cross_entropy(logits, jnp.where(labeled, labels, 0).astype(jnp.int32))
    return jnp.sum(jnp.where(labeled, loss, 0.0), axis=(1, 2)) / jnp.maximum(jnp.sum(labeled, axis=(1, 2)), 1)


def _augment_maps(key, labels, *, padding, flip, axis_name):
    """Crops and flips label maps uint8 (n, h, w) as `augment` does images; the border of a crop is IGNORE."""
    # One more than IGNORE is 0, which a crop fills its border with.
    raised = augment(key, labels[..., None] + jnp.uint8(1), padding=padding, flip=flip, axis_name=axis_name)
    return raised[..., 0] - jnp.uint8(1)


# Of every pixel what CLASSIFICATION has of an image, then the mean over the pixels; targets are the teacher's own
# prediction of each pixel, since a class drawn for an image says nothing of its pixels.  [our reading]
SEGMENTATION = Task(
    name="segmentation",
    kl=_mean_over_pixels(losses.kl_divergence),
    task_loss=_mean_over_pixels(losses.cross_entropy),
    drawn_targets=lambda output, classes: predicted_class(output),
    adversarial=_mean_over_pixels(lambda teacher, student, masked: losses.adversarial(teacher, student, masked=masked)),
    l1=_mean_over_pixels(losses.l1_distance),
    jensen_shannon=_mean_over_pixels(losses.jensen_shannon),
    class_balance=lambda output, axis_name: losses.class_balance(
        output.reshape(-1, output.shape[-1]), axis_name=axis_name
    ),
    predicted_class=predicted_class,
    confidence=_mean_over_pixels(confidence),
    image_classes=_class_shares,
    no_image_classes=lambda count, num_classes: jnp.zeros((count, num_classes), jnp.float32),
    label_loss=_labeled_pixels_loss,
    augment_labels=_augment_maps,
    label_shape=lambda image_shape: tuple(image_shape[:2]),
    metric=metrics.MIOU,
)
TASKS = {task.name: task for task in (CLASSIFICATION, SEGMENTATION)}

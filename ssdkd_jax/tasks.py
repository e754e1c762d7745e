"""What a method needs to know of the task, as a handful of pure functions.

A method never asks which task it has: classification and segmentation are two `Task`s.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssdkd_jax import losses, metrics
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
TASKS = {task.name: task for task in (CLASSIFICATION,)}

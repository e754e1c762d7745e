"""What a method needs to know of the task, as a handful of pure functions.

A method never asks which task it has; another task (segmentation, say) is another `Task`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssdkd_jax import losses


class Task(NamedTuple):
    """Pure functions on the networks' outputs; "per sample" means (n,) float32.

    kl: (teacher_output, student_output, temperature) -> distillation loss per sample.
    task_loss: (teacher_output, targets (n,) int) -> per sample; how far the teacher's output is from the targets.
    adversarial: (teacher_output, student_output, masked) -> per sample, <= 0.
    l1: (teacher_output, student_output) -> per sample, >= 0 (DFAD).
    jensen_shannon: (teacher_output, student_output, temperature) -> per sample, >= 0 (DeepInversion).
    class_balance: (output, axis_name) -> scalar of the whole batch, least when its classes are balanced (DAFL).
    predicted_class: (output) -> (n,) int32.
    confidence: (output) -> the largest probability per sample.
    """

    kl: Callable
    task_loss: Callable
    adversarial: Callable
    l1: Callable
    jensen_shannon: Callable
    class_balance: Callable
    predicted_class: Callable
    confidence: Callable


def predicted_class(logits):
    """(n, classes) -> (n,) int32."""
    return jnp.argmax(logits, axis=-1).astype(jnp.int32)


def confidence(logits):
    """(n, classes) -> (n,) float32, the largest softmax probability."""
    return jnp.max(jax.nn.softmax(logits.astype(jnp.float32)), axis=-1)


CLASSIFICATION = Task(
    kl=losses.kl_divergence,
    task_loss=losses.cross_entropy,
    adversarial=lambda teacher, student, masked: losses.adversarial(teacher, student, masked=masked),
    l1=losses.l1_distance,
    jensen_shannon=losses.jensen_shannon,
    class_balance=lambda output, axis_name: losses.class_balance(output, axis_name=axis_name),
    predicted_class=predicted_class,
    confidence=confidence,
)

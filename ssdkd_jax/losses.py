"""The losses of data-free distillation, as pure functions of arrays.

Logits are (n, classes), or (n, h, w, classes) with losses (n, h, w) in place of (n,); everything is computed in float32
for any input dtype.  A loss "per sample" returns (n,), any other a scalar.  Under a pmapped axis a scalar is this
device's value; average it over the axis.
"""

import chex
import jax
import jax.numpy as jnp

from ssdkd_jax.collectives import pmean

# Keeps the gradient of a norm finite at zero.
NORM_EPSILON = 1e-12


def kl_divergence(teacher_logits, student_logits, temperature=1.0):
    """Distillation loss per sample, `T^2 * KL(softmax(t/T) || softmax(s/T))` (Hinton et al. 2015).

    Args:
      teacher_logits: (n, classes).
      student_logits: (n, classes).
      temperature: T > 0; T^2 keeps the gradients' size the same for every T.

    Returns:
      (n,) float32, in nats, >= 0.
    """
    chex.assert_equal_shape([teacher_logits, student_logits])
    teacher = jax.nn.log_softmax(teacher_logits.astype(jnp.float32) / temperature)
    student = jax.nn.log_softmax(student_logits.astype(jnp.float32) / temperature)
    return temperature**2 * jnp.sum(jnp.exp(teacher) * (teacher - student), axis=-1)


def cross_entropy(logits, classes):
    """Cross-entropy per sample with class numbers: (n, classes), (n,) int -> (n,) float32 in nats."""
    chex.assert_shape(classes, logits.shape[:-1])
    log_probabilities = jax.nn.log_softmax(logits.astype(jnp.float32))
    return -jnp.take_along_axis(log_probabilities, classes[..., None], axis=-1)[..., 0]


def adversarial(teacher_logits, student_logits, *, masked=True):
    """What a generator minimizes to widen the gap between the two networks: `-KL(t || s)` per sample.

    Args:
      teacher_logits: (n, classes).
      student_logits: (n, classes), of the *student* in evaluation mode.
      masked: only samples on which both networks name the same class count, the others are zero (CMI and FastDFKD:
        "decision adversarial distillation"); otherwise all count (DFQ, ZSKT).

    Returns:
      (n,) float32, <= 0.
    """
    chex.assert_equal_shape([teacher_logits, student_logits])
    loss = -kl_divergence(teacher_logits, student_logits)
    if masked:
        loss = loss * (jnp.argmax(teacher_logits, axis=-1) == jnp.argmax(student_logits, axis=-1))
    return loss


def l1_distance(teacher_logits, student_logits):
    """Mean absolute difference of the logits (DFAD, arXiv 1912.11006): (n, classes) twice -> (n,) float32."""
    chex.assert_equal_shape([teacher_logits, student_logits])
    return jnp.mean(jnp.abs(teacher_logits.astype(jnp.float32) - student_logits.astype(jnp.float32)), axis=-1)


def jensen_shannon(teacher_logits, student_logits, temperature=3.0):
    """Jensen-Shannon-like divergence per sample of softened predictions, as DeepInversion's public code computes it.

    `(KL(m || t) + KL(m || s)) / 2` with the mixture m = (t + s) / 2 as first argument, each of the three clamped to
    [0.01, 0.99].

    Returns:
      (n,) float32 in nats.
    """
    chex.assert_equal_shape([teacher_logits, student_logits])
    teacher = jax.nn.softmax(teacher_logits.astype(jnp.float32) / temperature)
    student = jax.nn.softmax(student_logits.astype(jnp.float32) / temperature)
    mixture, teacher, student = (jnp.clip(p, 0.01, 0.99) for p in (0.5 * (teacher + student), teacher, student))
    terms = mixture * (jnp.log(mixture) - 0.5 * (jnp.log(teacher) + jnp.log(student)))
    return jnp.sum(terms, axis=-1)


def class_balance(logits, weights=1.0, *, axis_name=None):
    """Negative entropy of the batch's mean prediction, `sum_c w_c p_c log p_c` (DAFL's information entropy loss).

    With equal weights least, `-log(classes)`, when the batch is spread evenly over the classes.  With those of
    `gan_losses.class_weights` it is HiDFD's category-frequency smoothing.

    Args:
      logits: (n, classes), this device's part of the batch.
      weights: (classes,), or one for all.
      axis_name: the batch is averaged over this axis too.
    """
    mean = pmean(jnp.mean(jax.nn.softmax(logits.astype(jnp.float32)), axis=0), axis_name)
    return jnp.sum(weights * mean * jnp.log(mean + NORM_EPSILON))


def total_variation(images):
    """Sum over the four neighbor directions of the mean absolute difference (DeepInversion's `l1` form).

    Args:
      images: (n, h, w, c).
    """
    x = images.astype(jnp.float32)
    differences = (
        x[:, :, :-1] - x[:, :, 1:],
        x[:, :-1] - x[:, 1:],
        x[:, 1:, :-1] - x[:, :-1, 1:],
        x[:, :-1, :-1] - x[:, 1:, 1:],
    )
    return sum(jnp.mean(jnp.abs(d)) for d in differences)


def contrast(local, global_, is_sample, is_new, temperature):
    """CMI's contrastive loss: the local view of every sample should find its own global view (IJCAI 2021).

    InfoNCE; the mean over new samples and that over those of the bank are added, so that the new ones, whose images are
    to change, count no less as the bank grows.

    Args:
      local, global_: (m, f) projected features of unit length; gradients are stopped through `global_`.
      is_sample: (m,) bool, false for rows that are empty slots of the bank.
      is_new: (m,) bool, true for the rows of the current batch.
      temperature: > 0.

    Returns:
      float32 scalar.
    """
    chex.assert_equal_shape([local, global_])
    logits = local @ jax.lax.stop_gradient(global_).T / temperature
    logits = jnp.where(is_sample[None, :], logits, -jnp.inf)
    loss = -jnp.diagonal(jax.nn.log_softmax(logits.astype(jnp.float32)))

    def mean_of(chosen):
        return jnp.sum(jnp.where(chosen, loss, 0.0)) / jnp.maximum(jnp.sum(chosen), 1)

    return mean_of(is_new) + mean_of(is_sample & ~is_new)

"""SSD-KD's modulating function phi and the loss that it weighs (Small Scale Data-Free KD, CVPR 2024).

phi(x) is the product of a diversity-aware part, small for samples of classes that the replay buffer already has many
of, and a difficulty-aware part, small for samples that the teacher is sure of.  What the paper says is their
properties; the two formulas are our reading.
"""

import chex
import jax
import jax.numpy as jnp

from ssdkd_jax import collectives

# Below this distance from certainty (1 - p)^gamma is constant, which keeps its gradient finite for every gamma.
CERTAINTY_MARGIN = 1e-6


def diversity(class_counts, predicted_class):
    """`1 - n[c] / B`: the share of the buffer that is of another class than x.  [our reading]

    Where samples have many classes, `1 - sum_c h_c(x) n[c] / B`: the chance that a pixel of x and one of the buffer
    differ in class.  [our reading]

    Args:
      class_counts: (classes,) how many of the buffer's samples have each class, or their shares of it added up.
      predicted_class: (n,) int, the teacher's most likely class of each sample; or (n, classes) float, its histogram h.

    Returns:
      (n,) float32 in [0, 1]; 1 while the buffer is empty.
    """
    counts = class_counts.astype(jnp.float32)
    share = counts / jnp.maximum(jnp.sum(counts), 1.0)
    return 1.0 - (predicted_class @ share if predicted_class.ndim == 2 else share[predicted_class])


def difficulty(confidence, gamma):
    """`(1 - p_T)^gamma`: as in focal loss, large where the teacher is unsure.  [our reading]

    Args:
      confidence: (n,) the teacher's largest softmax probability, in [0, 1].
      gamma: exponent >= 0; 0 switches the part off.

    Returns:
      (n,) float32 in [0, 1].
    """
    return jnp.maximum(1.0 - confidence.astype(jnp.float32), CERTAINTY_MARGIN) ** gamma


def phi(class_counts, predicted_class, confidence, *, gamma, use_diversity=True, use_difficulty=True):
    """The modulating function: the product of its two parts, each of which can be switched off.

    Returns:
      (n,) float32 in [0, 1]; all ones with both parts off.
    """
    value = jnp.ones(confidence.shape, jnp.float32)
    if use_diversity:
        value = value * diversity(class_counts, predicted_class)
    if use_difficulty:
        value = value * difficulty(confidence, gamma)
    return value


def of_mean_one(phi_values, *, axis_name=None):
    """phi over its mean over the batch: it weighs samples against each other, and leaves the size of the loss.  [ours]

    Args:
      phi_values: (n,) from `phi`, this device's.
      axis_name: the pmapped axis.

    Returns:
      (n,) float32 >= 0; ones where phi is zero everywhere, as for a buffer of a single class.  Gradients see the mean
      as a constant.
    """
    mean = jax.lax.stop_gradient(collectives.pmean(jnp.mean(phi_values), axis_name))
    return jnp.where(mean > 0, phi_values / jnp.where(mean > 0, mean, 1.0), 1.0)


# Which term of the inversion loss phi weighs; the paper's notes leave it open [our reading: the task loss].
MODULATED_TERMS = ("task", "adversarial", "both", "none")


def modulating_loss(phi_values, task_loss, adversarial_loss, *, term="task", through_phi=False):
    """Weighs the chosen per-sample losses with phi and averages them over the batch.

    Args:
      phi_values: (n,) from `phi`.
      task_loss: (n,) per sample.
      adversarial_loss: (n,) per sample.
      term: one of MODULATED_TERMS.
      through_phi: whether the gradient also flows through phi's confidence; otherwise phi is a constant weight.

    Returns:
      (mean task loss, mean adversarial loss): float32 scalars.
    """
    chex.assert_equal_shape([phi_values, task_loss, adversarial_loss])
    if term not in MODULATED_TERMS:
        raise ValueError(f"term is {term!r}, expected one of {', '.join(MODULATED_TERMS)}")
    weight = phi_values if through_phi else jax.lax.stop_gradient(phi_values)
    if term in ("task", "both"):
        task_loss = weight * task_loss
    if term in ("adversarial", "both"):
        adversarial_loss = weight * adversarial_loss
    return jnp.mean(task_loss), jnp.mean(adversarial_loss)

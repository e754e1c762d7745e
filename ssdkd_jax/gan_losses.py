"""The losses of HiDFD's teacher-guided GAN (AAAI 2025), as pure functions of arrays.

Every loss is the mean over the samples that it is given, this device's value, to be averaged over the devices.
"""

import chex
import jax
import jax.numpy as jnp

from ssdkd_jax import losses
from ssdkd_jax.losses import NORM_EPSILON


def hinge_discriminator(real, fake):
    """Hinge loss of a discriminator (arXiv 1705.02894).

    Args:
      real, fake: (n,) realness of real and of generated images.

    Returns:
      (`mean max(0, 1 - real)`, `mean max(0, 1 + fake)`): float32 scalars >= 0.
    """
    return jnp.mean(jax.nn.relu(1 - real)), jnp.mean(jax.nn.relu(1 + fake))


def hinge_generator(fake):
    """`-mean fake`: what a generator minimizes against a discriminator's realness (n,)."""
    return -jnp.mean(fake)


def real_class_loss(logits, classes):
    """ADC-GAN's cross-entropy with "real and of class y" (arXiv 2107.10060): (n, 2 * classes), (n,) int -> scalar."""
    return jnp.mean(losses.cross_entropy(logits, 2 * classes))


def fake_class_loss(logits, classes):
    """ADC-GAN's cross-entropy with "fake and of class y": (n, 2 * classes), (n,) int -> scalar."""
    return jnp.mean(losses.cross_entropy(logits, 2 * classes + 1))


def feature_distance(features, own, other):
    """How far projected features are from the teacher's: `mean |F - P_own| + mean |F - P_other|`.

    HiDFD's feature integration has it once for real and once for generated images, the other of each being its
    neighbor in the batch of the other kind.

    Args:
      features: (n, f) the teacher's.
      own: (n, f) the discriminator's projections for the same images.
      other: (n, f) its projections for images of the other kind.
    """
    chex.assert_equal_shape([features, own, other])
    return _mean_norm(features - own) + _mean_norm(features - other)


def _mean_norm(x):
    return jnp.mean(jnp.sqrt(jnp.sum(jnp.square(x), axis=-1) + NORM_EPSILON))


def class_weights(counts, base=0.99):
    """Weights of classes by their effective number of samples (arXiv 1901.05555): large for rare classes.

    Args:
      counts: (classes,) float, at least 1.
      base: b of `(1 - b) / (1 - b^n)`.

    Returns:
      (classes,) float32, of sum `classes`.
    """
    weights = (1 - base) / (1 - base ** counts.astype(jnp.float32))
    return weights / jnp.sum(weights) * counts.shape[0]


def decayed_counts(counts, new, decay=0.5):
    """Counts (classes,) after `new` samples (classes,): `decay * counts + (1 - decay) * new`, at least 1."""
    return jnp.maximum(decay * counts + (1 - decay) * new, 1.0)

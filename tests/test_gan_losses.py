"""HiDFD's losses against public PyTorch code (`golden/hidfd.npz`), and their edges."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from ssdkd_jax import gan_losses, losses
from tests import golden_values


@functools.cache
def golden():
    return golden_values.load("hidfd")


close = functools.partial(assert_allclose, rtol=1e-5)


def test_hinge():
    real, fake = golden()["d_real"][:, 0], golden()["d_fake"][:, 0]
    close(gan_losses.hinge_discriminator(real, fake), [golden()["hinge_d_real"], golden()["hinge_d_fake"]])
    close(gan_losses.hinge_generator(fake), golden()["hinge_g"])


def test_classes_of_real_and_fake_images():
    logits, labels = golden()["adc_logits"], golden()["labels"]
    close(gan_losses.real_class_loss(logits, labels), golden()["adc_ce_real"])
    close(gan_losses.fake_class_loss(logits, labels), golden()["adc_ce_fake"])


def test_feature_distance():
    features = (golden()[f"feat_{name}"] for name in ("anchor", "pos", "neg"))
    close(gan_losses.feature_distance(*features), golden()["triplet_reverse"])


def test_three_rounds_of_category_frequency_smoothing():
    """The public code's first round begins with 512 images of each class already counted."""
    logits, counts = golden()["teacher_logits"], jnp.full(10, 50.0)
    new = np.bincount(logits.argmax(axis=1), minlength=10)
    for number, earlier in enumerate((512, 0, 0)):
        loss = losses.class_balance(logits, gan_losses.class_weights(counts))
        close(loss, golden()[f"smoothing_loss_{number}"])
        counts = gan_losses.decayed_counts(counts, new + earlier)
        close(counts, golden()[f"class_counts_{number}"])
        close(gan_losses.class_weights(counts), golden()[f"class_weights_{number}"])


def test_a_class_that_is_never_made_counts_once():
    counts = jnp.full(3, 50.0)
    for _ in range(10):
        counts = gan_losses.decayed_counts(counts, jnp.array([0.0, 10.0, 1000.0]))
    weights = gan_losses.class_weights(counts)
    assert counts[0] == 1.0 and weights[0] > weights[1] > weights[2] > 0
    assert weights.sum() == pytest.approx(3)

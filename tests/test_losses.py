"""The losses against values of public PyTorch code (`golden/losses.npz`) and against numbers worked by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from ssdkd_jax import losses
from ssdkd_jax.methods.student_training import HIGHEST_TEMPERATURE
from tests import golden_values

GOLDEN = golden_values.load("losses")
TEACHER, STUDENT = GOLDEN["teacher_logits"], GOLDEN["student_logits"]


def logits(*probabilities):
    """Logits (n, classes) of given probabilities."""
    return jnp.log(jnp.asarray(probabilities))


@pytest.mark.parametrize("temperature", [1, 4, 20])
def test_kl_equals_pytorch(temperature):
    loss = losses.kl_divergence(TEACHER, STUDENT, temperature)
    assert loss.shape == (6,)
    assert_allclose(jnp.mean(loss), GOLDEN[f"kl_T{temperature}_batchmean"], rtol=1e-4)


def test_kl_by_hand():
    # 1/2 log((1/2)/(1/4)) + 1/2 log((1/2)/(3/4)); the other way round it would be 0.1308.
    assert_allclose(losses.kl_divergence(logits([0.5, 0.5]), logits([0.25, 0.75])), [0.1438410], rtol=1e-5)
    assert_allclose(losses.kl_divergence(TEACHER, TEACHER, 4.0), np.zeros(6), atol=1e-6)


def test_kl_is_no_rounding_at_the_highest_temperature():
    """Where it has come to half the variance of the logits' differences: on 0.5 nats, little is lost to rounding."""
    teacher = np.random.default_rng(0).normal(0, 5, (200, 100))
    difference = np.random.default_rng(1).normal(0, 1, (200, 100))
    loss = losses.kl_divergence(teacher, teacher + difference, HIGHEST_TEMPERATURE)
    assert_allclose(loss, np.var(difference, axis=1) / 2, rtol=0.2)
    assert np.all(loss > 0)


def test_kl_gradient_is_scaled_by_the_temperature_once():
    """d/ds of T^2 KL is T (softmax(s/T) - softmax(t/T)), the reason for T^2."""
    gradient = jax.grad(lambda s: losses.kl_divergence(TEACHER, s, 20.0).sum())(STUDENT)
    assert_allclose(gradient, 20 * (jax.nn.softmax(STUDENT / 20) - jax.nn.softmax(TEACHER / 20)), rtol=1e-3, atol=1e-5)


def test_cross_entropy_by_hand():
    loss = losses.cross_entropy(logits([0.5, 0.5], [0.2, 0.8]), jnp.array([0, 1]))
    assert_allclose(loss, [np.log(2), -np.log(0.8)], rtol=1e-5)


def test_cross_entropy_against_the_own_argmax_equals_pytorch():
    assert_allclose(jnp.mean(losses.cross_entropy(TEACHER, jnp.argmax(TEACHER, axis=-1))), GOLDEN["one_hot"], rtol=1e-4)


def test_masked_adversarial_loss_equals_pytorch():
    loss = losses.adversarial(TEACHER, STUDENT)
    assert_allclose(jnp.mean(loss), GOLDEN["adversarial"], rtol=1e-4)
    agree = TEACHER.argmax(1) == STUDENT.argmax(1)
    assert 0 < agree.sum() < 6
    assert np.array_equal(loss != 0, agree)


def test_unmasked_adversarial_loss_is_minus_kl():
    assert_allclose(
        losses.adversarial(TEACHER, STUDENT, masked=False), -losses.kl_divergence(TEACHER, STUDENT), rtol=1e-6
    )


def test_jensen_shannon_equals_pytorch():
    at_one = losses.jensen_shannon(TEACHER, STUDENT, temperature=1.0)
    assert_allclose(jnp.mean(at_one), GOLDEN["js_batchmean"], rtol=1e-4)
    assert_allclose(losses.jensen_shannon(3 * TEACHER, 3 * STUDENT), at_one, rtol=1e-4)


def test_class_balance_equals_pytorch():
    assert_allclose(losses.class_balance(TEACHER), GOLDEN["class_balance"], rtol=1e-4)


def test_class_balance_is_least_for_evenly_spread_classes():
    assert_allclose(losses.class_balance(100 * jnp.eye(4)), -np.log(4), rtol=1e-5)
    assert_allclose(losses.class_balance(100 * jnp.eye(4)[:1]), 0, atol=1e-5)


def test_class_balance_is_of_the_whole_batch_over_devices():
    parts = TEACHER.reshape(2, 3, 10)
    per_device = jax.vmap(functools.partial(losses.class_balance, axis_name="devices"), axis_name="devices")(parts)
    assert_allclose(per_device, [losses.class_balance(TEACHER)] * 2, rtol=1e-5)


def test_total_variation_equals_pytorch():
    images = GOLDEN["images_nchw"].transpose(0, 2, 3, 1)
    assert_allclose(losses.total_variation(images), GOLDEN["total_variation_l1"], rtol=1e-4)


@pytest.mark.parametrize(
    "loss", [losses.kl_divergence, losses.adversarial, losses.jensen_shannon, lambda t, s: losses.class_balance(t)]
)
def test_half_precision_logits_are_computed_in_float32(loss):
    halves = jnp.asarray(TEACHER, jnp.bfloat16), jnp.asarray(STUDENT, jnp.bfloat16)
    in_halves = loss(*halves)
    assert in_halves.dtype == jnp.float32
    assert_allclose(in_halves, loss(*(x.astype(jnp.float32) for x in halves)), rtol=1e-6)


@pytest.mark.parametrize("loss", [losses.kl_divergence, losses.adversarial, losses.jensen_shannon])
def test_logits_that_would_only_broadcast_are_refused(loss):
    with pytest.raises(AssertionError):
        loss(jnp.ones((6, 10)), jnp.ones(10))

"""SSD-KD's modulating function: hand-worked values, bounds, switches, and where its gradient goes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from ssdkd_jax import modulation

COUNTS = jnp.array([6, 3, 1])
CLASSES = jnp.array([0, 1, 2])
CONFIDENCE = jnp.array([0.5, 0.9, 1.0])


def test_diversity_by_hand():
    assert_allclose(modulation.diversity(COUNTS, CLASSES), [0.4, 0.7, 0.9], rtol=1e-6)


def test_diversity_of_images_with_many_classes_is_the_mean_over_their_pixels():
    """And of images of a single class, that of the class."""
    shares = jnp.array([[1, 0, 0], [0.5, 0.25, 0.25]])
    assert_allclose(modulation.diversity(COUNTS, shares), [0.4, 0.5 * 0.4 + 0.25 * 0.7 + 0.25 * 0.9], rtol=1e-6)


def test_diversity_of_an_empty_buffer_is_one():
    assert_allclose(modulation.diversity(jnp.zeros(3, jnp.int32), CLASSES), np.ones(3))


@pytest.mark.parametrize(("gamma", "expected"), [(1, [0.5, 0.1, 0]), (2, [0.25, 0.01, 0]), (0, [1, 1, 1])])
def test_difficulty_by_hand(gamma, expected):
    assert_allclose(modulation.difficulty(CONFIDENCE, gamma), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("use_diversity", "use_difficulty", "expected"),
    [
        (True, True, [0.4 * 0.25, 0.7 * 0.01, 0]),
        (True, False, [0.4, 0.7, 0.9]),
        (False, True, [0.25, 0.01, 0]),
        (False, False, [1, 1, 1]),
    ],
)
def test_phi_is_the_product_of_the_parts_switched_on(use_diversity, use_difficulty, expected):
    switches = {"use_diversity": use_diversity, "use_difficulty": use_difficulty}
    value = modulation.phi(COUNTS, CLASSES, CONFIDENCE, gamma=2.0, **switches)
    assert_allclose(value, expected, rtol=1e-5, atol=1e-5)


def test_phi_of_mean_one():
    value = jnp.array([0.1, 0.2, 0.3])
    assert_allclose(modulation.of_mean_one(value), [0.5, 1.0, 1.5], rtol=1e-6)
    assert_allclose(modulation.of_mean_one(jnp.zeros(3)), np.ones(3))
    # The mean is a constant.
    slope = jax.grad(lambda x: modulation.of_mean_one(x)[0])(value)
    assert_allclose(slope, [5.0, 0.0, 0.0], rtol=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    counts=st.lists(st.integers(0, 10**6), min_size=3, max_size=3),
    confidence=st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3),
    gamma=st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0]),
)
def test_phi_lies_between_zero_and_one(counts, confidence, gamma):
    value = modulation.phi(jnp.array(counts), CLASSES, jnp.array(confidence, jnp.float32), gamma=gamma)
    assert ((value >= 0) & (value <= 1)).all()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("counts", [COUNTS, jnp.zeros(3, jnp.int32), jnp.array([9, 0, 0])], ids=str)
def test_value_and_gradient_are_finite_up_to_certainty(gamma, counts):
    """(1 - p)^0.5 alone has an infinite slope at p = 1."""

    def total(confidence):
        return modulation.phi(counts, CLASSES, confidence, gamma=gamma).sum()

    value, gradient = jax.value_and_grad(total)(jnp.array([0.0, 1 - 1e-7, 1.0]))
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


PHI, TASK, ADVERSARIAL = jnp.array([0.5, 0.25]), jnp.array([1.0, 2.0]), jnp.array([-4.0, -8.0])


@pytest.mark.parametrize(
    ("term", "task", "adversarial"),
    [("task", 0.5, -6), ("adversarial", 1.5, -2), ("both", 0.5, -2), ("none", 1.5, -6)],
)
def test_the_chosen_term_is_weighed_per_sample(term, task, adversarial):
    assert_allclose(modulation.modulating_loss(PHI, TASK, ADVERSARIAL, term=term), (task, adversarial))


@pytest.mark.parametrize(("through_phi", "expected"), [(False, [0, 0]), (True, [-1.5, -3])])
def test_gradient_flows_through_phi_only_if_switched_on(through_phi, expected):
    def total(phi):
        return sum(modulation.modulating_loss(phi, TASK, ADVERSARIAL, term="both", through_phi=through_phi))

    assert_allclose(jax.grad(total)(PHI), expected)


@pytest.mark.parametrize("through_phi", [False, True])
def test_the_weighed_losses_keep_their_gradient(through_phi):
    def total(task):
        return modulation.modulating_loss(PHI, task, ADVERSARIAL, through_phi=through_phi)[0]

    assert_allclose(jax.grad(total)(TASK), PHI / 2)


def test_an_unknown_term_is_refused():
    with pytest.raises(ValueError, match="task, adversarial, both, none"):
        modulation.modulating_loss(PHI, TASK, ADVERSARIAL, term="bn")

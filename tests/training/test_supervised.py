"""The recipes of training on real images."""

import jax.numpy as jnp
import pytest

from ssdkd_jax.training.supervised import Recipe

STEPS_PER_EPOCH = 2


def learning_rates(recipe):
    """Of every step: what a gradient of 1 changes."""
    optimizer = recipe.optimizer(STEPS_PER_EPOCH)
    parameter = jnp.zeros(())
    state, found = optimizer.init(parameter), []
    for _ in range(recipe.epochs * STEPS_PER_EPOCH):
        update, state = optimizer.update(jnp.ones(()), state, parameter)
        found.append(-float(update))
    return found


def test_the_steps_of_the_published_recipe():
    """Times 0.2 at 60, 75 and 90 % of the epochs: after 12, 15 and 18 of 20."""
    recipe = Recipe(20, 32, 0.1, momentum=0.0, weight_decay=0.0, schedule="steps", nesterov=False)
    expected = [0.1] * 24 + [0.02] * 6 + [0.004] * 6 + [0.0008] * 4
    assert learning_rates(recipe) == pytest.approx(expected)


def test_the_cosine_falls_to_nothing():
    rates = learning_rates(Recipe(20, 32, 0.1, momentum=0.0, weight_decay=0.0, nesterov=False))
    assert rates[0] == pytest.approx(0.1) and rates[20] == pytest.approx(0.05) and rates[-1] < 1e-3
    assert sorted(rates, reverse=True) == rates


def test_nesterovs_momentum_looks_ahead():
    plain = learning_rates(Recipe(20, 32, 0.1, weight_decay=0.0, schedule="steps", nesterov=False))
    nesterov = learning_rates(Recipe(20, 32, 0.1, weight_decay=0.0, schedule="steps"))
    assert plain[:2] == pytest.approx([0.1, 0.19]) and nesterov[:2] == pytest.approx([0.19, 0.271])


@pytest.mark.parametrize(
    ("images", "devices", "size"), [(500, 8, 32), (32, 1, 32), (20, 1, 20), (20, 8, 16), (7, 8, 0)]
)
def test_a_batch_is_no_larger_than_the_training_set(images, devices, size):
    assert Recipe(20, 32, 0.1).fitting(images, devices) == Recipe(20, size, 0.1)

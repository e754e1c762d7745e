"""The BatchNorm-statistics loss against public PyTorch code (`golden/forward.npz`) and against plain NumPy."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from ssdkd_jax import batchnorm
from ssdkd_jax.interop import from_torch_state_dict
from ssdkd_jax.inversion import update_average
from ssdkd_jax.models import create_model
from tests import golden_values

LAYOUTS = golden_values.layouts()
FORWARD = golden_values.load("forward")


@pytest.mark.parametrize("name", golden_values.WITH_BN_LOSS)
def test_loss_equals_pytorch(name):
    variables = from_torch_state_dict(name, golden_values.state_dict(LAYOUTS[name]))
    x = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32).transpose(0, 2, 3, 1)
    model = create_model(name, FORWARD[f"{name}/logits"].shape[1])
    logits, statistics = jax.jit(lambda x: batchnorm.apply_with_batch_statistics(model, variables, x))(x)
    loss = batchnorm.statistics_loss(statistics, variables["batch_stats"])
    assert_allclose(loss, FORWARD[f"{name}/bn_statistics_loss"], rtol=1e-4)
    expected = FORWARD[f"{name}/logits"]
    assert_allclose(logits, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


class TwoLayers(nn.Module):
    """Normalizes its input, doubles it and normalizes once more."""

    @nn.compact
    def __call__(self, x):
        x = nn.BatchNorm(use_running_average=True, name="first")(x)
        return nn.BatchNorm(use_running_average=True, name="second")(2 * x)


X = np.random.default_rng(1).normal(3, 2, (8, 2, 2, 3)).astype(np.float32)
VARIABLES = TwoLayers().init(jax.random.key(0), X)


def test_statistics_are_those_of_every_layers_input():
    _, statistics = batchnorm.apply_with_batch_statistics(TwoLayers(), VARIABLES, X)
    assert jax.tree.structure(statistics) == jax.tree.structure(VARIABLES["batch_stats"])
    # Running averages start at mean 0 and variance 1, so the first layer hands its input through.
    for layer, factor in (("first", 1), ("second", 2)):
        assert_allclose(statistics[layer]["mean"], factor * X.mean((0, 1, 2)), rtol=1e-4)
        assert_allclose(statistics[layer]["var"], factor**2 * X.var((0, 1, 2)), rtol=1e-4)


def test_statistics_are_of_the_whole_batch_over_devices():
    parts = X.reshape(4, 2, 2, 2, 3)

    def statistics(x):
        return batchnorm.apply_with_batch_statistics(TwoLayers(), VARIABLES, x, axis_name="devices")[1]

    per_device = jax.vmap(statistics, axis_name="devices")(parts)
    _, whole = batchnorm.apply_with_batch_statistics(TwoLayers(), VARIABLES, X)
    jax.tree.map(lambda a, b: assert_allclose(a, np.stack([b] * 4), rtol=1e-5), per_device, whole)


def test_loss_by_hand():
    batch = {"a": {"mean": jnp.array([3.0, 4.0]), "var": jnp.ones(2)}, "b": {"mean": jnp.zeros(1), "var": jnp.ones(1)}}
    running = {"a": {"mean": jnp.zeros(2), "var": jnp.ones(2)}, "b": {"mean": jnp.zeros(1), "var": jnp.array([3.0])}}
    # Norms per layer and statistic (5, 0, 0, 2), added, not squared.
    assert_allclose(batchnorm.statistics_loss(batch, running), 7, rtol=1e-5)


def test_gradient_is_finite_where_batch_and_running_statistics_agree():
    running = {"a": {"mean": jnp.zeros(2), "var": jnp.ones(2)}}
    gradient = jax.grad(batchnorm.statistics_loss)(running, running)
    jax.tree.map(lambda g: assert_allclose(g, np.zeros(2)), gradient)


def test_running_average_by_hand():
    """bn_mmt 0.9 over three syntheses whose batch means are 1, 2 and 4."""
    means = [{"a": {"mean": jnp.array([m]), "var": jnp.ones(1)}} for m in (1.0, 2.0, 4.0)]
    average = update_average(jax.tree.map(jnp.zeros_like, means[0]), means[0], 0.9, first=True)
    assert_allclose(average["a"]["mean"], [1.0])
    average = update_average(average, means[1], 0.9, first=False)
    assert_allclose(average["a"]["mean"], [1.1], rtol=1e-6)
    # What the third synthesis' loss compares with the teacher: 0.1 * 4 + 0.9 * 1.1.
    blended = batchnorm.blend(means[2], average, 0.9)
    assert_allclose(blended["a"]["mean"], [1.39], rtol=1e-6)
    assert_allclose(blended["a"]["var"], [1.0], rtol=1e-6)


def test_networks_without_batch_norm_are_told_apart():
    assert batchnorm.has_batch_norm(VARIABLES)
    assert not batchnorm.has_batch_norm({"params": VARIABLES["params"]})

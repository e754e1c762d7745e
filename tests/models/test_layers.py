"""Initial weights."""

import flax.linen as nn
import jax
import pytest
from numpy.testing import assert_array_equal

from ssdkd_jax.models import layers


@pytest.mark.parametrize("shape", [(3, 3, 4, 6), (7, 5), (3, 1, 1, 8)])
@pytest.mark.parametrize("mode", ["fan_in", "fan_out"])
@pytest.mark.parametrize("distribution", ["normal", "uniform", "truncated_normal"])
def test_weights_drawn_as_a_matrix_are_flaxs(shape, mode, distribution):
    arguments, key = (2.0, mode, distribution), jax.random.key(0)
    assert_array_equal(
        layers.variance_scaling(*arguments)(key, shape), nn.initializers.variance_scaling(*arguments)(key, shape)
    )


@pytest.mark.parametrize("shape", [(3, 3, 4, 6), (7, 5)])
def test_any_initializer_drawn_as_a_matrix_is_flaxs(shape):
    normal, key = nn.initializers.normal(0.02), jax.random.key(0)
    assert_array_equal(layers.drawn_as_matrix(normal)(key, shape), normal(key, shape))

"""HiDFD's generator at all sizes of images, and spectral normalization."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from numpy.testing import assert_allclose, assert_array_equal

from ssdkd_jax.errors import UserError
from ssdkd_jax.models.conditional_generator import ConditionalGenerator
from ssdkd_jax.models.layers import Layers
from ssdkd_jax.models.spectral_norm import COLLECTION, SpectralDense, normalized


@pytest.mark.parametrize(
    ("shape", "first_map", "blocks"),
    [
        ((8, 8, 1), 4, 1),
        ((28, 28, 1), 7, 2),
        ((32, 32, 3), 4, 3),
        ((64, 64, 3), 4, 4),
        ((128, 128, 3), 4, 5),
    ],
)
def test_the_generator_fits_the_size_of_the_images(shape, first_map, blocks):
    generator = ConditionalGenerator(shape, 5, 3, 2, True, Layers())
    inputs = jnp.zeros((2, 5)), jnp.zeros(2, jnp.int32)
    evaluate = functools.partial(generator.apply, train=False)
    shapes = jax.eval_shape(generator.init, jax.random.key(0), *inputs)
    assert jax.eval_shape(evaluate, shapes, *inputs).shape == (2, *shape)
    flat = traverse_util.flatten_dict(shapes["params"])
    assert flat["linear", "bias"].shape == (2 * first_map**2,)
    assert len({path[0] for path in flat if path[0].startswith("blocks.")}) == blocks


def test_odd_sizes_are_refused():
    generator = ConditionalGenerator((9, 8, 1), 5, 3, 2, True, Layers())
    with pytest.raises(
        UserError,
        match=r"cannot generate images of .*\(9, 8, 1\); height and width must be even .*: --config.image_size=N",
    ):
        jax.eval_shape(generator.init, jax.random.key(0), jnp.zeros((2, 5)), jnp.zeros(2, jnp.int32))


def test_kernels_are_divided_by_their_largest_singular_value():
    kernel, u = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(np.float32), jnp.ones(5)
    for _ in range(100):
        found, u = normalized(kernel, u)
    assert_allclose(np.linalg.svd(found.reshape(12, 5), compute_uv=False)[0], 1, rtol=1e-4)
    assert_allclose(normalized(kernel, 100 * u)[0], found, rtol=1e-4)


def test_only_training_moves_the_singular_vector():
    layer, x = SpectralDense(3, Layers()), jnp.ones((2, 4))
    variables = layer.init(jax.random.key(0), x, True)
    _, evaluated = layer.apply(variables, x, False, mutable=[COLLECTION])
    assert_array_equal(evaluated[COLLECTION]["u"], variables[COLLECTION]["u"])
    _, trained = layer.apply(variables, x, True, mutable=[COLLECTION])
    assert not np.allclose(trained[COLLECTION]["u"], variables[COLLECTION]["u"])

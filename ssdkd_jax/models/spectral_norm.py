"""Linear and convolutional layers whose kernels are divided by their largest singular value.

Spectral normalization (Miyato et al., ICLR 2018, arXiv 1802.05957): one power iteration per call from the left singular
vector `u` of the call before, which is kept in the collection "spectral" of the module's variables.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssdkd_jax.models.layers import Layers, drawn_as_matrix

COLLECTION = "spectral"
# Initial weights of BigGAN's public code and what is built on it.
normal_0_02 = drawn_as_matrix(nn.initializers.normal(0.02))
_SMALLEST_NORM = 1e-8


def normalized(kernel: jax.Array, u: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Divides a kernel by an estimate of its largest singular value.

    Args:
      kernel: (..., outputs); all axes but the last are the matrix's columns.
      u: (outputs,), of any length but zero.

    Returns:
      (kernel / sigma, the next u of unit length): gradients flow through the kernel in sigma, not through the vectors.
    """
    matrix = kernel.reshape(-1, kernel.shape[-1])
    v = jax.lax.stop_gradient(_unit(matrix @ u))
    next_u = jax.lax.stop_gradient(_unit(v @ matrix))
    return kernel / (v @ matrix @ next_u), next_u


def _unit(x):
    return x / jnp.maximum(jnp.linalg.norm(x), _SMALLEST_NORM)


class SpectralDense(nn.Module):
    """A linear layer; x (n, inputs) -> (n, features).

    Attributes:
      features: number of outputs.
      layers: Layers of the network.
      use_bias: whether a bias is added.
    """

    features: int
    layers: Layers
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        dense = nn.Dense(
            self.features,
            use_bias=self.use_bias,
            dtype=self.layers.dtype,
            param_dtype=self.layers.param_dtype,
            parent=None,
        )
        return _apply(self, dense, x, (x.shape[-1], self.features), train)


class SpectralConv(nn.Module):
    """A square convolution that keeps the size; x (n, h, w, c) -> (n, h, w, features).

    Attributes:
      features: number of output channels.
      size: of the kernel, odd, in pixels.
      layers: Layers of the network.
    """

    features: int
    size: int
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        conv = nn.Conv(
            self.features,
            (self.size, self.size),
            padding=[(self.size // 2, self.size // 2)] * 2,
            dtype=self.layers.dtype,
            param_dtype=self.layers.param_dtype,
            conv_general_dilated=self.layers.conv_general_dilated,
            parent=None,
        )
        return _apply(self, conv, x, (self.size, self.size, x.shape[-1], self.features), train)


def _apply(module: nn.Module, layer: nn.Module, x: jax.Array, shape: tuple[int, ...], train: bool) -> jax.Array:
    """Runs an unbound layer with the module's own parameters; stores the next u in training mode."""
    outputs, dtype = shape[-1], module.layers.param_dtype
    kernel = module.param("kernel", normal_0_02, shape, dtype)
    u = module.variable(COLLECTION, "u", lambda: jax.random.normal(module.make_rng("params"), (outputs,), dtype))
    kernel, next_u = normalized(kernel, u.value)
    if train and not module.is_initializing():
        u.value = next_u
    params = {"kernel": kernel}
    if layer.use_bias:
        params["bias"] = module.param("bias", nn.initializers.zeros, (outputs,), dtype)
    return layer.apply({"params": params}, x)

"""The layers that every network is made of, and their initial weights.

Layers carry their public PyTorch path as their Linen name, dots included (`name="layer1.0"`, inside it `name="conv1"`),
so that conversion of weights is one rule without a table per network (see `ssdkd_jax.interop`).

Initial weights follow the public PyTorch code: convolution kernels as each family's file says (Kaiming normal by fan
out unless it says otherwise), BatchNorm scale 1 and bias 0, linear layers uniform within 1/sqrt(inputs), the default of
`torch.nn.Linear`, unless the family's file says otherwise.
"""

import dataclasses
import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike


def drawn_as_matrix(initializer: Callable) -> Callable:
    """An initializer of independent weights with the same values, of which XLA only sees matrices.

    For random numbers in four dimensions XLA's compiler for CPUs needs up to five times longer.
    """

    def init(key, shape, dtype=jnp.float32):
        return initializer(key, (math.prod(shape[:-1]), shape[-1]), dtype).reshape(shape)

    return init


def variance_scaling(scale: float, mode: str, distribution: str) -> Callable:
    """`nn.initializers.variance_scaling` with the same values, drawn as a matrix (see `drawn_as_matrix`).

    Args:
      scale: of the variance.
      mode: "fan_in" or "fan_out".
      distribution: "normal", "uniform" or "truncated_normal".
    """
    of_matrix = nn.initializers.variance_scaling(scale, mode, distribution)

    def init(key, shape, dtype=jnp.float32):
        columns = shape[-1] * (math.prod(shape[:-2]) if mode == "fan_out" else 1)
        return of_matrix(key, (math.prod(shape) // columns, columns), dtype).reshape(shape)

    return init


# torch.nn.init.kaiming_normal_(mode="fan_out") and mode="fan_in", and the default of torch.nn.Conv2d and Linear.
kaiming_fan_out = variance_scaling(2.0, "fan_out", "normal")
kaiming_fan_in = variance_scaling(2.0, "fan_in", "normal")
torch_default = variance_scaling(1 / 3, "fan_in", "uniform")
# What torchvision and RepDistiller give the linear layers of some families, with biases of zero.
normal_0_01 = nn.initializers.normal(0.01)


def torch_default_bias(inputs: int) -> Callable:
    """Makes the initializer of a bias uniform within 1/sqrt(inputs), as in `torch.nn.Linear` and `Conv2d`."""

    def init(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -(inputs**-0.5), inputs**-0.5)

    return init


@dataclasses.dataclass(frozen=True)
class Layers:
    """Makes the layers of one network; its methods are called inside the compact method that owns the layers.

    Attributes:
      dtype: of computation; classifiers and BatchNorm statistics are float32 whatever it is.
      param_dtype: of parameters.
      bn_axis_name: pmapped axis over which BatchNorm averages its batch statistics in training mode.
      conv_general_dilated: replaces `lax.conv_general_dilated` (see `convolution.py`).
    """

    dtype: DTypeLike = jnp.float32
    param_dtype: DTypeLike = jnp.float32
    bn_axis_name: str | None = None
    conv_general_dilated: Callable | None = None

    def conv(
        self,
        features: int,
        size: int,
        name: str,
        *,
        stride: int = 1,
        groups: int = 1,
        padding: int | None = None,
        dilation: int = 1,
        use_bias: bool = False,
        init: Callable = kaiming_fan_out,
        bias_init: Callable | None = None,
        dtype: DTypeLike | None = None,
    ) -> nn.Conv:
        """Square convolution, padded alike on all four sides as PyTorch does, never as XLA's SAME.

        Args:
          features: number of output channels.
          size: of the kernel, in pixels.
          name: its PyTorch name within the module that owns it.
          stride: of rows and columns.
          groups: of channels that are convolved on their own.
          padding: pixels on each side; None keeps the size where the stride is 1.
          dilation: distance of the kernel's pixels.
          use_bias: whether a bias is added.
          init: initializer of the kernel.
          bias_init: initializer of the bias; None is zeros.
          dtype: of computation; None is the network's.
        """
        pixels = dilation * (size // 2) if padding is None else padding
        return nn.Conv(
            features,
            (size, size),
            strides=(stride, stride),
            padding=[(pixels, pixels)] * 2,
            kernel_dilation=(dilation, dilation),
            feature_group_count=groups,
            use_bias=use_bias,
            kernel_init=init,
            bias_init=bias_init or nn.initializers.zeros,
            dtype=dtype or self.dtype,
            param_dtype=self.param_dtype,
            conv_general_dilated=self.conv_general_dilated,
            name=name,
        )

    def batch_norm(self, train: bool, name: str, *, affine: bool = True) -> nn.BatchNorm:
        """PyTorch's BatchNorm2d: epsilon 1e-5, momentum 0.1 (which Flax calls 0.9); scale and bias where `affine`."""
        return nn.BatchNorm(
            use_scale=affine,
            use_bias=affine,
            use_running_average=not train,
            momentum=0.9,
            epsilon=1e-5,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            axis_name=self.bn_axis_name,
            name=name,
        )

    def classify(
        self, x: jax.Array, num_classes: int, name: str, *, return_features: bool | str, init: Callable | None = None
    ) -> jax.Array | tuple[jax.Array, jax.Array]:
        """Global average pooling and the linear classifier.

        Args:
          x: (n, h, w, c) last feature map.
          num_classes: of the classifier.
          name: of the linear layer, as in `conv`.
          return_features: whether to return the classifier's input too; "map" makes no classifier.
          init: as in `linear`.

        Returns:
          logits (n, num_classes) float32, or (logits, features (n, c) float32); x itself for "map".
        """
        if return_features == "map":
            return x
        features = jnp.mean(x, axis=(1, 2), dtype=jnp.float32)
        logits = self.linear(features, num_classes, name, dtype=jnp.float32, init=init)
        return (logits, features) if return_features else logits

    def linear(
        self,
        x: jax.Array,
        features: int,
        name: str,
        *,
        dtype: DTypeLike | None = None,
        init: Callable | None = None,
    ) -> jax.Array:
        """Linear layer of x (..., c) -> (..., features).

        Args:
          x: (..., c).
          features: number of outputs.
          name: as in `conv`.
          dtype: of computation; None is the network's.
          init: initializer of the kernel, with a bias of zero; None is PyTorch's default for both.
        """
        return nn.Dense(
            features,
            kernel_init=init or torch_default,
            bias_init=nn.initializers.zeros if init else torch_default_bias(x.shape[-1]),
            dtype=dtype or self.dtype,
            param_dtype=self.param_dtype,
            name=name,
        )(x)


def resize_bilinear(x: jax.Array, size: tuple[int, int]) -> jax.Array:
    """(n, h, w, c) -> (n, *size, c) with pixel centers at halves, as PyTorch with `align_corners=False`."""
    # What jax.image.resize does, which jax2onnx takes for a fixed number of images only.
    scale = jnp.array(size, jnp.float32) / jnp.array(x.shape[1:3], jnp.float32)
    shape = (x.shape[0], *size, x.shape[-1])
    return jax.image.scale_and_translate(x, shape, (1, 2), scale, jnp.zeros(2), "linear", antialias=False)


def max_pool_2x2(x: jax.Array) -> jax.Array:
    """(n, h, w, c) -> (n, h // 2, w // 2, c)."""
    return nn.max_pool(x, window_shape=(2, 2), strides=(2, 2))


def max_pool_3x3(x: jax.Array) -> jax.Array:
    """Stride 2, one pixel of -inf on each side: (n, h, w, c) -> (n, (h + 1) // 2, (w + 1) // 2, c)."""
    # Padded apart from the pooling, since jax2onnx takes no padding of a pooling.
    padded = jnp.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=-jnp.inf)
    return nn.max_pool(padded, window_shape=(3, 3), strides=(2, 2))

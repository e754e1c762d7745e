"""Generators: latents to images."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from ssdkd_jax.errors import UserError
from ssdkd_jax.models.arguments import check_counts, check_dtypes, check_image_shape
from ssdkd_jax.models.layers import Layers, torch_default, torch_default_bias


class Generator(nn.Module):
    """A linear layer, then up-sampling by 2 and convolution, block by block (FastDFKD, AAAI 2022).

    Layers are named as in zju-vipa/Fast-Datafree's `Generator`, which has two blocks; four blocks count on alike.

    Attributes:
      image_shape: (h, w, c).
      latent_size: length of a latent.
      features: channels of each block's convolution; the first map has as many as the first block.
    """

    image_shape: tuple[int, int, int]
    latent_size: int
    features: tuple[int, ...]
    layers: Layers

    @nn.compact
    def __call__(self, z: jax.Array, train: bool = True) -> jax.Array:
        """Makes images of latents.

        Args:
          z: (n, latent_size).
          train: BatchNorm with the batch's statistics, updating `batch_stats`, which must be mutable.

        Returns:
          (n, h, w, c) float32 in [0, 1].
        """
        layers = self.layers
        height, width, channels = self.image_shape
        scale = 2 ** len(self.features)
        h, w, first = height // scale, width // scale, self.features[0]

        x = layers.linear(z, first * h * w, "l1.0")
        # PyTorch's channels-first order, so that weights carry over.
        x = jnp.transpose(jnp.reshape(x, (-1, first, h, w)), (0, 2, 3, 1))
        x = layers.batch_norm(train, "conv_blocks.0")(x)
        for block, features in enumerate(self.features):
            # up-sampling, convolution, BatchNorm and LeakyReLU are four entries of one PyTorch Sequential.
            entry = 1 + 4 * block
            x = upsample_2x2(x)
            x = layers.conv(features, 3, f"conv_blocks.{entry + 1}", init=torch_default)(x)
            x = nn.leaky_relu(layers.batch_norm(train, f"conv_blocks.{entry + 2}")(x), 0.2)
        last = layers.conv(
            channels,
            3,
            f"conv_blocks.{1 + 4 * len(self.features)}",
            use_bias=True,
            init=torch_default,
            bias_init=torch_default_bias(9 * x.shape[-1]),
        )
        return jax.nn.sigmoid(last(x).astype(jnp.float32))


def upsample_2x2(x):
    """Repeats every pixel, (n, h, w, c) -> (n, 2h, 2w, c)."""
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)


def create_generator(
    image_shape: tuple[int, int, int],
    latent_size: int = 256,
    width: int = 64,
    *,
    dtype: DTypeLike = jnp.float32,
    param_dtype: DTypeLike = jnp.float32,
    bn_axis_name: str | None = None,
    conv_general_dilated: Callable | None = None,
) -> Generator:
    """Makes the generator for a size of image.

    Up to 32x32 it is FastDFKD's, which starts at a quarter of the size with 2*width channels.  Larger images start at a
    sixteenth of the size with 2*width channels, from which four blocks make 2*width, width, width, width: the blocks of
    FastDFKD's ImageNet generator.  Its latent is a small map that goes through a convolution; ours is a vector that
    goes through a linear layer, as for small images, which is our reading.

    Args:
      image_shape: (h, w, c); h and w multiples of 4 up to 32, multiples of 16 where either is larger.
      latent_size: length of a latent.
      width: channels of the last block.
      dtype, param_dtype, bn_axis_name, conv_general_dilated: as in `create_model`.

    Returns:
      a Linen module, called as `generator.apply(variables, z, train=True, mutable=["batch_stats"])`.

    Raises:
      UserError: a size it cannot make, or no size at all; no floating dtype.
    """
    check_image_shape(image_shape)
    check_counts(latent_size=latent_size, width=width)
    check_dtypes(dtype=dtype, param_dtype=param_dtype)
    height, wide, channels = image_shape
    small = max(height, wide) <= 32
    multiple = 4 if small else 16
    if min(height, wide, channels) < 1 or height % multiple or wide % multiple:
        raise unsupported_size(image_shape, "multiples of 4 up to 32, or multiples of 16 where either is larger")
    features = (2 * width, width) if small else (2 * width, width, width, width)
    layers = Layers(dtype, param_dtype, bn_axis_name, conv_general_dilated)
    return Generator((height, wide, channels), latent_size, features, layers)


def unsupported_size(image_shape: tuple[int, int, int], expected: str) -> UserError:
    """What to raise for images (h, w, c) that a generator cannot make; `expected` says which sides it can."""
    return UserError(
        f"cannot generate images of (height, width, channels) = {tuple(image_shape)}; height and width must be "
        f"{expected}: --config.image_size=N"
    )

"""Generators: latents to images."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssdkd_jax.errors import UserError
from ssdkd_jax.models.layers import Layers, torch_default, torch_default_bias


class Generator(nn.Module):
    """A linear layer, then up-sampling by 2 and convolution, block by block (FastDFKD, AAAI 2022, for two blocks).

    Layers are named as in zju-vipa/Fast-Datafree's `Generator`, for four blocks with the same counting.

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
    def __call__(self, z, train=True):
        """Images of latents.

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
            x = _upsample_2x2(x)
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


def _upsample_2x2(x):
    """Nearest neighbor, (n, h, w, c) -> (n, 2h, 2w, c)."""
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)


def create_generator(
    image_shape,
    latent_size=256,
    width=64,
    *,
    dtype=jnp.float32,
    param_dtype=jnp.float32,
    bn_axis_name=None,
    conv_general_dilated=None,
):
    """Makes the generator for a size of image.

    Up to 32x32 it is FastDFKD's, which starts at a quarter of the size with 2*width channels.  Larger images start at a
    sixteenth with blocks of 2*width, 2*width, width, width channels: FastDFKD's ImageNet generator with a linear first
    layer in place of its convolutional latent, which is our reading.

    Args:
      image_shape: (h, w, c); h and w multiples of 4 up to 32, multiples of 16 where either is larger.
      latent_size: length of a latent.
      width: channels of the last block.
      dtype, param_dtype, bn_axis_name, conv_general_dilated: as in `create_model`.

    Returns:
      a Linen module, called as `generator.apply(variables, z, train=True, mutable=["batch_stats"])`.

    Raises:
      UserError: a size it cannot make.
    """
    height, wide, channels = image_shape
    small = max(height, wide) <= 32
    multiple = 4 if small else 16
    if min(height, wide, channels) < 1 or height % multiple or wide % multiple:
        raise UserError(
            f"cannot generate images of (height, width, channels) = {(height, wide, channels)}; "
            "height and width must be multiples of 4 up to 32, or multiples of 16 where either is larger"
        )
    features = (2 * width, width) if small else (2 * width, 2 * width, width, width)
    layers = Layers(dtype, param_dtype, bn_axis_name, conv_general_dilated)
    return Generator((height, wide, channels), latent_size, features, layers)

"""HiDFD's class-conditional generator (AAAI 2025): residual up-sampling blocks as BigGAN's (arXiv 1809.11096)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssdkd_jax.models.generator import unsupported_size, upsample_2x2
from ssdkd_jax.models.layers import Layers
from ssdkd_jax.models.spectral_norm import SpectralConv, SpectralDense, normal_0_02

# The first map is halved from the image no further than this.
SMALLEST_SIDE = 4


class ConditionalBatchNorm(nn.Module):
    """BatchNorm whose scale and bias follow from the class: `BN(x) * (1 + gain) + bias`.

    Attributes:
      num_classes: of the tables.
      shared: whether `y` is an embedding (n, e), that two spectrally normalized linear layers turn into gain and bias;
        else it is the class (n,) int, and each of the two is a table of its own.
      layers: Layers of the network.
    """

    num_classes: int
    shared: bool
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, y: jax.Array, train: bool) -> jax.Array:
        channels = x.shape[-1]

        def of_class(name):
            if self.shared:
                return SpectralDense(channels, self.layers, use_bias=False, name=name)(y, train)
            return _table(self.num_classes, channels, self.layers, name)(y)

        gain, bias = (of_class(name)[:, None, None] for name in ("gain", "bias"))
        return self.layers.batch_norm(train, "norm", affine=False)(x) * (1 + gain) + bias


class UpBlock(nn.Module):
    """Doubles height and width: two 3x3 convolutions, and a 1x1 convolution around them.

    Attributes:
      features: channels of all three.
      num_classes, shared, layers: as of ConditionalBatchNorm.
    """

    features: int
    num_classes: int
    shared: bool
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, y: jax.Array, train: bool) -> jax.Array:
        def norm(x, name):
            return ConditionalBatchNorm(self.num_classes, self.shared, self.layers, name=name)(x, y, train)

        def conv(x, size, name):
            return SpectralConv(self.features, size, self.layers, name=name)(x, train)

        h = conv(upsample_2x2(nn.relu(norm(x, "bn1"))), 3, "conv1")
        h = conv(nn.relu(norm(h, "bn2")), 3, "conv2")
        return h + conv(upsample_2x2(x), 1, "conv_sc")


class ConditionalGenerator(nn.Module):
    """A linear layer, up-sampling blocks of equal width, BatchNorm, ReLU, a 3x3 convolution and tanh.

    Layers are named as in tangjialiang97/HiDFD, whose generator has three blocks, for 32x32 pixels, each as wide as the
    first map: other sizes halve the image until a side is odd or has four pixels, with a block for each halving.
    [our reading]

    Attributes:
      image_shape: (h, w, c), h and w even and at least 8.
      latent_size: length of a latent, and of a class's embedding.
      num_classes: classes y.
      width: channels of every block.
      shared: whether all conditional BatchNorm layers share one class embedding, as the paper means; the released
        script gives each of them tables of its own.
      layers: Layers of the network.
    """

    image_shape: tuple[int, int, int]
    latent_size: int
    num_classes: int
    width: int
    shared: bool
    layers: Layers

    @nn.compact
    def __call__(self, z: jax.Array, y: jax.Array, train: bool = True) -> jax.Array:
        """Makes images of latents and classes.

        Args:
          z: (n, latent_size).
          y: (n,) int.
          train: BatchNorm with the batch's statistics; updates "batch_stats" and "spectral", which must be mutable.

        Returns:
          (n, h, w, c) float32 in [0, 1], which is tanh mapped from [-1, 1].
        """
        h, w, blocks = first_map(self.image_shape)
        if self.shared:
            y = _table(self.num_classes, self.latent_size, self.layers, "shared")(y)
        x = SpectralDense(self.width * h * w, self.layers, name="linear")(z, train)
        # PyTorch's channels-first order, so that weights carry over.
        x = jnp.transpose(jnp.reshape(x, (-1, self.width, h, w)), (0, 2, 3, 1))
        for block in range(blocks):
            x = UpBlock(self.width, self.num_classes, self.shared, self.layers, name=f"blocks.{block}.0")(x, y, train)
        x = nn.relu(self.layers.batch_norm(train, "output_layer.0")(x))
        x = SpectralConv(self.image_shape[-1], 3, self.layers, name="output_layer.2")(x, train)
        return 0.5 * (jnp.tanh(x.astype(jnp.float32)) + 1)


def _table(num_classes, features, layers, name):
    return nn.Embed(
        num_classes,
        features,
        embedding_init=normal_0_02,
        dtype=layers.dtype,
        param_dtype=layers.param_dtype,
        name=name,
    )


def first_map(image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """(height, width, number of blocks) with which a ConditionalGenerator starts for images (h, w, c).

    Raises:
      UserError: a size that it cannot make.
    """
    height, width = image_shape[:2]
    blocks = 0
    while not (height % 2 or width % 2) and min(height, width) >= 2 * SMALLEST_SIDE:
        height, width, blocks = height // 2, width // 2, blocks + 1
    if not blocks:
        raise unsupported_size(image_shape, f"even and at least {2 * SMALLEST_SIDE}")
    return height, width, blocks

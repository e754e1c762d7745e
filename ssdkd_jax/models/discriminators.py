"""HiDFD's discriminators (AAAI 2025): one on the frozen teacher's features, and the one of the released script."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssdkd_jax.models.layers import Layers
from ssdkd_jax.models.spectral_norm import SpectralConv, SpectralDense

# Between a discriminator's code and its projection to the teacher's features, as published.
PROJECTION_WIDTH = 1024


class Judgment(NamedTuple):
    """What a discriminator makes of n images.

    realness: (n,), large for real images.
    classes: (n, 2 * classes) logits of ADC-GAN (arXiv 2107.10060): 2y is "real and of class y", 2y + 1 "fake and of y".
    features: (n, f) its projection back to the teacher's features.
    """

    realness: jax.Array
    classes: jax.Array
    features: jax.Array


class GuidedDiscriminator(nn.Module):
    """Spectrally normalized linear maps, without any activation, on the teacher's pooled features (n, f).

    Layers are named as in tangjialiang97/HiDFD, and so are those of `PlainDiscriminator`.

    Attributes:
      num_classes: classes of the teacher.
      width: length of the code that all heads see.
      layers: Layers of the network.
    """

    num_classes: int
    width: int
    layers: Layers

    @nn.compact
    def __call__(self, features: jax.Array, train: bool = True) -> Judgment:
        """Judges images by their features; `train` updates the collection "spectral", which must be mutable."""
        code = SpectralDense(self.width, self.layers, name="linear_map")(features, train)
        return _judge(code, self.num_classes, features.shape[-1], self.layers, train)


class PlainDiscriminator(nn.Module):
    """Four residual blocks on the images themselves, as the released script has it: no teacher is in it.

    Attributes:
      num_classes: classes of the teacher.
      width: channels of every convolution, and length of the code that all heads see.
      feature_size: f, length of the teacher's features.
      layers: Layers of the network.
    """

    num_classes: int
    width: int
    feature_size: int
    layers: Layers

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = True) -> Judgment:
        """Judges images from -1 to 1 (n, h, w, c); `train` as for `GuidedDiscriminator`."""
        x = images
        for block in range(4):
            x = _ImageBlock(self.width, block, self.layers, name=f"blocks.{block}.0")(x, train)
        code = jnp.sum(nn.relu(x), axis=(1, 2))
        return _judge(code, self.num_classes, self.feature_size, self.layers, train)


class _ImageBlock(nn.Module):
    """A residual block; the first two halve height and width."""

    features: int
    number: int
    layers: Layers

    @nn.compact
    def __call__(self, x, train):
        def conv(x, size, name):
            return SpectralConv(self.features, size, self.layers, name=name)(x, train)

        h = conv(x if self.number == 0 else nn.relu(x), 3, "conv1")
        h = conv(nn.relu(h), 3, "conv2")
        if self.number == 0:
            return _halved(h) + conv(_halved(x), 1, "conv_sc")
        return _halved(h) + _halved(conv(x, 1, "conv_sc")) if self.number == 1 else h + x


def _halved(x):
    return nn.avg_pool(x, (2, 2), strides=(2, 2))


def _judge(code, num_classes, feature_size, layers, train):
    def linear(x, features, name):
        return SpectralDense(features, layers, name=name)(x, train)

    projected = linear(linear(code, PROJECTION_WIDTH, "linear_cls_1"), feature_size, "linear_cls_2")
    judgment = Judgment(linear(code, 1, "linear")[:, 0], linear(code, 2 * num_classes, "adc"), projected)
    return jax.tree.map(lambda x: x.astype(jnp.float32), judgment)

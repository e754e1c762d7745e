"""ShuffleNetV2 (Ma et al., ECCV 2018) for small images, named as in RepDistiller and zju-vipa/Fast-Datafree.

Convolutions start with PyTorch's default.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssdkd_jax.models.architecture import DATAFREE, Architecture, published
from ssdkd_jax.models.layers import Layers, torch_default


class BasicBlock(nn.Module):
    """The second half of the channels through 1x1, 3x3 by channel and 1x1; the first half as it is."""

    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        kept, y = jnp.split(x, 2, axis=-1)
        half = y.shape[-1]
        y = nn.relu(_normalized(y, half, 1, train, self.layers))
        y = _normalized(y, half, 2, train, self.layers, by_channel=True)
        y = nn.relu(_normalized(y, half, 3, train, self.layers))
        return _interleaved(kept, y)


class DownBlock(nn.Module):
    """Half the resolution and `features` channels, a half each from two branches of all the input's channels."""

    features: int
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        layers, half = self.layers, self.features // 2
        left = _normalized(x, x.shape[-1], 1, train, layers, stride=2, by_channel=True)
        left = nn.relu(_normalized(left, half, 2, train, layers))
        right = nn.relu(_normalized(x, half, 3, train, layers))
        right = _normalized(right, half, 4, train, layers, stride=2, by_channel=True)
        right = nn.relu(_normalized(right, half, 5, train, layers))
        return _interleaved(left, right)


def _normalized(x, features, number, train, layers, *, stride=1, by_channel=False):
    """BatchNorm of a convolution: 3x3 of every channel on its own, or 1x1."""
    size, groups = (3, x.shape[-1]) if by_channel else (1, 1)
    x = layers.conv(features, size, f"conv{number}", stride=stride, groups=groups, init=torch_default)(x)
    return layers.batch_norm(train, f"bn{number}")(x)


def _interleaved(a, b):
    """Channels a0, b0, a1, b1, ...: the public concatenation and shuffle with two groups."""
    return jnp.reshape(jnp.stack([a, b], axis=-1), (*a.shape[:-1], -1))


class ShuffleNetV2(nn.Module):
    """Size 1x: three stages of 116, 232, 464 channels, with a 1x1 convolution before and one after them.

    See `create_model` for the arguments of `__call__`.
    """

    num_classes: int
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False, return_features: bool = False):
        layers = self.layers
        x = nn.relu(_normalized(x, 24, 1, train, layers))
        for stage, (features, blocks) in enumerate([(116, 4), (232, 8), (464, 4)], start=1):
            x = DownBlock(features, layers, name=f"layer{stage}.0")(x, train)
            for i in range(1, blocks):
                x = BasicBlock(layers, name=f"layer{stage}.{i}")(x, train)
        x = nn.relu(_normalized(x, 1024, 2, train, layers))
        return layers.classify(x, self.num_classes, "linear", return_features=return_features)


_DEFINITION = published(
    DATAFREE,
    "datafree.models.classifiers.shufflenetv2",
    "shuffle_v2(num_classes={classes})",
    last_map="bn2",
    other_sizes="# The definition takes 32x32 images only: in its forward, average over the whole map.\n",
)
ARCHITECTURES = {"shufflenetv2": Architecture(ShuffleNetV2, _DEFINITION)}

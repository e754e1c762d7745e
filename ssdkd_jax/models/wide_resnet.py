"""Wide residual networks (Zagoruyko & Komodakis, BMVC 2016) with the names of zju-vipa/Fast-Datafree."""

import functools

import flax.linen as nn
import jax

from ssdkd_jax.models.architecture import DATAFREE, Architecture, published
from ssdkd_jax.models.layers import Layers


class Block(nn.Module):
    """BatchNorm and ReLU before each of two convolutions."""

    features: int
    stride: int
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        layers = self.layers
        activated = nn.relu(layers.batch_norm(train, "bn1")(x))
        y = layers.conv(self.features, 3, "conv1", stride=self.stride)(activated)
        y = nn.relu(layers.batch_norm(train, "bn2")(y))
        y = layers.conv(self.features, 3, "conv2")(y)
        if x.shape[-1] == self.features:
            return x + y
        return layers.conv(self.features, 1, "convShortcut", stride=self.stride)(activated) + y


class WideResNet(nn.Module):
    """`depth` = 6 * blocks per stage + 4; `width` multiplies the 16, 32, 64 channels of the three stages.

    See `create_model` for the arguments of `__call__`.
    """

    depth: int
    width: int
    num_classes: int
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False, return_features: bool = False):
        layers = self.layers
        x = layers.conv(16, 3, "conv1")(x)
        for stage, stride in enumerate((1, 2, 2)):
            for block in range((self.depth - 4) // 6):
                features = 16 * self.width * 2**stage
                name = f"block{stage + 1}.layer.{block}"
                x = Block(features, stride if block == 0 else 1, layers, name=name)(x, train)
        x = nn.relu(layers.batch_norm(train, "bn1")(x))
        return layers.classify(x, self.num_classes, "fc", return_features=return_features)


def _architecture(depth, width):
    # The public code has functions for some of the sizes only.
    constructor = f"WideResNet(depth={depth}, widen_factor={width}, num_classes={{classes}})"
    if depth in (16, 40):
        constructor = f"wrn_{depth}_{width}(num_classes={{classes}})"
    make = functools.partial(WideResNet, depth=depth, width=width)
    return Architecture(make, published(DATAFREE, "datafree.models.classifiers.wresnet", constructor, last_map="bn1"))


ARCHITECTURES = {
    f"wrn{depth}_{width}": _architecture(depth, width)
    for depth, width in [(10, 1), (10, 2), (16, 1), (16, 2), (40, 1), (40, 2)]
}

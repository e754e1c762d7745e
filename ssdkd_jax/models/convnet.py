"""Small plain networks for small images (8x8 digits, 28x28 clothes)."""

import functools

import flax.linen as nn

from ssdkd_jax.models.layers import Layers


class ConvNet(nn.Module):
    """Three convolutions of `width`, 2 and 4 times `width` channels, the last two with stride 2.

    See `create_model` for the arguments of `__call__`.
    """

    width: int
    num_classes: int
    layers: Layers

    @nn.compact
    def __call__(self, x, train=False, return_features=False):
        layers = self.layers
        for i, stride in enumerate((1, 2, 2)):
            x = layers.conv(self.width * 2**i, 3, f"conv{i + 1}", stride=stride)(x)
            x = nn.relu(layers.batch_norm(train, f"bn{i + 1}")(x))
        return layers.classify(x, self.num_classes, "fc", return_features=return_features)


ARCHITECTURES = {f"convnet_{width}": functools.partial(ConvNet, width=width) for width in (8, 16, 32, 64)}

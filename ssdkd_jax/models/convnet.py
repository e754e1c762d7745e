"""Small plain networks for small images (8x8 digits, 28x28 clothes)."""

import functools

import flax.linen as nn

from ssdkd_jax.models.layers import Layers


class ConvNet(nn.Module):
    """Convolutions with BatchNorm and ReLU, average pooling and a linear layer.

    Attributes:
      channels: of each convolution.
      strides: of each convolution.

    See `create_model` for the arguments of `__call__`.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    num_classes: int
    layers: Layers

    @nn.compact
    def __call__(self, x, train=False, return_features=False):
        layers = self.layers
        for i, (channels, stride) in enumerate(zip(self.channels, self.strides, strict=True), start=1):
            x = layers.conv(channels, 3, f"conv{i}", stride=stride)(x)
            x = nn.relu(layers.batch_norm(train, f"bn{i}")(x))
        return layers.classify(x, self.num_classes, "fc", return_features=return_features)


def _plain(w):
    return functools.partial(ConvNet, channels=(w, 2 * w, 4 * w), strides=(1, 2, 2))


def _strided(w):
    """Half the resolution from the first layer on: a quarter of the work for as many channels."""
    return functools.partial(ConvNet, channels=(w, 2 * w, 2 * w, 4 * w), strides=(2, 2, 1, 2))


ARCHITECTURES = {
    **{f"convnet_{width}": _plain(width) for width in (8, 16, 32, 64)},
    **{f"strided_convnet_{width}": _strided(width) for width in (16, 32, 64)},
}

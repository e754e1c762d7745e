"""Small plain networks for small images (8x8 digits, 28x28 clothes)."""

import functools

import flax.linen as nn
import jax

from ssdkd_jax.models.architecture import Architecture, Definition
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
    def __call__(self, x: jax.Array, train: bool = False, return_features: bool = False):
        layers = self.layers
        for i, (channels, stride) in enumerate(zip(self.channels, self.strides, strict=True), start=1):
            x = layers.conv(channels, 3, f"conv{i}", stride=stride)(x)
            x = nn.relu(layers.batch_norm(train, f"bn{i}")(x))
        return layers.classify(x, self.num_classes, "fc", return_features=return_features)


_IN_PYTORCH = """

class ConvNet(torch.nn.Module):  # of ssdkd_jax, where it is called {name}
    def __init__(self, widths, strides, classes):
        super().__init__()
        self.depth = len(strides)
        for i, stride in enumerate(strides):
            convolution = torch.nn.Conv2d(widths[i], widths[i + 1], 3, stride, padding=1, bias=False)
            self.add_module(f"conv{{i + 1}}", convolution)
            self.add_module(f"bn{{i + 1}}", torch.nn.BatchNorm2d(widths[i + 1]))
        self.fc = torch.nn.Linear(widths[-1], classes)

    def forward(self, x):
        for i in range(1, self.depth + 1):
            x = getattr(self, f"bn{{i}}")(getattr(self, f"conv{{i}}")(x)).relu()
        return self.fc(x.mean((2, 3)))


model = ConvNet({widths}, {strides}, {classes})
"""


def _architecture(name, channels, strides):
    def definition(num_classes, image_channels, image_size):
        del image_size
        widths = (image_channels, *channels)
        lines = _IN_PYTORCH.format(name=name, widths=widths, strides=strides, classes=num_classes)
        return Definition("", lines, last_map=f"bn{len(strides)}")

    return Architecture(functools.partial(ConvNet, channels=channels, strides=strides), definition)


def _plain(w):
    return _architecture(f"convnet_{w}", (w, 2 * w, 4 * w), (1, 2, 2))


def _strided(w):
    """Half the resolution from the first layer on: a quarter of the work for as many channels."""
    return _architecture(f"strided_convnet_{w}", (w, 2 * w, 2 * w, 4 * w), (2, 2, 1, 2))


ARCHITECTURES = {
    **{f"convnet_{width}": _plain(width) for width in (8, 16, 32, 64)},
    **{f"strided_convnet_{width}": _strided(width) for width in (16, 32, 64)},
}

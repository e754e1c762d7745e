"""Residual networks (He et al., CVPR 2016).

`resnet18` and its like have a stem for small images and are named as in zju-vipa/Fast-Datafree; `resnet18_imagenet` and
its like are torchvision's.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssdkd_jax.models.architecture import DATAFREE, TORCHVISION, Architecture, published
from ssdkd_jax.models.layers import Layers, kaiming_fan_out, max_pool_3x3, torch_default


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions; the last is four times as wide.

    Attributes:
      shortcut: name of the projection where input and output differ in shape.
      init: initializer of the convolutions.
      dilation: of the 3x3 convolution.
    """

    features: int
    stride: int
    layers: Layers
    shortcut: str = "shortcut"
    init: Callable = torch_default
    dilation: int = 1

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        layers = self.layers
        wide = 4 * self.features
        y = nn.relu(layers.batch_norm(train, "bn1")(layers.conv(self.features, 1, "conv1", init=self.init)(x)))
        y = layers.conv(self.features, 3, "conv2", stride=self.stride, dilation=self.dilation, init=self.init)(y)
        y = nn.relu(layers.batch_norm(train, "bn2")(y))
        y = layers.batch_norm(train, "bn3")(layers.conv(wide, 1, "conv3", init=self.init)(y))
        if self.stride != 1 or x.shape[-1] != wide:
            x = projection(x, wide, self.stride, train, layers, self.shortcut, self.init)
        return nn.relu(x + y)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions.

    Attributes:
      shortcut: name of the projection where input and output differ in shape; None pads the input with zero channels.
      init: initializer of the convolutions.
    """

    features: int
    stride: int
    layers: Layers
    shortcut: str | None = "shortcut"
    init: Callable = torch_default

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        layers = self.layers
        y = layers.conv(self.features, 3, "conv1", stride=self.stride, init=self.init)(x)
        y = nn.relu(layers.batch_norm(train, "bn1")(y))
        y = layers.batch_norm(train, "bn2")(layers.conv(self.features, 3, "conv2", init=self.init)(y))
        if self.stride != 1 or x.shape[-1] != self.features:
            if self.shortcut is None:
                x = zero_padded(x, self.features, self.stride)
            else:
                x = projection(x, self.features, self.stride, train, layers, self.shortcut, self.init)
        return nn.relu(x + y)


def projection(
    x: jax.Array, features: int, stride: int, train: bool, layers: Layers, name: str, init: Callable
) -> jax.Array:
    """Shortcut by a strided 1x1 convolution and BatchNorm."""
    x = layers.conv(features, 1, f"{name}.0", stride=stride, init=init)(x)
    return layers.batch_norm(train, f"{name}.1")(x)


def zero_padded(x: jax.Array, features: int, stride: int) -> jax.Array:
    """Shortcut without parameters, "option A": every stride-th pixel, as many zero channels on either side."""
    missing = features - x.shape[-1]
    return jnp.pad(x[:, ::stride, ::stride], [(0, 0), (0, 0), (0, 0), (missing // 2, missing - missing // 2)])


class ResNet(nn.Module):
    """Four stages of 64, 128, 256, 512 channels (four times that with `Bottleneck`).

    Attributes:
      block: `BasicBlock` or `Bottleneck`.
      blocks: how many in each stage.
      imagenet: torchvision's stem, which quarters the resolution, names and initial weights.

    See `create_model` for the arguments of `__call__`.
    """

    block: Callable
    blocks: tuple[int, ...]
    num_classes: int
    layers: Layers
    imagenet: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False, return_features: bool = False):
        layers = self.layers
        init = kaiming_fan_out if self.imagenet else torch_default
        block = functools.partial(self.block, shortcut="downsample" if self.imagenet else "shortcut", init=init)
        size, stride = (7, 2) if self.imagenet else (3, 1)
        x = layers.conv(64, size, "conv1", stride=stride, init=init)(x)
        x = nn.relu(layers.batch_norm(train, "bn1")(x))
        if self.imagenet:
            x = max_pool_3x3(x)
        for stage, blocks in enumerate(self.blocks):
            for i in range(blocks):
                stride = 2 if stage > 0 and i == 0 else 1
                x = block(64 * 2**stage, stride, layers, name=f"layer{stage + 1}.{i}")(x, train)
        classifier = "fc" if self.imagenet else "linear"
        return layers.classify(x, self.num_classes, classifier, return_features=return_features)


BLOCKS = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
}


def _for_small_images(name, block, blocks):
    definition = published(
        DATAFREE, "datafree.models.classifiers.resnet", f"{name}(num_classes={{classes}})", last_map="layer4"
    )
    return Architecture(functools.partial(ResNet, block=block, blocks=blocks), definition)


def _for_imagenet(name, block, blocks):
    definition = published(TORCHVISION, "torchvision.models", f"{name}(num_classes={{classes}})", last_map="layer4")
    make = functools.partial(ResNet, block=block, blocks=blocks, imagenet=True)
    return Architecture(make, definition, normalization="imagenet")


ARCHITECTURES = {
    **{name: _for_small_images(name, *shape) for name, shape in BLOCKS.items()},
    **{f"{name}_imagenet": _for_imagenet(name, *shape) for name, shape in BLOCKS.items()},
}

"""MobileNetV2 (Sandler et al., CVPR 2018), named as in torchvision; zju-vipa/Fast-Datafree has the same for CIFAR."""

import flax.linen as nn
import jax

from ssdkd_jax.models.architecture import DATAFREE, TORCHVISION, Architecture, published
from ssdkd_jax.models.layers import Layers, normal_0_01


class InvertedResidual(nn.Module):
    """1x1 convolution to `expansion` times the channels, 3x3 convolution of each channel, 1x1 to `features`."""

    features: int
    stride: int
    expansion: int
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        layers = self.layers
        wide = self.expansion * x.shape[-1]
        y = x
        # The public Sequential has no entry for an expansion that does not expand.
        entry = 0 if self.expansion == 1 else 1
        if self.expansion != 1:
            y = activated_convolution(y, wide, 1, "conv.0", train, layers)
        y = activated_convolution(y, wide, 3, f"conv.{entry}", train, layers, stride=self.stride, groups=wide)
        y = layers.conv(self.features, 1, f"conv.{entry + 1}")(y)
        y = layers.batch_norm(train, f"conv.{entry + 2}")(y)
        return x + y if self.stride == 1 and x.shape[-1] == self.features else y


def activated_convolution(
    x: jax.Array,
    features: int,
    size: int,
    name: str,
    train: bool,
    layers: Layers,
    **kwargs,
) -> jax.Array:
    """Convolution, BatchNorm and ReLU6, entries 0 to 2 of the PyTorch Sequential called `name`.

    `kwargs` are those of `Layers.conv`.
    """
    x = layers.conv(features, size, f"{name}.0", **kwargs)(x)
    return nn.relu6(layers.batch_norm(train, f"{name}.1")(x))


# (expansion, channels, blocks, stride of the first block) of each stage.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class MobileNetV2(nn.Module):
    """Stem, 17 inverted residuals and a 1x1 convolution, which leave a thirty-second of the resolution.

    The public code drops a fifth of the classifier's inputs in training mode; here all stay, our reading: no other
    network needs random numbers.

    See `create_model` for the arguments of `__call__`.
    """

    num_classes: int
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False, return_features: bool = False):
        layers = self.layers
        x = activated_convolution(x, 32, 3, "features.0", train, layers, stride=2)
        entry = 1
        for expansion, features, blocks, first_stride in STAGES:
            for i in range(blocks):
                stride = first_stride if i == 0 else 1
                x = InvertedResidual(features, stride, expansion, layers, name=f"features.{entry}")(x, train)
                entry += 1
        x = activated_convolution(x, 1280, 1, f"features.{entry}", train, layers)
        return layers.classify(x, self.num_classes, "classifier.1", return_features=return_features, init=normal_0_01)


def _definition(source, module):
    return published(
        source, module, "mobilenet_v2(num_classes={classes})", first_layer="features[0][0]", last_map="features.18"
    )


# One network under both public names.
ARCHITECTURES = {
    "mobilenetv2": Architecture(MobileNetV2, _definition(DATAFREE, "datafree.models.classifiers.mobilenetv2")),
    "mobilenetv2_imagenet": Architecture(
        MobileNetV2, _definition(TORCHVISION, "torchvision.models"), normalization="imagenet"
    ),
}

"""DeepLabV3 (Chen et al., arXiv 1706.05587), named as in VainF/DeepLabV3Plus-Pytorch, which zju-vipa's code contains.

A backbone keeps an eighth or a sixteenth of the resolution by dilating its last stages instead of striding them; atrous
spatial pyramid pooling (ASPP) looks at its last map at several distances, and logits are stretched to the images' size.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssdkd_jax.models.architecture import Architecture, published
from ssdkd_jax.models.layers import (
    Layers,
    kaiming_fan_in,
    kaiming_fan_out,
    max_pool_3x3,
    resize_bilinear,
    torch_default_bias,
)
from ssdkd_jax.models.mobilenet import STAGES, activated_convolution
from ssdkd_jax.models.resnet import Bottleneck

SOURCE = "https://github.com/VainF/DeepLabV3Plus-Pytorch, whose folder network is on the path"
# Distances of the three dilated convolutions of the pyramid, by output stride.
RATES = {8: (12, 24, 36), 16: (6, 12, 18)}
WIDTH = 256


def dilated_stages(strides: tuple[int, ...], stride: int, output_stride: int) -> list[tuple[int, int, int]]:
    """Turns strides beyond the output stride into dilation, stage by stage.

    Args:
      strides: of the first block of each stage.
      stride: of what comes before the first stage.
      output_stride: the largest that stays.

    Returns:
      [(stride of the first block, dilation of the first block, dilation of the others)].
    """
    stages, dilation = [], 1
    for wanted in strides:
        before = dilation
        if stride == output_stride:
            dilation, taken = dilation * wanted, 1
        else:
            stride, taken = stride * wanted, wanted
        stages.append((taken, before, dilation))
    return stages


class ResNet50(nn.Module):
    """torchvision's ResNet-50 without its classifier."""

    output_stride: int
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        layers = self.layers
        x = nn.relu(layers.batch_norm(train, "bn1")(layers.conv(64, 7, "conv1", stride=2)(x)))
        x = max_pool_3x3(x)
        block = functools.partial(Bottleneck, shortcut="downsample", init=kaiming_fan_out)
        stages = dilated_stages((1, 2, 2, 2), 4, self.output_stride)
        for number, (blocks, (stride, first, rest)) in enumerate(zip((3, 4, 6, 3), stages, strict=True), start=1):
            for i in range(blocks):
                taken, dilation = (stride, first) if i == 0 else (1, rest)
                features, name = 32 * 2**number, f"layer{number}.{i}"
                x = block(features, taken, layers, dilation=dilation, name=name)(x, train)
        return x


class InvertedResidual(nn.Module):
    """MobileNetV2's block with its zeros around the *input*, so that borders see the expansion's biases.

    That is what the public code of DeepLabV3 has; its stem has no zeros at all.
    """

    features: int
    stride: int
    dilation: int
    expansion: int
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        layers, pad = self.layers, self.dilation
        wide = self.expansion * x.shape[-1]
        y = jnp.pad(x, [(0, 0), (pad, pad), (pad, pad), (0, 0)])
        entry = 0 if self.expansion == 1 else 1
        if self.expansion != 1:
            y = activated_convolution(y, wide, 1, "conv.0", train, layers)
        y = activated_convolution(
            y, wide, 3, f"conv.{entry}", train, layers, stride=self.stride, groups=wide, padding=0, dilation=pad
        )
        y = layers.conv(self.features, 1, f"conv.{entry + 1}")(y)
        y = layers.batch_norm(train, f"conv.{entry + 2}")(y)
        return x + y if self.stride == 1 and x.shape[-1] == self.features else y


class MobileNetV2(nn.Module):
    """MobileNetV2 without its last convolution and classifier."""

    output_stride: int
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        layers = self.layers
        x = activated_convolution(x, 32, 3, "low_level_features.0", train, layers, stride=2, padding=0)
        stages, entry = dilated_stages(tuple(stage[3] for stage in STAGES), 2, self.output_stride), 1
        for (expansion, features, blocks, _), (stride, first, rest) in zip(STAGES, stages, strict=True):
            for i in range(blocks):
                taken, dilation = (stride, first) if i == 0 else (1, rest)
                name = f"{'low' if entry < 4 else 'high'}_level_features.{entry}"
                x = InvertedResidual(features, taken, dilation, expansion, layers, name=name)(x, train)
                entry += 1
        return x


class Pyramid(nn.Module):
    """ASPP: a 1x1 convolution, three dilated ones and the map's mean, concatenated and projected.

    The public code drops a tenth of the result in training mode; here all stays, our reading, as for MobileNetV2.
    """

    rates: tuple[int, ...]
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        def activated(x, size, name, first=0, dilation=1):
            x = self.layers.conv(WIDTH, size, f"{name}.{first}", dilation=dilation, init=kaiming_fan_in)(x)
            return nn.relu(self.layers.batch_norm(train, f"{name}.{first + 1}")(x))

        looks = [activated(x, 1, "convs.0")]
        looks += [activated(x, 3, f"convs.{i}", dilation=rate) for i, rate in enumerate(self.rates, start=1)]
        mean = activated(jnp.mean(x, axis=(1, 2), keepdims=True), 1, "convs.4", first=1)
        looks.append(jnp.broadcast_to(mean, looks[0].shape))
        return activated(jnp.concatenate(looks, axis=-1), 1, "project")


class DeepLabV3(nn.Module):
    """A backbone, the pyramid, one more convolution and a classifier of each pixel.

    See `create_model` for the arguments of `__call__`.

    Attributes:
      backbone: `ResNet50` or `MobileNetV2`.
      output_stride: 8 or 16, how much coarser the backbone's last map is than the images.
    """

    backbone: Callable[..., nn.Module]
    output_stride: int
    num_classes: int
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False, return_features: bool = False):
        layers, size, head = self.layers, x.shape[1:3], "classifier.classifier"
        x = self.backbone(self.output_stride, layers, name="backbone")(x, train)
        x = Pyramid(RATES[self.output_stride], layers, name=f"{head}.0")(x, train)
        x = layers.conv(WIDTH, 3, f"{head}.1", init=kaiming_fan_in)(x)
        x = nn.relu(layers.batch_norm(train, f"{head}.2")(x)).astype(jnp.float32)
        last = layers.conv(
            self.num_classes,
            1,
            f"{head}.4",
            use_bias=True,
            init=kaiming_fan_in,
            bias_init=torch_default_bias(WIDTH),
            dtype=jnp.float32,
        )
        logits = resize_bilinear(last(x), size)
        return (logits, x) if return_features else logits


def _architecture(backbone, constructor, output_stride, first_layer):
    lines = f"{constructor}(num_classes={{classes}}, output_stride={output_stride}, pretrained_backbone=False)"
    definition = published(SOURCE, "network.modeling", lines, first_layer=first_layer)
    make = functools.partial(DeepLabV3, backbone=backbone, output_stride=output_stride)
    return Architecture(make, definition, task="segmentation")


# The public code's default is an output stride of 8; the tensors do not tell which.
ARCHITECTURES = {
    f"{constructor}{suffix}": _architecture(backbone, constructor, output_stride, first_layer)
    for backbone, constructor, first_layer in (
        (ResNet50, "deeplabv3_resnet50", "backbone.conv1"),
        (MobileNetV2, "deeplabv3_mobilenet", "backbone.low_level_features[0][0]"),
    )
    for output_stride, suffix in ((8, ""), (16, "_os16"))
}

"""The narrow three-stage residual networks for CIFAR (He et al., CVPR 2016, section 4.2).

`resnet20` and its like project shortcuts by convolutions and are named as in zju-vipa/CMI; `resnet20_option_a` and its
like pad shortcuts with zeros and are named as in akamaster/pytorch_resnet_cifar10.
"""

import functools

import flax.linen as nn
import jax

from ssdkd_jax.models.architecture import AKAMASTER, DATAFREE, REPDISTILLER, Architecture, published
from ssdkd_jax.models.layers import Layers, kaiming_fan_in, kaiming_fan_out
from ssdkd_jax.models.resnet import BasicBlock


class TinyResNet(nn.Module):
    """`depth` = 6 * blocks per stage + 2.

    Attributes:
      features: channels of the stem and of the three stages.
      option_a: zero-padded shortcuts and akamaster's names and initial weights.

    See `create_model` for the arguments of `__call__`.
    """

    depth: int
    num_classes: int
    layers: Layers
    features: tuple[int, ...] = (16, 16, 32, 64)
    option_a: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False, return_features: bool = False):
        layers = self.layers
        init = kaiming_fan_in if self.option_a else kaiming_fan_out
        block = functools.partial(BasicBlock, shortcut=None if self.option_a else "downsample", init=init)
        x = layers.conv(self.features[0], 3, "conv1", init=init)(x)
        x = nn.relu(layers.batch_norm(train, "bn1")(x))
        for stage, features in enumerate(self.features[1:]):
            for i in range((self.depth - 2) // 6):
                stride = 2 if stage > 0 and i == 0 else 1
                x = block(features, stride, layers, name=f"layer{stage + 1}.{i}")(x, train)
        classifier = "linear" if self.option_a else "fc"
        return layers.classify(x, self.num_classes, classifier, return_features=return_features)


WIDE = (32, 64, 128, 256)

_ANY_SIZE = "model.avgpool = torch.nn.AdaptiveAvgPool2d(1)  # the definition pools 8x8 maps\n"


def _projected(name, **fields):
    # CMI's code has no functions for two of the depths.
    source, module = (DATAFREE, "datafree.models.classifiers.resnet_tiny")
    if name in ("resnet14", "resnet44"):
        source, module = (REPDISTILLER, "models.resnet")
    definition = published(source, module, f"{name}(num_classes={{classes}})", other_sizes=_ANY_SIZE, last_map="layer3")
    return Architecture(functools.partial(TinyResNet, **fields), definition)


def _option_a(depth):
    constructor = f"ResNet(BasicBlock, [{(depth - 2) // 6}] * 3, num_classes={{classes}})"
    definition = published(AKAMASTER, "resnet", constructor, imports="ResNet, BasicBlock", last_map="layer3")
    make = functools.partial(TinyResNet, depth=depth, option_a=True)
    # His checkpoints are for CIFAR-10, trained with ImageNet's normalization.
    return Architecture(make, definition, normalization="imagenet")


ARCHITECTURES = {
    **{f"resnet{depth}": _projected(f"resnet{depth}", depth=depth) for depth in (8, 14, 20, 32, 44, 56, 110)},
    **{f"resnet{depth}x4": _projected(f"resnet{depth}x4", depth=depth, features=WIDE) for depth in (8, 32)},
    **{f"resnet{depth}_option_a": _option_a(depth) for depth in (20, 32, 44, 56, 110)},
}

"""The narrow three-stage residual networks for CIFAR (He et al., CVPR 2016, section 4.2).

`resnet20` and its like project shortcuts by convolutions and are named as in zju-vipa/CMI; `resnet20_option_a` and its
like pad shortcuts with zeros and are named as in akamaster/pytorch_resnet_cifar10.
"""

import functools

import flax.linen as nn

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
    def __call__(self, x, train=False, return_features=False):
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

ARCHITECTURES = {
    **{f"resnet{depth}": functools.partial(TinyResNet, depth=depth) for depth in (8, 14, 20, 32, 44, 56, 110)},
    **{f"resnet{depth}x4": functools.partial(TinyResNet, depth=depth, features=WIDE) for depth in (8, 32)},
    **{
        f"resnet{depth}_option_a": functools.partial(TinyResNet, depth=depth, option_a=True)
        for depth in (20, 32, 44, 56, 110)
    },
}

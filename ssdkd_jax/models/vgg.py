"""VGG with BatchNorm (Simonyan & Zisserman, ICLR 2015), named as in zju-vipa/Fast-Datafree and RepDistiller."""

import functools

import flax.linen as nn
import jax

from ssdkd_jax.errors import UserError
from ssdkd_jax.models.architecture import DATAFREE, Architecture, published
from ssdkd_jax.models.layers import Layers, max_pool_2x2, normal_0_01


class VGG(nn.Module):
    """Five blocks of convolutions, max pooling between them, one linear classifier.

    Attributes:
      features: channels of every convolution of every block.

    See `create_model` for the arguments of `__call__`.
    """

    features: tuple[tuple[int, ...], ...]
    num_classes: int
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False, return_features: bool = False):
        layers = self.layers
        height, width = x.shape[1:3]
        if min(height, width) < 8:
            raise UserError(f"vgg takes images from 8x8 pixels on, these are {height}x{width}; take another network")
        # As in the public code, which has a fourth pooling for images of just this height.
        poolings = 4 if x.shape[1] == 64 else 3
        for block, channels in enumerate(self.features):
            for i, features in enumerate(channels):
                # conv, BatchNorm and ReLU are three entries of one PyTorch Sequential.
                x = layers.conv(features, 3, f"block{block}.{3 * i}", use_bias=True)(x)
                x = nn.relu(layers.batch_norm(train, f"block{block}.{3 * i + 1}")(x))
            if block < poolings:
                x = max_pool_2x2(x)
        return layers.classify(x, self.num_classes, "classifier", return_features=return_features, init=normal_0_01)


# Convolutions of each block.
BLOCKS = {
    "vgg8": (1, 1, 1, 1, 1),
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}


def _architecture(name, blocks):
    widths = (64, 128, 256, 512, 512)
    features = tuple((width,) * count for width, count in zip(widths, blocks, strict=True))
    constructor = f"{name}_bn(num_classes={{classes}})"
    definition = published(
        DATAFREE, "datafree.models.classifiers.vgg", constructor, first_layer="block0[0]", last_map="block4"
    )
    return Architecture(functools.partial(VGG, features=features), definition)


ARCHITECTURES = {name: _architecture(name, blocks) for name, blocks in BLOCKS.items()}

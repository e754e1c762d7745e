"""VGG with BatchNorm (Simonyan & Zisserman, ICLR 2015), named as in zju-vipa/Fast-Datafree."""

import functools

import flax.linen as nn

from ssdkd_jax.models.layers import Layers, max_pool_2x2


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
    def __call__(self, x, train=False, return_features=False):
        layers = self.layers
        # The public code leaves out the fourth pooling for 32x32 images and has it for 64x64.
        poolings = 4 if min(x.shape[1:3]) >= 64 else 3
        for block, widths in enumerate(self.features):
            for i, width in enumerate(widths):
                # conv, BatchNorm and ReLU are three entries of one PyTorch Sequential.
                x = layers.conv(width, 3, f"block{block}.{3 * i}", use_bias=True)(x)
                x = nn.relu(layers.batch_norm(train, f"block{block}.{3 * i + 1}")(x))
            if block < poolings:
                x = max_pool_2x2(x)
        return layers.classify(x, self.num_classes, "classifier", return_features=return_features)


ARCHITECTURES = {
    "vgg11": functools.partial(VGG, features=((64,), (128,), (256, 256), (512, 512), (512, 512))),
}

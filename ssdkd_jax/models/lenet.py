"""LeNet-5 (LeCun et al., 1998) with ReLU and max pooling, named as in DAFL (huawei-noah) and the code built on it.

All layers start with PyTorch's default weights.  There is no BatchNorm.
"""

import flax.linen as nn
import jax

from ssdkd_jax.errors import UserError
from ssdkd_jax.models.architecture import DATAFREE, Architecture, published
from ssdkd_jax.models.layers import Layers, max_pool_2x2, torch_default, torch_default_bias


class LeNet5(nn.Module):
    """Three convolutions of 5x5 pixels without padding, which leave one pixel of 32x32, and two linear layers.

    See `create_model` for the arguments of `__call__`; `train` changes nothing.
    """

    num_classes: int
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False, return_features: bool = False):
        height, width = x.shape[1:3]
        if (height, width) != (32, 32):
            raise UserError(
                f"lenet5 takes images of 32x32 pixels, these are {height}x{width}; "
                "resize them with --config.image_size=32, or take another network"
            )
        x = max_pool_2x2(self._convolution(x, 6, "features.0"))
        x = max_pool_2x2(self._convolution(x, 16, "features.3"))
        x = self._convolution(x, 120, "features.6")
        x = nn.relu(self.layers.linear(x, 84, "fc.0"))
        return self.layers.classify(x, self.num_classes, "fc.2", return_features=return_features)

    def _convolution(self, x, features, name):
        bias_init = torch_default_bias(25 * x.shape[-1])
        convolution = self.layers.conv(
            features, 5, name, padding=0, use_bias=True, init=torch_default, bias_init=bias_init
        )
        return nn.relu(convolution(x))


_DEFINITION = published(
    DATAFREE,
    "datafree.models.classifiers.lenet",
    "LeNet5(num_classes={classes})",
    first_layer="features[0]",
    channels=1,
)
ARCHITECTURES = {"lenet5": Architecture(LeNet5, _DEFINITION)}

"""Networks by name."""

import difflib

import jax.numpy as jnp

from ssdkd_jax.errors import UserError
from ssdkd_jax.models import convnet, lenet, mobilenet, resnet, resnet_tiny, shufflenet, vgg, wide_resnet
from ssdkd_jax.models.layers import Layers

# name -> constructor that still wants num_classes and layers.
ARCHITECTURES = {
    **wide_resnet.ARCHITECTURES,
    **resnet.ARCHITECTURES,
    **resnet_tiny.ARCHITECTURES,
    **vgg.ARCHITECTURES,
    **mobilenet.ARCHITECTURES,
    **shufflenet.ARCHITECTURES,
    **lenet.ARCHITECTURES,
    **convnet.ARCHITECTURES,
}


def model_names():
    """Names that `create_model` knows, family by family."""
    return list(ARCHITECTURES)


def create_model(
    name, num_classes=10, *, dtype=jnp.float32, param_dtype=jnp.float32, bn_axis_name=None, conv_general_dilated=None
):
    """Makes an image classifier, any channel count and image size (vgg: from 8x8 on; lenet5: 32x32).

    The module is called as `model.apply(variables, x, train=False, return_features=False)`; x is (n, h, w, c) and
    normalized.  It returns logits (n, num_classes), or (logits, features) with the classifier's input (n, f); float32.
    With `train=True` BatchNorm uses the batch's statistics and updates `batch_stats`, which must be mutable.

    Args:
      name: one of `model_names()`.
      num_classes: of the classifier.
      dtype: of computation; logits are float32 whatever it is.
      param_dtype: of parameters.
      bn_axis_name: pmapped axis over which BatchNorm averages the batch's statistics when `train=True`.
      conv_general_dilated: for every convolution, e.g. `loop_friendly_conv_general_dilated`; None is XLA's own.

    Returns:
      a Linen module.

    Raises:
      UserError: no network of this name.
    """
    if name not in ARCHITECTURES:
        raise UserError(_unknown(name))
    layers = Layers(dtype, param_dtype, bn_axis_name, conv_general_dilated)
    return ARCHITECTURES[name](num_classes=num_classes, layers=layers)


def _unknown(name):
    closest = difflib.get_close_matches(str(name), ARCHITECTURES, n=1)
    suggestion = f"did you mean {closest[0]!r}? " if closest else ""
    return f"unknown model {name!r}; {suggestion}known are: {', '.join(ARCHITECTURES)}"

"""Networks by name."""

import functools
from collections.abc import Callable, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from ssdkd_jax.errors import UserError, did_you_mean
from ssdkd_jax.models import (
    convnet,
    deeplab,
    encoder_decoder,
    lenet,
    mobilenet,
    resnet,
    resnet_tiny,
    shufflenet,
    simkd,
    vgg,
    wide_resnet,
)
from ssdkd_jax.models.architecture import Architecture, Definition
from ssdkd_jax.models.arguments import check_counts, check_dtypes
from ssdkd_jax.models.layers import Layers
from ssdkd_jax.models.user_network import make_user_network
from ssdkd_jax.user_code import is_user_code

FAMILIES = (wide_resnet, resnet, resnet_tiny, vgg, mobilenet, shufflenet, lenet, convnet, deeplab, encoder_decoder)
ARCHITECTURES: dict[str, Architecture] = {
    name: architecture for family in FAMILIES for name, architecture in family.ARCHITECTURES.items()
}


def model_names(task: str = "") -> list[str]:
    """Lists the names that `create_model` knows, family by family; of one task, where one is given."""
    return [name for name, architecture in ARCHITECTURES.items() if task in ("", architecture.task)]


def task_of(name: str) -> str:
    """ "classification" or "segmentation"; "" for a user's own network, which can be either."""
    return ARCHITECTURES[name].task if name in ARCHITECTURES else ""


def create_model(
    name: str,
    num_classes: int = 10,
    *,
    dtype: DTypeLike = jnp.float32,
    param_dtype: DTypeLike = jnp.float32,
    bn_axis_name: str | None = None,
    conv_general_dilated: Callable | None = None,
) -> nn.Module:
    """Makes a network, any channel count and image size (vgg: from 8x8 on; lenet5: 32x32).

    The module is called as `model.apply(variables, x, train=False, return_features=False)`; x is (n, h, w, c) and
    normalized.  It returns logits (n, num_classes), or (logits, features) with the classifier's input (n, f); float32.
    `return_features="map"` returns the last feature map (n, h, w, f) alone, which the classifier averages.  A network
    for segmentation returns logits (n, h, w, num_classes), and features of its last map (n, h', w', f).  With
    `train=True` BatchNorm uses the batch's statistics and updates `batch_stats`, which must be mutable.

    A user's own network is named as `path/to/file.py:make`.  `make` is called with `num_classes` and with those of the
    other arguments that its signature has, and returns a Linen module.  That module need not know `return_features`.

    STUDENT_simkd_TEACHER is a network of two names that `model_names()` has, see `simkd.SimKD`.

    Args:
      name: one of `model_names()`, two of them joined by `_simkd_`, or `path/to/file.py:make`.
      num_classes: of the logits.
      dtype: of computation; logits are float32 whatever it is.
      param_dtype: of parameters.
      bn_axis_name: pmapped axis over which BatchNorm averages the batch's statistics when `train=True`.
      conv_general_dilated: for every convolution, e.g. `loop_friendly_conv_general_dilated`; None is XLA's own.

    Returns:
      a Linen module.

    Raises:
      UserError: no network of this name, no number of classes, no floating dtype, or a mistake in the user's file.
    """
    if not isinstance(name, str):
        raise UserError(_unknown(name))
    check_counts(num_classes=num_classes)
    check_dtypes(dtype=dtype, param_dtype=param_dtype)
    if is_user_code(name):
        return make_user_network(
            name,
            num_classes,
            dtype=dtype,
            param_dtype=param_dtype,
            bn_axis_name=bn_axis_name,
            conv_general_dilated=conv_general_dilated,
        )
    layers = Layers(dtype, param_dtype, bn_axis_name, conv_general_dilated)
    if simkd.JOINT in name:
        student, teacher = (_registered(part).make for part in name.split(simkd.JOINT, 1))
        teacher_map = functools.partial(simkd.map_shape, teacher(num_classes=num_classes, layers=Layers()))
        return simkd.SimKD(student(num_classes=num_classes, layers=layers), teacher_map, num_classes, layers)
    return _registered(name).make(num_classes=num_classes, layers=layers)


def public_definition(
    name: str, num_classes: int, channels: int, image_size: tuple[int, int] = (32, 32)
) -> Definition | None:
    """Looks up the PyTorch definition of a network.

    Args:
      name: as for `create_model`.
      num_classes: of the classifier.
      channels: of the images.
      image_size: (height, width).

    Returns:
      the Definition; None for a user's own network.
    """
    if simkd.JOINT in name and not is_user_code(name):
        return _simkd_definition(name, num_classes, (*image_size, channels))
    architecture = ARCHITECTURES.get(name)
    if architecture is None or architecture.definition is None:
        return None
    return architecture.definition(num_classes, channels, tuple(image_size))


def variable_shapes(name: str, num_classes: int, image_shape: tuple[int, int, int]) -> dict:
    """Shapes of a network's variables, which are not computed.

    Args:
      name, num_classes: as for `create_model`.
      image_shape: (h, w, c).

    Returns:
      {"params": ..., "batch_stats": ...} of `jax.ShapeDtypeStruct`; the latter only with BatchNorm.
    """
    images = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    return jax.eval_shape(create_model(name, num_classes).init, jax.random.key(0), images)


def count_parameters(variables: Mapping) -> int:
    """Number of a network's parameters, of its variables or their shapes."""
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def public_normalization(name: str) -> str:
    """Names the normalization that a network's public checkpoints expect whatever their data set is, or ""."""
    return ARCHITECTURES[name].normalization if name in ARCHITECTURES else ""


def _simkd_definition(name, num_classes, image_shape):
    parts = name.split(simkd.JOINT, 1)
    student = public_definition(parts[0], num_classes, image_shape[-1], image_shape[:2])
    if not student.last_map:
        return None
    models = [create_model(part, num_classes) for part in parts]
    classifier = simkd.classifier_path(models[0], image_shape)
    maps = (simkd.map_shape(model, image_shape) for model in models)
    return simkd.in_pytorch(name, student, classifier, *maps, num_classes)


def _registered(name):
    if name not in ARCHITECTURES:
        raise UserError(_unknown(name))
    return ARCHITECTURES[name]


def _unknown(name):
    own = "; your own network is named as path/to/file.py:make" if str(name).endswith(".py") else ""
    return f"unknown model {name!r}; {did_you_mean(name, ARCHITECTURES)}known are: {', '.join(ARCHITECTURES)}{own}"

"""PyTorch weights of the zoo's networks, in both directions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from ssdkd_jax.errors import UserError
from ssdkd_jax.interop import naming
from ssdkd_jax.models import create_model, model_names

# No network's variables depend on the image size.
ANY_IMAGES = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)


def from_torch_state_dict(arch, state_dict):
    """Weights from PyTorch; class and image channel counts are read off the tensors.

    Args:
      arch: one of `ssdkd_jax.models.model_names()`.
      state_dict: {public PyTorch name: NumPy array or torch tensor of any floating dtype}.

    Returns:
      {"params": ..., "batch_stats": ...} of float32 arrays; the latter is empty without BatchNorm.

    Raises:
      UserError: unknown architecture, tensors that are missing, unexpected or of another shape, numbers not finite.
    """
    shapes = _shapes(state_dict)
    try:
        return naming.from_torch(state_dict, _fitting_template(arch, shapes), arch)
    except naming.LayoutError as error:
        others = [name for name in infer_architecture(state_dict) if name != arch]
        if not others:
            raise
        raise naming.LayoutError(f"{error}; it has the tensors of a {' or '.join(others)}") from error


def to_torch_state_dict(arch, variables):
    """Weights for PyTorch, which `load_state_dict` takes once each array went through `torch.from_numpy`.

    Args:
      arch: one of `ssdkd_jax.models.model_names()`.
      variables: {"params": ..., "batch_stats": ...} of that network.

    Returns:
      {public PyTorch name: float32 NumPy array} in the public order, with int64 zeros for `num_batches_tracked`.

    Raises:
      UserError: unknown architecture, or variables that are missing, unexpected or of another shape.
    """
    return naming.to_torch(variables, _fitting_template(arch, _torch_shapes(variables)), arch)


def infer_architecture(state_dict):
    """Names of the networks whose tensors have exactly these names and shapes; empty if there is none."""
    shapes = {name: shape for name, shape in _shapes(state_dict).items() if not name.endswith(naming.COUNTER)}
    named_alike = [arch for arch in model_names() if _has_names(arch, shapes.keys())]
    return [arch for arch in named_alike if naming.torch_layout(_fitting_template(arch, shapes)) == shapes]


def _shapes(state_dict):
    """{name: shape}; every tensor must be one, with something in it."""
    for name, value in state_dict.items():
        if not hasattr(value, "shape") or 0 in tuple(value.shape):
            raise UserError(f"tensor {name!r} is {_kind(value)}, expected an array or tensor with numbers in it")
    return {name: tuple(value.shape) for name, value in state_dict.items()}


def _kind(value):
    return f"of shape {tuple(value.shape)}" if hasattr(value, "shape") else f"a {type(value).__name__}"


def classes_and_channels(arch, variables):
    """(classes, image channels) of a network with these variables."""
    layout = naming.torch_layout(_fitting_template(arch, _torch_shapes(variables)))
    first, classifier = _first_and_classifier(layout)
    return layout[classifier][0], layout[first][1]


def _torch_shapes(variables):
    flat = traverse_util.flatten_dict(dict(variables))
    return {naming.torch_name(path): naming.torch_shape(path, np.shape(value)) for path, value in flat.items()}


def _fitting_template(arch, shapes):
    """The network's template with the classes and image channels of {PyTorch name: shape}, where it has them."""
    first, classifier = _first_and_classifier(naming.torch_layout(_any_template(arch)))
    num_classes = shapes[classifier][0] if len(shapes.get(classifier, ())) == 2 else 10
    channels = shapes[first][1] if len(shapes.get(first, ())) == 4 else 3
    return _template(arch, num_classes=num_classes, channels=channels)


def _has_names(arch, names):
    try:
        return naming.torch_layout(naming.template(create_model(arch), ANY_IMAGES, within=names)).keys() == names
    except naming.UnknownModule:
        return False


def _first_and_classifier(layout):
    return next(iter(layout)), [name for name in layout if name.endswith(".weight")][-1]


def _any_template(arch):
    return _template(arch, num_classes=10, channels=3)


@functools.cache
def _template(arch, *, num_classes, channels):
    return naming.template(create_model(arch, num_classes), ANY_IMAGES.update(shape=(1, 32, 32, channels)))

"""PyTorch weights of the zoo's networks, in both directions."""

import functools

import jax
import jax.numpy as jnp
from flax import traverse_util

from ssdkd_jax.interop import naming
from ssdkd_jax.models import create_model, model_names


def from_torch_state_dict(arch, state_dict):
    """Weights from PyTorch; class and image channel counts are read off the tensors.

    Args:
      arch: one of `ssdkd_jax.models.model_names()`.
      state_dict: {public PyTorch name: NumPy array or torch tensor of any floating dtype}.

    Returns:
      {"params": ..., "batch_stats": ...} of float32 arrays; the latter is empty without BatchNorm.

    Raises:
      UserError: unknown architecture, or the first tensor that is missing, unexpected or of another shape.
    """
    shapes = {name: tuple(value.shape) for name, value in state_dict.items()}
    return naming.from_torch(state_dict, _fitting_template(arch, shapes), arch)


def to_torch_state_dict(arch, variables):
    """Weights for PyTorch, which `load_state_dict` takes once each array went through `torch.from_numpy`.

    Args:
      arch: one of `ssdkd_jax.models.model_names()`.
      variables: {"params": ..., "batch_stats": ...} of that network.

    Returns:
      {public PyTorch name: float32 NumPy array} in the public order, with int64 zeros for `num_batches_tracked`.

    Raises:
      UserError: unknown architecture, or the first variable that is missing, unexpected or of another shape.
    """
    flat = traverse_util.flatten_dict(dict(variables))
    shapes = {naming.torch_name(path): naming.torch_shape(path, value.shape) for path, value in flat.items()}
    return naming.to_torch(variables, _fitting_template(arch, shapes), arch)


def infer_architecture(state_dict):
    """Names of the networks whose tensors have exactly these names and shapes; empty if there is none.

    A network with several names has the first of them.
    """
    shapes = {name: tuple(value.shape) for name, value in state_dict.items() if not name.endswith(naming.COUNTER)}
    fitting = [arch for arch in model_names() if naming.torch_layout(_fitting_template(arch, shapes)) == shapes]
    networks = {}
    for arch in fitting:
        networks.setdefault(create_model(arch), arch)
    return list(networks.values())


def _fitting_template(arch, shapes):
    """The network's template with the classes and image channels of {PyTorch name: shape}, where it has them."""
    layout = naming.torch_layout(_template(arch, num_classes=10, channels=3))
    first = next(iter(layout))
    classifier = [name for name in layout if name.endswith(".weight")][-1]
    num_classes = shapes[classifier][0] if len(shapes.get(classifier, ())) == 2 else 10
    channels = shapes[first][1] if len(shapes.get(first, ())) == 4 else 3
    return _template(arch, num_classes=num_classes, channels=channels)


@functools.cache
def _template(arch, *, num_classes, channels):
    # No network's variables depend on the image size.
    return naming.template(create_model(arch, num_classes), jax.ShapeDtypeStruct((1, 32, 32, channels), jnp.float32))

"""PyTorch weights of the networks that `create_model` makes, in both directions."""

import functools
import itertools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from ssdkd_jax.errors import UserError
from ssdkd_jax.interop import naming
from ssdkd_jax.models import create_model, model_names
from ssdkd_jax.user_code import absolute, is_user_code, reported_errors

ImageShape = tuple[int, int, int | None] | None
# The variables of none of `model_names()` depend on the image size.
ANY_SHAPE = (32, 32, 3)
# What a state_dict may lack of a network and still be told to be one: modules, and a share of all tensors.
LACKING_MODULES, LACKING_SHARE = 2, 0.25


def from_torch_state_dict(arch: str, state_dict: Mapping, image_shape: ImageShape = None) -> dict:
    """Reads weights from PyTorch; class and image channel counts are read off the tensors.

    Args:
      arch: one of `ssdkd_jax.models.model_names()`, or a user's own `path/to/file.py:make`.
      state_dict: {public PyTorch name: NumPy array or torch tensor of any floating dtype}; what all names begin with,
        such as `model.`, is dropped where none is the network's otherwise.
      image_shape: (h, w, c), for a user's own network whose variables depend on it; others ignore it.  A `c` of None
        is read off the first convolution.

    Returns:
      {"params": ..., "batch_stats": ...} of float32 arrays; the latter is empty without BatchNorm.

    Raises:
      UserError: unknown architecture, tensors that are missing, unexpected or of another shape, numbers not finite.
    """
    template = _fitting_template(arch, _shapes(state_dict), image_shape)
    if state_dict.keys().isdisjoint(naming.torch_layout(template)):
        state_dict = without_common_prefix(state_dict)
        template = _fitting_template(arch, _shapes(state_dict), image_shape)
    try:
        return naming.from_torch(state_dict, template, arch)
    except naming.LayoutError as error:
        others = [name for name in infer_architecture(state_dict) if name != arch]
        if not others:
            raise
        found = naming.LayoutError(f"{error}; it has the tensors of a {' or '.join(others)}")
        found.fits = tuple(others)
        raise found from error


def to_torch_state_dict(arch: str, variables: Mapping, image_shape: ImageShape = None) -> dict[str, np.ndarray]:
    """Makes weights for PyTorch, which `load_state_dict` takes once each array went through `torch.from_numpy`.

    Args:
      arch: one of `ssdkd_jax.models.model_names()`, or a user's own `path/to/file.py:make`.
      variables: {"params": ..., "batch_stats": ...} of that network.
      image_shape: as for `from_torch_state_dict`.

    Returns:
      {public PyTorch name: float32 NumPy array} in the public order, with int64 zeros for `num_batches_tracked`.

    Raises:
      UserError: unknown architecture, or variables that are missing, unexpected or of another shape.
    """
    return naming.to_torch(variables, _fitting_template(arch, _torch_shapes(variables), image_shape), arch)


def infer_architecture(state_dict: Mapping) -> list[str]:
    """Lists those of `model_names()` whose tensors have exactly these names and shapes; empty if there is none."""
    shapes = {name: shape for name, shape in _shapes(state_dict).items() if not name.endswith(naming.COUNTER)}
    named_alike = [arch for arch in model_names() if _names_within(arch, shapes.keys()) == shapes.keys()]
    return [arch for arch in named_alike if naming.torch_layout(_fitting_template(arch, shapes)) == shapes]


def is_simkd(state_dict: Mapping) -> bool:
    """Whether a state_dict has the parts of a SimKD student, whose name its tensors do not tell."""
    return {name.split(".")[0] for name in state_dict} == {"backbone", "transfer", "classifier"}


def without_common_prefix(state_dict: Mapping) -> dict:
    """A state_dict without the modules that all its names begin with, as those of a whole training module do."""
    modules = [name.split(".")[:-1] for name in state_dict]
    same = itertools.takewhile(lambda level: len(set(level)) == 1, zip(*modules, strict=False))
    depth = len(list(same))
    return {".".join(name.split(".")[depth:]): value for name, value in state_dict.items()}


def describe_closest(state_dict: Mapping) -> str:
    """How a state_dict that fits no network differs from the one most like it, in words; "" where none is.

    Such a network has all but a few of its tensors there.
    """
    shapes = {name: shape for name, shape in _shapes(state_dict).items() if not name.endswith(naming.COUNTER)}
    names = shapes.keys()
    near = {arch: layout for arch in model_names() if (layout := _names_near(arch, names))}
    if not near:
        return ""
    in_common = {arch: len(layout & names) - len(layout - names) for arch, layout in near.items()}
    layouts = {
        arch: naming.torch_layout(_fitting_template(arch, shapes))
        for arch in near
        if in_common[arch] == max(in_common.values())
    }
    closest = max(layouts, key=lambda arch: len(layouts[arch].items() & shapes.items()))
    expected = layouts[closest]
    lacking, more = [name for name in expected if name not in names], sorted(names - expected.keys())
    differing = [f"but lacks {_first_three(lacking)}"] if lacking else []
    differing += [f"and besides them {_first_three(more)}"] if more else []
    if not differing:
        name = next(name for name in expected if expected[name] != shapes[name])
        differing = [f"in other shapes: {name} is {shapes[name]}, expected {expected[name]}"]
    return f"has the tensors of a {closest}, {', '.join(differing)}"


def _first_three(names):
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _shapes(state_dict):
    """{name: shape}; every tensor must be one, with something in it."""
    if not isinstance(state_dict, Mapping) or not all(isinstance(name, str) for name in state_dict):
        expected = "{PyTorch name: array}, as load_torch_file(path) and a module's state_dict() return it"
        raise UserError(f"the state_dict is a {type(state_dict).__name__}, expected {expected}")
    for name, value in state_dict.items():
        if not hasattr(value, "shape") or 0 in tuple(value.shape):
            raise UserError(f"tensor {name!r} is {_kind(value)}, expected an array or tensor with numbers in it")
    return {name: tuple(value.shape) for name, value in state_dict.items()}


def _kind(value):
    return f"of shape {tuple(value.shape)}" if hasattr(value, "shape") else f"a {type(value).__name__}"


def classes_and_channels(arch: str, variables: Mapping, image_shape: ImageShape = None) -> tuple[int, int]:
    """Reads the number of classes and of image channels off a network's variables.

    Args:
      arch, variables, image_shape: as for `to_torch_state_dict`.

    Raises:
      UserError: a network without convolution, and no `image_shape`.
    """
    layout = naming.torch_layout(_fitting_template(arch, _torch_shapes(variables), image_shape))
    first, classifier = _first_and_classifier(layout)
    if image_shape is not None and image_shape[-1] is not None and is_user_code(arch):
        return layout[classifier][0], image_shape[-1]
    if len(layout[first]) != 4:
        raise UserError(f"{arch} has no convolution, whose kernel says how many channels the images have")
    return layout[classifier][0], layout[first][1]


def _torch_shapes(variables):
    collections = variables if isinstance(variables, Mapping) else {}
    if "params" not in collections or not all(isinstance(value, Mapping) for value in collections.values()):
        raise UserError(
            'the variables are not {"params": ..., "batch_stats": ...}, as load_network(folder) returns them'
        )
    flat = traverse_util.flatten_dict(dict(variables))
    return {naming.torch_name(path): naming.torch_shape(path, np.shape(value)) for path, value in flat.items()}


def _fitting_template(arch, shapes, image_shape=None):
    """The network's template with the classes and image channels of {PyTorch name: shape}, where it has them."""
    if is_user_code(arch):
        arch = absolute(arch)
    else:
        image_shape = None
    channels_given = image_shape is not None and image_shape[-1] is not None
    height, width, channels = image_shape or ANY_SHAPE
    channels = channels or ANY_SHAPE[-1]
    layout = naming.torch_layout(_template(arch, 10, (height, width, channels)))
    first, classifier = _first_and_classifier(layout)
    num_classes = shapes[classifier][0] if len(shapes.get(classifier, ())) == len(layout[classifier]) else 10
    if not channels_given and len(shapes.get(first, ())) == 4:
        channels = shapes[first][1]
    return _template(arch, num_classes, (height, width, channels))


def _names_within(arch, names, missing=0):
    """Names of the network's tensors, if these have those of all its modules, or all but so many; else none."""
    try:
        template = naming.template(create_model(arch), _images(ANY_SHAPE), within=names, missing=missing)
    except naming.UnknownModule:
        return set()
    return set(naming.torch_layout(template))


def _names_near(arch, names):
    """Names of the network's tensors, if few of them are not among these; else none."""
    found = _names_within(arch, names, LACKING_MODULES)
    return found if len(found - names) <= LACKING_SHARE * len(found) else set()


def _first_and_classifier(layout):
    """Names of the first convolution's kernel and of the last layer's; a BatchNorm's weights have one dimension."""
    kernels = [name for name, shape in layout.items() if name.endswith(".weight") and len(shape) > 1]
    convolutions = [name for name in kernels if len(layout[name]) == 4]
    return (convolutions or kernels)[0], kernels[-1]


@functools.cache
def _template(arch, num_classes, image_shape):
    with reported_errors(arch):
        template = naming.template(create_model(arch, num_classes), _images(image_shape))
    if not any(path[-1] == "kernel" for path in template):
        raise UserError(f"{arch} made a network without a convolution or linear layer, expected a classifier")
    return template


def _images(image_shape):
    return jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)

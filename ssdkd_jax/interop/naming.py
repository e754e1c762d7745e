"""The one rule between Linen variables and PyTorch state_dicts.

Linen modules carry their PyTorch path as their name, so a variable's path joined by dots is its PyTorch name but for
the last part; kernels differ in the order of their axes: (h, w, in, out) here, (out, in, h, w) there.  Nothing in this
file knows any network.

A *template* is what a model's variables look like: {(collection, *module names, leaf): `jax.ShapeDtypeStruct`}, in the
order in which the modules are called, which is the order of the public state_dicts.
"""

from collections.abc import Iterable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from ssdkd_jax.errors import UserError

Template = dict[tuple[str, ...], jax.ShapeDtypeStruct]
# (collection, leaf) -> last part of the PyTorch name, in the order of a state_dict.
TORCH_LEAVES = {
    ("params", "kernel"): "weight",
    ("params", "scale"): "weight",
    ("params", "bias"): "bias",
    ("batch_stats", "mean"): "running_mean",
    ("batch_stats", "var"): "running_var",
}
# PyTorch's count of training steps, which no network here has.
COUNTER = "num_batches_tracked"


class LayoutError(UserError):
    """Tensors are missing, unexpected or of another shape.

    fits: names of the networks that they are all of, with no other.
    """

    fits: tuple[str, ...] = ()


class UnknownModule(Exception):
    """A network calls a module of which a state_dict has no tensor."""


def template(model: nn.Module, *inputs, within: Iterable[str] | None = None, missing: int = 0) -> Template:
    """Describes the variables of a Linen module without computing anything.

    Args:
      model: a Linen module with `params` and `batch_stats` of convolutions, BatchNorm and linear layers.
      *inputs: arrays or `jax.ShapeDtypeStruct`s that `model` is called with.
      within: PyTorch names; stops at a module that none of them is in.
      missing: how many such modules are passed over before.

    Returns:
      the template, see above.

    Raises:
      UnknownModule: see `within`.
      UserError: a variable that PyTorch has no name for.
    """
    calls = {}
    known, unknown = None if within is None else _paths_of(within), set()

    def note(next_function, args, kwargs, context):
        path = context.module.path
        if known is not None and ".".join(path) not in known:
            unknown.add(path)
            if len(unknown) > missing:
                raise UnknownModule(".".join(path))
        calls.setdefault(path, len(calls))
        return next_function(*args, **kwargs)

    with nn.intercept_methods(note):
        shapes = jax.eval_shape(model.init, jax.random.key(0), *inputs)
    leaves = list(TORCH_LEAVES)
    flat = traverse_util.flatten_dict(shapes)
    for path in flat:
        torch_name(path)
    return {path: flat[path] for path in sorted(flat, key=lambda p: (calls[p[1:-1]], leaves.index((p[0], p[-1]))))}


def _paths_of(names):
    """All modules on the way to tensors: layer1.0.conv1.weight is in "", layer1, layer1.0 and layer1.0.conv1."""
    parts = [name.split(".")[:-1] for name in names]
    return {".".join(path[:depth]) for path in parts for depth in range(len(path) + 1)}


def torch_name(path: tuple[str, ...]) -> str:
    """("params", "layer1.0", "conv1", "kernel") -> "layer1.0.conv1.weight"."""
    collection, *modules, leaf = path
    if (collection, leaf) not in TORCH_LEAVES:
        raise UserError(f"variable {'.'.join(path)!r} has no PyTorch counterpart")
    return ".".join((*modules, TORCH_LEAVES[collection, leaf]))


def torch_shape(path: tuple[str, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Computes the shape of the PyTorch tensor for a variable's path and shape."""
    return tuple(shape[axis] for axis in _axes_to_torch(path, len(shape)))


def torch_layout(template: Template) -> dict[str, tuple[int, ...]]:
    """{state_dict name: shape}, without the counters `num_batches_tracked`."""
    return {torch_name(path): torch_shape(path, leaf.shape) for path, leaf in template.items()}


def _axes_to_torch(path, rank):
    if path[-1] != "kernel" or rank < 2:  # which no layout expects
        return tuple(range(rank))
    return (rank - 1, rank - 2, *range(rank - 2))


def to_torch(variables: dict, template: Template, owner: str = "variables") -> dict[str, np.ndarray]:
    """Linen variables -> PyTorch state_dict.

    Args:
      variables: {"params": ..., "batch_stats": ...} of arrays.
      template: of the model that they belong to.
      owner: whose variables they are, for messages.

    Returns:
      {name: float32 NumPy array} in the public order, with int64 zeros for `num_batches_tracked`.

    Raises:
      UserError: variables that do not fit the template, see `check_layout`.
    """
    flat = traverse_util.flatten_dict(dict(variables))
    found = {torch_name(path): torch_shape(path, np.shape(value)) for path, value in flat.items()}
    check_layout(found, torch_layout(template), owner)
    state_dict = {}
    for path in template:
        name = torch_name(path)
        value = np.asarray(flat[path], np.float32)
        state_dict[name] = np.array(value.transpose(_axes_to_torch(path, value.ndim)), order="C")
        if path[-1] == "var":
            state_dict[name.replace("running_var", COUNTER)] = np.zeros((), np.int64)
    return state_dict


def from_torch(state_dict: dict, template: Template, owner: str = "state_dict") -> dict:
    """PyTorch state_dict -> Linen variables.

    Args:
      state_dict: {name: NumPy array or torch tensor of any floating dtype}; `num_batches_tracked` may be missing.
      template: of the model that they are for.
      owner: whose tensors they are, for messages.

    Returns:
      {"params": ..., "batch_stats": ...} of float32 arrays; the latter is empty without BatchNorm.

    Raises:
      UserError: tensors that do not fit the template (see `check_layout`) or hold numbers that are not finite.
    """
    found = {name: tuple(value.shape) for name, value in state_dict.items() if not name.endswith(COUNTER)}
    check_layout(found, torch_layout(template), owner)
    variables = {}
    for path in template:
        name = torch_name(path)
        value = as_float32(state_dict[name], name, owner)
        broken = value.size - np.count_nonzero(np.isfinite(value))
        if broken:
            raise UserError(f"{owner}: tensor {name!r} holds NaN or infinity in {broken} of {value.size} numbers")
        axes = _axes_to_torch(path, value.ndim)
        variables[path] = jnp.asarray(value.transpose(np.argsort(axes)))
    collections = traverse_util.unflatten_dict(variables)
    return {"params": collections["params"], "batch_stats": collections.get("batch_stats", {})}


def as_float32(value, name: str, owner: str) -> np.ndarray:
    """NumPy array or torch tensor of a floating dtype, on any device -> float32 NumPy array."""
    is_tensor = hasattr(value, "detach")
    if not (value.is_floating_point() if is_tensor else jnp.issubdtype(value.dtype, jnp.floating)):
        raise UserError(f"{owner}: tensor {name!r} is {value.dtype}, expected a floating dtype")
    if is_tensor:
        value = value.detach().cpu().float().numpy()
    return np.asarray(value, np.float32)


def check_layout(found: dict[str, tuple[int, ...]], expected: dict[str, tuple[int, ...]], owner: str) -> None:
    """Raises LayoutError unless two layouts {name: shape} are the same.

    It names the first three tensors of another shape, and all that are missing or unexpected, block by block; of a
    network that has little in common with the expected one, only the first three of everything.
    """
    reshaped = {name: shape for name, shape in expected.items() if name in found and found[name] != shape}
    missing = {name: shape for name, shape in expected.items() if name not in found}
    unexpected = {name: shape for name, shape in found.items() if name not in expected}
    differences = [
        *(f"tensor {name!r} has shape {found[name]}, expected {shape}" for name, shape in reshaped.items()),
        *(f"tensor {name!r} of shape {shape} is missing" for name, shape in missing.items()),
        *(f"unexpected tensor {name!r} of shape {shape}" for name, shape in unexpected.items()),
    ]
    if not differences:
        return
    another_network = 2 * len(differences) > len(expected)
    if another_network or len(differences) == 1:
        raise LayoutError(f"{owner}: {_first_three(differences)}")
    parts = [_first_three(differences[: len(reshaped)])] if reshaped else []
    parts += [f"missing are {_by_block(missing)}"] if missing else []
    parts += [f"unexpected are {_by_block(unexpected)}"] if unexpected else []
    raise LayoutError(f"{owner}: {'; '.join(parts)}")


def _first_three(differences):
    rest = f"; and {len(differences) - 3} more differences" if len(differences) > 3 else ""
    return "; ".join(differences[:3]) + rest


def _by_block(names):
    """layer1.0.conv1.weight, layer1.0.bn1.weight, fc.bias -> layer1.0 (conv1.weight, bn1.weight), fc (bias)."""
    blocks = {}
    for name in names:
        *path, leaf = name.split(".")
        depth = max(1, len(path) - 1)
        blocks.setdefault(".".join(path[:depth]), []).append(".".join([*path[depth:], leaf]))
    return ", ".join(f"{block} ({', '.join(leaves)})" for block, leaves in blocks.items())

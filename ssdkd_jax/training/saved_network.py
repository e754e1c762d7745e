"""Networks saved for later use as teacher or student, by Orbax."""

import functools
import json
from collections.abc import Mapping

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import traverse_util

from ssdkd_jax.errors import UserError
from ssdkd_jax.files import expand, recover_folder, replaced_folder, write_at_once
from ssdkd_jax.interop.naming import check_layout
from ssdkd_jax.models import variable_shapes
from ssdkd_jax.outputs import NETWORK, check_not_inside
from ssdkd_jax.training.checkpoints import DIGEST, alone, orbax_layout, sha256, silence_late_arrays
from ssdkd_jax.user_code import is_user_code

METADATA, VARIABLES = NETWORK
# All that a saved network's folder holds.
OWN = orbax_layout(VARIABLES, METADATA)
# Of an image's side, and of a normalization on the scale of [0, 1].
MOST_PIXELS, LEAST_DEVIATION = 65536, 1e-3
METADATA_FIELDS = {"architecture", "num_classes", "image_shape", "mean", "std", "class_names"}


class NoNetwork(UserError):
    """A folder in which no network was saved."""


def save_network(folder, variables, metadata):
    """Saves a network for later use as teacher or student, atomically.

    Args:
      folder: becomes the network's folder; an earlier network in it is replaced.
      variables: {"params": ..., "batch_stats": ...}.
      metadata: METADATA_FIELDS and more, of what JSON takes and NumPy arrays.

    Raises:
      UserError: the folder holds something other than a saved network, or is inside of one; the metadata lack a field
        or contradict each other; the variables are not finite, or not those of the network that the metadata name (a
        user's own is not looked at); the saved network cannot be verified.
    """
    folder = expand(folder)
    check_not_inside(folder.parent, "save_network(FOLDER, ...)")
    try:
        metadata = _as_json(metadata)
        host = jax.tree.map(np.asarray, variables)
        _check_network(host, metadata)
        if problem := problem_with_numbers(host):
            raise ValueError(problem)
    except (TypeError, ValueError, UserError) as error:
        raise UserError(f"{folder} cannot become a saved network: {error}; nothing was written") from error
    silence_late_arrays()
    with replaced_folder(folder, OWN) as unfinished:
        with ocp.StandardCheckpointer(multiprocessing_options=alone()) as checkpointer:
            checkpointer.save(unfinished / VARIABLES, host)
        write_at_once(unfinished / METADATA, {**metadata, DIGEST: sha256(host)})
        load_network(unfinished)  # which verifies it


def load_network(folder):
    """(variables, metadata) of a folder that `save_network` wrote.

    Raises:
      NoNetwork: it is no such folder.
      UserError: it is damaged, or holds the variables of another network than it says.
    """
    folder = expand(folder).absolute()
    recover_folder(folder, OWN)
    if not (folder / METADATA).is_file():
        raise NoNetwork(_what_it_is(folder))
    try:
        metadata = json.loads((folder / METADATA).read_text())
        if not isinstance(metadata, dict):
            raise ValueError(f"{METADATA} holds {metadata!r:.50}, expected an object")
        # Networks that earlier versions saved have no digest.
        written = metadata.pop(DIGEST, None)
        _check_metadata(metadata)
        silence_late_arrays()
        with ocp.StandardCheckpointer(multiprocessing_options=alone()) as checkpointer:
            like = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), _tree_metadata(checkpointer, folder))
            variables = checkpointer.restore(folder / VARIABLES, like)
        variables = jax.tree.map(np.asarray, variables)
        _check_network(variables, metadata)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        reason = reason if isinstance(error, UserError) else reason[:200]
        raise UserError(f"{folder} cannot be read as a network ({reason}); save or train it again") from error
    if written not in (None, sha256(variables)):
        raise UserError(f"{folder} is damaged: its weights are not those that were saved; save or train it again")
    return variables, metadata


def load_finite(folder):
    """As `load_network`, of a network to convert, which computes numbers.

    Raises:
      UserError: also where it does not, of which earlier versions did not make sure.
    """
    variables, metadata = load_network(folder)
    if problem := problem_with_numbers(variables):
        raise UserError(f"{folder} cannot be converted: its {problem}; train it again, or choose another network")
    return variables, metadata


def _what_it_is(folder):
    """What a folder is in which no network was saved, and what was expected, in words."""
    if not folder.is_dir():
        found = f"{folder} is a file" if folder.exists() else f"there is no folder {folder}"
        return f"{found}; expected the folder of a saved network, such as <workdir>/student"
    if (folder / "student" / METADATA).is_file():
        return f"{folder} is the folder of a run, not of a network; expected that of its student, {folder}/student"
    return f"{folder} is not a saved network: there is no {METADATA} in it; expected a folder such as <workdir>/student"


def problem_with_numbers(variables):
    """What is wrong with a network's numbers, such as "fc.bias is not finite"; "" if nothing is.

    Args:
      variables: {"params": ..., "batch_stats": ...} of NumPy arrays.
    """
    for path, leaf in traverse_util.flatten_dict(dict(variables)).items():
        name, values = ".".join(path[1:]), np.asarray(leaf, np.float32)
        if not np.all(np.isfinite(values)):
            return f"{name} is not finite"
        if (path[0], path[-1]) == ("batch_stats", "var") and values.min(initial=0) < 0:
            return f"{name} is negative ({values.min():g}), but is a variance"
    return ""


def _as_json(metadata):
    """The metadata as JSON gives them back, NumPy arrays and numbers as lists and numbers."""

    def plain(value):
        if hasattr(value, "tolist"):
            return value.tolist()
        raise TypeError(f"its metadata hold a {type(value).__name__}, expected text, numbers, and lists of them")

    if not isinstance(metadata, Mapping):
        raise TypeError(f"its metadata are a {type(metadata).__name__}, expected {', '.join(sorted(METADATA_FIELDS))}")
    return json.loads(json.dumps(dict(metadata), default=plain))


def _check_network(variables, metadata):
    """Raises ValueError or UserError where metadata cannot be true, or where variables are of another network."""
    _check_metadata(metadata)
    if not isinstance(variables, Mapping) or not isinstance(variables.get("params"), Mapping):
        raise ValueError('its variables are not {"params": ..., "batch_stats": ...}')
    name, classes, image_shape = metadata["architecture"], metadata["num_classes"], tuple(metadata["image_shape"])
    if not is_user_code(name):
        owner = f"its variables are no {name} with {classes} classes for images {image_shape}"
        check_layout(_shapes(variables), _layout(name, classes, image_shape), owner)


@functools.cache
def _layout(name, num_classes, image_shape):
    """{name: shape} of a network's variables."""
    try:
        return _shapes(variable_shapes(name, num_classes, image_shape))
    except UserError:
        raise
    except Exception as error:  # Flax and JAX raise exceptions of many types
        raise ValueError(f"{name} does not run on images {image_shape}") from error


def _shapes(variables):
    collections = (variables.get(collection, {}) for collection in ("params", "batch_stats"))
    return {
        ".".join(path): leaf.shape
        for collection in collections
        for path, leaf in traverse_util.flatten_dict(dict(collection)).items()
    }


def _check_metadata(metadata):
    """Raises ValueError where fields are missing, or have values that no network has."""
    missing = METADATA_FIELDS - metadata.keys()
    if missing:
        raise ValueError(f"{METADATA} lacks {', '.join(sorted(missing))}")
    shape, classes, names = (metadata[field] for field in ("image_shape", "num_classes", "class_names"))
    sides = shape if isinstance(shape, list) and len(shape) == 3 else [None]
    if not all(isinstance(side, int) and 0 < side <= MOST_PIXELS for side in sides):
        raise ValueError(f"image_shape is {shape!r}, expected three positive integers")
    if not isinstance(metadata["architecture"], str):
        raise ValueError(f"architecture is {metadata['architecture']!r}, expected a name")
    texts = isinstance(names, list) and all(isinstance(name, str) for name in names) and len(set(names)) == len(names)
    if isinstance(classes, bool) or not (isinstance(classes, int) and texts and len(names) == classes):
        raise ValueError(f"num_classes is {classes!r}, but class_names are {names!r}")
    for field in ("mean", "std"):
        values = metadata[field]
        numbers = isinstance(values, list) and all(isinstance(x, float | int) and 0 <= x <= 1 for x in values)
        if not (numbers and len(values) == shape[-1] and (field == "mean" or min(values) > LEAST_DEVIATION)):
            raise ValueError(f"{field} is {values!r}, expected a number in [0, 1] for each of {shape[-1]} channels")


def _tree_metadata(checkpointer, folder):
    found = checkpointer.metadata(folder / VARIABLES)
    return getattr(found, "item_metadata", found)

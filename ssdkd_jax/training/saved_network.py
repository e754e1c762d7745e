"""Networks saved for later use as teacher or student, by Orbax."""

import json
import pathlib

import jax
import numpy as np
import orbax.checkpoint as ocp

from ssdkd_jax.errors import UserError
from ssdkd_jax.files import NETWORK, recover_folder, replaced_folder, write_at_once
from ssdkd_jax.training.checkpoints import DIGEST, alone, orbax_layout, sha256

METADATA, VARIABLES = NETWORK
# All that a saved network's folder holds.
OWN = orbax_layout(VARIABLES, METADATA)
# Of an image's side, and of a normalization on the scale of [0, 1].
MOST_PIXELS, LEAST_DEVIATION = 65536, 1e-3
METADATA_FIELDS = {"architecture", "num_classes", "image_shape", "mean", "std", "class_names"}


def save_network(folder, variables, metadata):
    """Saves a network for later use as teacher or student, atomically.

    Args:
      folder: becomes the network's folder; an earlier network in it is replaced.
      variables: {"params": ..., "batch_stats": ...}.
      metadata: METADATA_FIELDS and more.

    Raises:
      UserError: the folder holds something other than a saved network; the saved network cannot be verified.
    """
    with replaced_folder(folder, OWN) as unfinished:
        host = jax.tree.map(np.asarray, variables)
        with ocp.StandardCheckpointer(multiprocessing_options=alone()) as checkpointer:
            checkpointer.save(unfinished / VARIABLES, host)
        write_at_once(unfinished / METADATA, {**metadata, DIGEST: sha256(host)})
        load_network(unfinished)  # which verifies it


def load_network(folder):
    """(variables, metadata) of a folder that `save_network` wrote.

    Raises:
      UserError: it is no such folder, or it is damaged.
    """
    folder = pathlib.Path(folder).absolute()
    recover_folder(folder, OWN)
    if not (folder / METADATA).is_file():
        raise UserError(
            f"{folder} is not a saved network: there is no {METADATA} in it; "
            "expected a folder such as <workdir>/student, or a PyTorch file (.pth, .pt, .th, .safetensors)"
        )
    try:
        metadata = json.loads((folder / METADATA).read_text())
        missing = METADATA_FIELDS - metadata.keys()
        if missing:
            raise ValueError(f"{METADATA} lacks {', '.join(sorted(missing))}")
        _check_metadata(metadata)
        # Networks that earlier versions saved have no digest.
        written = metadata.pop(DIGEST, None)
        with ocp.StandardCheckpointer(multiprocessing_options=alone()) as checkpointer:
            like = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), _tree_metadata(checkpointer, folder))
            variables = checkpointer.restore(folder / VARIABLES, like)
    except Exception as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise UserError(f"{folder} cannot be read as a network ({reason}); save or train it again") from error
    variables = jax.tree.map(np.asarray, variables)
    if written not in (None, sha256(variables)):
        raise UserError(f"{folder} is damaged: its weights are not those that were saved; save or train it again")
    return variables, metadata


def _check_metadata(metadata):
    """Raises ValueError where values cannot be what `save_network` was given."""
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

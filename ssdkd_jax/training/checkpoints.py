"""Checkpoints of a whole state and saved networks, both with Orbax."""

import hashlib
import json
import pathlib
import shutil

import jax
import numpy as np
import orbax.checkpoint as ocp

from ssdkd_jax.errors import UserError

# Bytes of the files beside the arrays in a checkpoint, generously.
SMALL_FILES = 2**17
METADATA = "network.json"
METADATA_FIELDS = {"architecture", "num_classes", "image_shape", "mean", "std", "class_names"}


class Checkpoints:
    """One folder with the newest checkpoint: a state (pytree of NumPy arrays) and `info` (anything that JSON takes).

    Saving is asynchronous and atomic: a killed program leaves the last complete checkpoint.
    """

    def __init__(self, folder):
        options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=True)
        self._folder = pathlib.Path(folder).resolve()
        self._manager = ocp.CheckpointManager(self._folder, options=options)

    def save(self, step, state, info):
        """Saves unless this step is already there.

        Raises:
          UserError: the disk is too full; earlier checkpoints stay.
        """
        if step != self._manager.latest_step():
            self._check_room(sum(leaf.nbytes for leaf in jax.tree.leaves(state)) + SMALL_FILES)
            arguments = ocp.args.Composite(state=ocp.args.StandardSave(state), info=ocp.args.JsonSave(info))
            self._manager.save(step, args=arguments, force=True)

    def _check_room(self, size):
        # Asked first, because what writes in the background fails with pages of messages.
        free = shutil.disk_usage(self._folder).free
        if free < size:
            raise UserError(
                f"the disk is full: {self._folder} has {free / 1e6:.1f} MB free and a checkpoint takes "
                f"{size / 1e6:.1f} MB; the last complete one stays: make room and run the same command again"
            )

    def restore(self, like):
        """(state, info) of the newest checkpoint, or None; `like` is a pytree of arrays or shapes.

        Raises:
          UserError: it is damaged.
        """
        step = self._manager.latest_step()
        if step is None:
            return None
        like = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), like)
        try:
            restored = self._manager.restore(
                step, args=ocp.args.Composite(state=ocp.args.StandardRestore(like), info=ocp.args.JsonRestore())
            )
        except Exception as error:
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise UserError(
                f"the checkpoint in {self._folder} cannot be read ({reason}); delete that folder to start anew"
            ) from error
        return jax.tree.map(np.asarray, restored.state), restored.info

    def wait(self):
        """Until everything is on disk."""
        self._manager.wait_until_finished()

    def close(self):
        """Waits, and releases the manager's threads."""
        self._manager.close()


def save_network(folder, variables, metadata):
    """Saves a network for later use as teacher or student.

    Args:
      folder: becomes the network's folder; an earlier one is replaced.
      variables: {"params": ..., "batch_stats": ...}.
      metadata: METADATA_FIELDS and more.
    """
    folder = pathlib.Path(folder).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(unfinished / "variables", jax.tree.map(np.asarray, variables))
    (unfinished / METADATA).write_text(json.dumps(metadata, indent=2))
    unfinished.rename(folder)


def load_network(folder):
    """(variables, metadata) of a folder that `save_network` wrote.

    Raises:
      UserError: it is no such folder, or it is damaged.
    """
    folder = pathlib.Path(folder).resolve()
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
        with ocp.StandardCheckpointer() as checkpointer:
            like = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), _tree_metadata(checkpointer, folder))
            variables = checkpointer.restore(folder / "variables", like)
    except Exception as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise UserError(f"{folder} cannot be read as a network ({reason}); save or train it again") from error
    return jax.tree.map(np.asarray, variables), metadata


def _check_metadata(metadata):
    """Raises ValueError where values cannot be what `save_network` was given."""
    shape, classes, names = (metadata[field] for field in ("image_shape", "num_classes", "class_names"))
    if not (isinstance(shape, list) and len(shape) == 3 and all(isinstance(n, int) and n > 0 for n in shape)):
        raise ValueError(f"image_shape is {shape!r}, expected three positive integers")
    if not (isinstance(classes, int) and isinstance(names, list) and len(names) == classes):
        raise ValueError(f"num_classes is {classes!r}, but class_names are {names!r}")
    for field in ("mean", "std"):
        values = metadata[field]
        numbers = isinstance(values, list) and all(isinstance(x, int | float) for x in values)
        if not (numbers and len(values) == shape[-1] and (field == "mean" or min(values) > 0)):
            raise ValueError(f"{field} is {values!r}, expected a number for each of {shape[-1]} channels")


def _tree_metadata(checkpointer, folder):
    found = checkpointer.metadata(folder / "variables")
    return getattr(found, "item_metadata", found)


def sha256(variables):
    """Hex digest of a pytree's paths, dtypes, shapes and values, in the fixed order of its sorted paths."""
    digest = hashlib.sha256()
    leaves = [(jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(variables)]
    for path, leaf in sorted(leaves, key=lambda item: item[0]):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{path} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()

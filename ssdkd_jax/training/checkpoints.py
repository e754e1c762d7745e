"""Checkpoints of a whole state, by Orbax."""

import hashlib
import pathlib
import shutil

import jax
import numpy as np
import orbax.checkpoint as ocp

from ssdkd_jax.errors import UserError

# Bytes of the files next to the arrays in a checkpoint, generously.
SMALL_FILES = 2**17


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
                f"the checkpoint in {self._folder} cannot be read ({reason}); delete that folder to start from scratch"
            ) from error
        return jax.tree.map(np.asarray, restored.state), restored.info

    def wait(self):
        """Blocks until all saves are on disk."""
        self._manager.wait_until_finished()

    def close(self):
        """Waits, and releases the manager's threads."""
        self._manager.close()


def sha256(variables):
    """Hex digest of a pytree's paths, dtypes, shapes and values, in the fixed order of its sorted paths."""
    digest = hashlib.sha256()
    leaves = [(jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(variables)]
    for path, leaf in sorted(leaves, key=lambda item: item[0]):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{path} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()

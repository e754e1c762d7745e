"""Checkpoints of a whole state, by Orbax."""

import hashlib
import json
import pathlib
import re
import shutil
import sys

import jax
import numpy as np
import orbax.checkpoint as ocp

from ssdkd_jax.errors import UserError
from ssdkd_jax.files import Layout, check_ours
from ssdkd_jax.limits import check_file_size
from ssdkd_jax.training import multiprocess

# Bytes of the files next to the arrays in a checkpoint, generously.
SMALL_FILES = 2**17
# Into files of about so many bytes TensorStore divides the arrays.
LARGEST_FILE = 2**31
# Entry of a checkpoint's info with the digest of everything else in it.
DIGEST = "sha256"
# What Orbax appends to names of what it has not finished, and TensorStore to those of what it is writing.
_UNFINISHED = r"(\.orbax-checkpoint-tmp.*)?(\.__lock)?"
# Names in the folders that they write.
_OF_ORBAX = (
    r"(_CHECKPOINT_METADATA|_METADATA|_sharding|_strings\.json|commit_success\.txt|manifest\.ocdbt|d|[0-9a-f]{32}"
    r"|ocdbt\.process_\d+|process_\d+|array_metadatas|descriptor(\.pbtxt)?|info|metadata|state)"
)
CHECKPOINT_LAYOUT = Layout(rf"\d+{_UNFINISHED}", _OF_ORBAX + _UNFINISHED, "checkpoints")


def orbax_layout(folder, *files):
    """Layout of a folder with these files and a folder that Orbax writes."""
    names = "|".join(map(re.escape, files))
    return Layout(rf"{names}|{re.escape(folder)}{_UNFINISHED}", CHECKPOINT_LAYOUT.inner, ", ".join([*files, folder]))


class Checkpoints:
    """One folder with the newest checkpoints: a state (pytree of NumPy arrays) and `info` (anything that JSON takes).

    Saving is asynchronous and atomic: a killed program leaves the last complete checkpoint.  Every checkpoint carries a
    digest of its content; one that does not match its digest is skipped in favor of the one before it.

    Of several processes only the first has a disk; the others are told what it reads, and call what it calls.
    """

    def __init__(self, folder, keep=1):
        """Opens or makes the folder.

        Args:
          folder: of the checkpoints.
          keep: how many, the newest.

        Raises:
          UserError: the folder holds something that is not ours, which would be deleted with the checkpoint it is in.
        """
        silence_late_arrays()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, enable_async_checkpointing=True, create=False, multiprocessing_options=alone()
        )
        self.folder, self._manager = pathlib.Path(folder).resolve(), None
        multiprocess.from_first(lambda: check_ours(self.folder, CHECKPOINT_LAYOUT))
        if multiprocess.is_first():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._manager = ocp.CheckpointManager(self.folder, options=options)

    def save(self, step, state, info):
        """Saves unless this step is already there.

        Raises:
          UserError: the disk is too full; earlier checkpoints stay.
        """
        multiprocess.from_first(lambda: self._save(step, state, info))

    def _save(self, step, state, info):
        if step != self._manager.latest_step():
            self._check_room(sum(leaf.nbytes for leaf in jax.tree.leaves(state)))
            info = {**info, DIGEST: _digest(state, info)}
            arguments = ocp.args.Composite(state=ocp.args.StandardSave(state), info=ocp.args.JsonSave(info))
            self._manager.save(step, args=arguments, force=True)

    def _check_room(self, size):
        # Asked first, because what writes in the background fails with pages of messages.
        check_file_size(min(size, LARGEST_FILE), "a checkpoint")
        size += SMALL_FILES
        free = shutil.disk_usage(self.folder).free
        if free < size:
            raise UserError(
                f"the disk is full: {self.folder} has {free / 1e6:.1f} MB free and a checkpoint takes "
                f"{size / 1e6:.1f} MB{self._what_stays()}; make room and run the same command again"
            )

    def latest_step(self):
        """The newest step that is on disk, or None."""
        return multiprocess.from_first(self._latest_step)

    def _latest_step(self):
        self._manager.wait_until_finished()
        return self._manager.latest_step()

    def _what_stays(self):
        step = self._latest_step()
        return "" if step is None else f"; the checkpoint of epoch {step} stays"

    def restore(self, like):
        """(state, info) of the newest intact checkpoint, or None if there is none.

        Damaged ones are named on the way and deleted.

        Args:
          like: pytree of arrays or shapes.

        Raises:
          UserError: all of them are damaged, or of another version of the program.
        """
        return multiprocess.from_first(lambda: self._restore(like))

    def _restore(self, like):
        like = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), like)
        damaged, others = [], []
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                state, info = self._read(step, like)
            except Exception as error:
                others += self._differing(step, like)[:1]
                reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
                damaged.append(f"that of epoch {step} cannot be read ({reason})")
                continue
            if damaged:
                print(f"{self.folder}: {'; '.join(damaged)}; using the one of epoch {step}", flush=True)
                self._forget_after(step)
            return state, info
        if others and len(others) == len(damaged):
            raise UserError(
                f"the checkpoints in {self.folder} were made by another version of this program (other arrays, such as "
                f"{others[0]}); finish the run with that one, or move them elsewhere to start from scratch"
            )
        if damaged:
            raise UserError(
                f"no intact checkpoint in {self.folder}: {'; '.join(damaged)}; move what is in it elsewhere "
                "to start from scratch"
            )
        return None

    def _read(self, step, like):
        restored = self._manager.restore(
            step, args=ocp.args.Composite(state=ocp.args.StandardRestore(like), info=ocp.args.JsonRestore())
        )
        state, info = jax.tree.map(np.asarray, restored.state), restored.info
        if not isinstance(info, dict):
            raise ValueError(f"its info is a {type(info).__name__}")
        if info.get("epoch") != step:
            raise ValueError(f"its info says epoch {info.get('epoch')}")
        shapes = [leaf.shape for leaf in jax.tree.leaves(state)]
        if shapes != [leaf.shape for leaf in jax.tree.leaves(like)]:
            raise ValueError("it is of other networks")
        if info.pop(DIGEST, None) != _digest(state, info):
            raise ValueError("its content does not match what was written")
        return state, info

    def _differing(self, step, like):
        """Names of arrays that only one of a checkpoint and `like` has, sorted; [] where it does not say its own."""
        try:
            there = ocp.StandardCheckpointHandler().metadata(self.folder / str(step) / "state").tree
        except Exception:  # whatever the damage makes of it
            return []
        return sorted(_names(like) ^ _names(there))

    def _forget_after(self, step):
        for later in (path for path in self.folder.iterdir() if path.name.isdigit() and int(path.name) > step):
            shutil.rmtree(later, ignore_errors=True)
        self._manager.reload()

    def wait(self):
        """Blocks until all saves are on disk."""
        self.latest_step()

    def close(self):
        """Waits, and releases the manager's threads."""
        if self._manager:
            self._manager.close()


def _names(tree):
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves}


def silence_late_arrays():
    """Keeps Python from printing a traceback for each array that TensorStore reads or writes after one that failed."""
    hook = sys.unraisablehook
    if getattr(hook, "silences_late_arrays", False):
        return

    def silent(unraisable):
        # Of the loop that waited for all arrays, and ended with the first error.
        if str(unraisable.exc_value) != "Event loop is closed":
            hook(unraisable)

    silent.silences_late_arrays = True
    sys.unraisablehook = silent


def alone():
    """Orbax's options where the first process writes while the others go on; its own would wait for all of them."""
    if multiprocess.count() == 1:
        return ocp.options.MultiprocessingOptions()
    return ocp.options.MultiprocessingOptions(primary_host=0, active_processes={0}, barrier_sync_key_prefix="first")


def _digest(state, info):
    """Digest of arrays and metadata."""
    return hashlib.sha256(f"{sha256(state)} {json.dumps(info, sort_keys=True)}".encode()).hexdigest()


def sha256(variables):
    """Hex digest of a pytree's paths, dtypes, shapes and values, in the fixed order of its sorted paths."""
    digest = hashlib.sha256()
    leaves = [(jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(variables)]
    for path, leaf in sorted(leaves, key=lambda item: item[0]):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{path} {array.dtype} {array.shape}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8))  # no copy, also of types that have no buffers
    return digest.hexdigest()

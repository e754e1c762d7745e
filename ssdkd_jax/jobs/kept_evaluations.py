"""What teachers make of test images, kept beside the compiled programs: a large teacher takes minutes on a CPU."""

import hashlib
import json
import os
import pathlib

import jax
import numpy as np

import ssdkd_jax
from ssdkd_jax.errors import UserError
from ssdkd_jax.files import replaced_file
from ssdkd_jax.jobs import provenance
from ssdkd_jax.reports.run_files import DAMAGES
from ssdkd_jax.training.checkpoints import sha256
from ssdkd_jax.training.evaluation import Evaluation
from ssdkd_jax.training.multiprocess import from_first
from ssdkd_jax.user_code import is_user_code

# Fields of a config that decide the numbers of an evaluation, beside the network and the images.
_FIELDS = ("dtype", "param_dtype", "matmul_precision", "evaluation_batch_size")


def kept_evaluation(context, teacher, images, test, evaluate):
    """`evaluate()`, or what it gave the last time for the same teacher, images and machine.

    A network from a user's own file is always evaluated, since what that file imports may have changed.

    Args:
      context: Context.
      teacher: Teacher.
      images: ImageSpec.
      test: data.Dataset.
      evaluate: () -> Evaluation.
    """
    folder = _folder()
    if folder is None or is_user_code(teacher.architecture):
        return evaluate()
    made_from = {
        "architecture": teacher.architecture,
        "teacher": sha256(teacher.variables),
        "images": sha256({"images": test.images, "labels": test.labels}),
        "normalization": [list(images.mean), list(images.std)],
        "task": [images.task.name, len(images.class_names)],
        **{name: context.config[name] for name in _FIELDS},
        "devices": [len(context.devices), provenance.hardware(context.devices), os.environ.get("XLA_FLAGS", "")],
        "versions": [ssdkd_jax.__version__, provenance.versions()],
    }
    digest = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
    path = folder / f"{digest[:20]}.npz"
    found = from_first(lambda: _read(path))
    if found is None:
        found = evaluate()
        from_first(lambda: _write(path, found))
    return found


def _folder():
    """Where evaluations are kept; None where compiled programs are not, or in a bucket."""
    programs = jax.config.jax_compilation_cache_dir
    if not programs or "://" in programs or not jax.config.jax_enable_compilation_cache:
        return None
    return pathlib.Path(programs) / "evaluations"


def _read(path):
    """The Evaluation, or None where there is none that can be read."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Evaluation(**{name: arrays[name] for name in Evaluation._fields})
    except DAMAGES:
        return None


def _write(path, evaluation):
    """Writes it where that is possible; elsewhere the next run takes its time again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced_file(path) as unfinished, unfinished.open("wb") as file:
            np.savez(file, **evaluation._asdict())
    except (OSError, UserError):
        pass

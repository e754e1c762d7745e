"""What teachers make of test images, kept beside the compiled programs: a large teacher takes minutes on a CPU."""

import hashlib
import os
import pathlib

import jax
import numpy as np

from ssdkd_jax.errors import UserError
from ssdkd_jax.files import digest_of, replaced_file
from ssdkd_jax.jobs import provenance
from ssdkd_jax.jobs.run_folder import try_lock
from ssdkd_jax.reports.run_files import DAMAGES
from ssdkd_jax.training.checkpoints import sha256
from ssdkd_jax.training.evaluation import Evaluation
from ssdkd_jax.training.multiprocess import from_first
from ssdkd_jax.user_code import is_user_code

PACKAGE = pathlib.Path(__file__).parent.parent
# Fields of a config, and variables of the shell, that decide the numbers beside the network and the images.
_FIELDS = ("dtype", "param_dtype", "evaluation_batch_size")
_VARIABLES = ("XLA_FLAGS", "LIBTPU_INIT_ARGS", "NVIDIA_TF32_OVERRIDE")


def kept_evaluation(context, teacher, teacher_sha256, images, test, evaluate):
    """`evaluate()`, or what it gave the last time for the same teacher, images, machine and code.

    A network from a user's own file is always evaluated, since what that file imports may have changed.

    Args:
      context: Context.
      teacher: Teacher.
      teacher_sha256: of its variables.
      images: ImageSpec.
      test: data.Dataset.
      evaluate: () -> Evaluation.
    """
    place, found = from_first(lambda: _look(context, teacher.architecture, teacher_sha256, images, test))
    if found is None:
        found = evaluate()
        if place:
            from_first(lambda: _keep(place, found))
    return found


def _look(context, architecture, teacher_sha256, images, test):
    """(where the Evaluation is kept or None, the Evaluation or None)."""
    folder = jax.config.jax_compilation_cache_dir
    kept = folder and "://" not in folder and jax.config.jax_enable_compilation_cache
    if not kept or is_user_code(architecture):
        return None, None
    place = pathlib.Path(folder) / "evaluations" / f"{_key(context, architecture, teacher_sha256, images, test)}.npz"
    return place, _read(place)


def _key(context, architecture, teacher_sha256, images, test):
    """Digest of everything that decides an evaluation."""
    made_from = {
        "architecture": architecture,
        "teacher": teacher_sha256,
        "images": sha256({"images": test.images, "labels": test.labels}),
        "normalization": [list(images.mean), list(images.std)],
        "task": [images.task.name, len(images.class_names)],
        "fields": [context.config[name] for name in _FIELDS],
        "precision": str(jax.config.jax_default_matmul_precision),
        "variables": [os.environ.get(name) for name in _VARIABLES],
        "devices": [len(context.devices), provenance.hardware(context.devices)],
        "platform": getattr(context.devices[0].client, "platform_version", ""),
        "versions": provenance.versions_below(),
        "code": _code(),
    }
    return digest_of(made_from)[:20]


def _code():
    """Digest of this package's source."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(f"{path.relative_to(PACKAGE)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _read(path):
    """The Evaluation, or None where there is none that can be read."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Evaluation(**{name: arrays[name] for name in Evaluation._fields})
    except DAMAGES:
        return None


def _keep(path, evaluation):
    """Writes the file where that is possible and no other run is at it; otherwise the next run evaluates again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if lock := try_lock(path.with_suffix(".lock")):
            with lock, replaced_file(path) as unfinished, unfinished.open("wb") as file:
                np.savez(file, **evaluation._asdict())
    except (OSError, UserError):
        pass

"""What teachers make of test images, kept beside the compiled programs: a large teacher takes minutes on a CPU."""

import numpy as np

from ssdkd_jax import source
from ssdkd_jax.files import digest_of, write_if_possible
from ssdkd_jax.jobs import fingerprint
from ssdkd_jax.reports.run_files import DAMAGES
from ssdkd_jax.training.checkpoints import sha256
from ssdkd_jax.training.evaluation import Evaluation
from ssdkd_jax.training.kept_programs import cache_folder
from ssdkd_jax.training.multiprocess import from_first
from ssdkd_jax.user_code import is_user_code

# Fields of a config that decide the numbers beside the network and the images.
_FIELDS = ("dtype", "param_dtype", "evaluation_batch_size")


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
            from_first(lambda: write_if_possible(place, lambda file: np.savez(file, **found._asdict())))
    return found


def _look(context, architecture, teacher_sha256, images, test):
    """(where the Evaluation is kept or None, the Evaluation or None)."""
    folder = cache_folder()
    if folder is None or not source.is_unchanged() or is_user_code(architecture):
        return None, None
    place = folder / "evaluations" / f"{_key(context, architecture, teacher_sha256, images, test)}.npz"
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
        "traced": fingerprint.of_code(),
        "compiled": fingerprint.of_compiler(context.devices),
    }
    return digest_of(made_from)[:20]


def _read(path):
    """The Evaluation, or None where there is none that can be read."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Evaluation(**{name: arrays[name] for name in Evaluation._fields})
    except DAMAGES:
        return None

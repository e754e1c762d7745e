"""Which runs have the same compiled programs, so that one finds those of another."""

import os

from flax.traverse_util import flatten_dict

from ssdkd_jax import source
from ssdkd_jax.files import digest_of
from ssdkd_jax.jobs import experiment, fingerprint
from ssdkd_jax.methods import find_method
from ssdkd_jax.training import multiprocess
from ssdkd_jax.training.kept_programs import KEEP_PROGRAMS, KeptPrograms, cache_folder
from ssdkd_jax.user_code import is_user_code

# Entries of an experiment's identity that change none of its programs.
_NOT_IN_PROGRAMS = ("seed", "baselines", "teacher", "evaluate_every")


def programs_of_run(context, architecture, images) -> KeptPrograms | None:
    """Where the programs of a run are kept, or None where they are not.

    They are kept for runs of the command line (`KEEP_PROGRAMS`) in one process. Python that changes functions of this
    package while it runs, as a notebook can, would find programs of the functions as they were.

    Args:
      context: Context.
      architecture: of the teacher.
      images: ImageSpec.
    """
    folder, settings = cache_folder(), experiment.identity(context.config)
    wanted = os.environ.get(KEEP_PROGRAMS) == "1" and folder is not None and source.is_unchanged()
    if not wanted or multiprocess.count() > 1 or _has_user_code(context.config, settings, architecture):
        return None
    traced_from = {
        "settings": {name: value for name, value in settings.items() if name not in _NOT_IN_PROGRAMS},
        "architecture": architecture,
        "images": [list(map(int, images.shape)), list(images.mean), list(images.std)],
        "task": [images.task.name, len(images.class_names)],
        **fingerprint.of_code(),
    }
    compiled_for = fingerprint.of_compiler(context.devices)
    return KeptPrograms(folder / "programs", digest_of(traced_from), digest_of(compiled_for), context.devices)


def _has_user_code(config, settings, architecture):
    """Whether a run takes anything from a user's own file: what that imports may have changed, and can change all."""
    own_method = not find_method(config.method).method.__module__.startswith("ssdkd_jax.")
    return own_method or any(map(is_user_code, [architecture, *flatten_dict(settings).values()]))

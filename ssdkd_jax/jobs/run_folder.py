"""A run's folder: its owner, whether the run is finished, and its summary."""

import contextlib
import fcntl
import importlib.metadata
import json
import os
import pathlib
import platform

from ssdkd_jax.errors import UserError
from ssdkd_jax.files import check_ours, read_object, write_at_once
from ssdkd_jax.jobs.summary import Summary
from ssdkd_jax.reports.run_files import BUFFER, COMPARISON, IMAGES, REPORT, SUMMARY, with_current_names
from ssdkd_jax.training import saved_network

EXPERIMENT = "experiment.json"
# What only a run that has begun leaves in its folder.
RESULTS = ("checkpoints", "student")
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def try_lock(path):
    """An open file as exclusive lock, or None where another program holds it; freed when closed or when killed."""
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


@contextlib.contextmanager
def alone(workdir):
    """Makes sure that no other run uses the folder at the same time.

    Raises:
      UserError: one does.
    """
    lock = try_lock(workdir / ".lock")
    if lock is None:
        raise UserError(f"another run is using the workdir {workdir}; wait for it, or choose another: --workdir=DIR")
    with lock:
        yield


def check_kind(workdir, *, comparison):
    """Raises UserError where a run's folder is to take a comparison of many, or the other way round."""
    holds, expected = ("a single run", "a comparison") if comparison else ("a comparison", "a single run")
    if (workdir / (EXPERIMENT if comparison else COMPARISON)).exists():
        raise UserError(f"the workdir {workdir} holds {holds}, not {expected}; choose another: --workdir=DIR")


def claim(workdir, identity, *, write=True):
    """Makes sure that the folder belongs to this experiment.

    Args:
      workdir: existing folder.
      identity: nested dict of plain values that decide the result.
      write: whether to note the identity where there is none yet.

    Raises:
      UserError: it belongs to another, whose first field that differs is named; nothing says to which it belongs.
    """
    path = pathlib.Path(workdir) / EXPERIMENT
    another = "nothing was changed; choose another --workdir=DIR"
    if not path.exists() and any((pathlib.Path(workdir) / name).exists() for name in RESULTS):
        raise UserError(f"{workdir} holds a run whose {EXPERIMENT} is missing, which says what was run; {another}")
    identity = json.loads(json.dumps(identity))
    if path.exists():
        there, here = _flat(read_object(path, another)), _flat(identity)
        # The method decides which other fields there are.
        for field in sorted(there.keys() | here.keys(), key=lambda field: (field != "method", field)):
            if there.get(field) != here.get(field):
                planned = "; a run's schedule is planned for all its epochs" if field == "epochs" else ""
                raise UserError(
                    f"the workdir {workdir} belongs to another experiment: {field} is {there.get(field)!r} there and "
                    f"{here.get(field)!r} here{planned}; choose another --workdir=DIR, or repeat its settings: "
                    f"--config.{field}={there.get(field)}"
                )
    elif write:
        write_at_once(path, identity)


def check_can_write(workdir):
    """Raises UserError where something that is not ours has the name of a file or folder that a run writes at its end.

    Known only then, it would cost the whole run.
    """
    check_ours(workdir / "student", saved_network.OWN)
    for name in (SUMMARY, BUFFER, REPORT, IMAGES):
        if (workdir / name).is_dir():
            raise UserError(
                f"{workdir / name} is a directory, expected a file or nothing; choose another --workdir=DIR"
            )


def read_summary(workdir):
    """The Summary of a finished run of at least one epoch, or None.

    Raises:
      UserError: the file is damaged.
    """
    path = pathlib.Path(workdir) / SUMMARY
    if not path.exists():
        return None
    content = with_current_names(read_object(path))
    if not content.get("epochs"):
        return None
    try:
        return Summary.from_dict(content)
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}; delete it and run the same command again") from error


def write_summary(workdir, summary):
    """Writes summary.json at once or not at all."""
    write_at_once(pathlib.Path(workdir) / SUMMARY, summary.to_dict())


def versions():
    """Versions of Python and of the packages that decide a result."""
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in PACKAGES}}


def hardware(devices):
    """Which devices a run used, e.g. "2 cores of AMD EPYC" or "8 x TPU v5e"."""
    if devices[0].platform != "cpu":
        return f"{len(devices)} x {devices[0].device_kind}"
    names = [line.split(":")[1].strip() for line in _cpu_lines() if line.startswith("model name")]
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{count} core{'s' if count > 1 else ''} of {names[0] if names else platform.processor() or 'CPU'}"


def _cpu_lines():
    path = pathlib.Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def _flat(tree, prefix=""):
    if not isinstance(tree, dict):
        return {prefix: tree}
    return {
        key: value for name, sub in tree.items() for key, value in _flat(sub, f"{prefix}.{name}".strip(".")).items()
    }

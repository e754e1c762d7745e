"""A run's folder: whose it is, whether there is room, whether the run is finished, and its summary."""

import contextlib
import fcntl
import importlib.metadata
import json
import os
import pathlib
import platform
import shutil

from ssdkd_jax.errors import UserError

EXPERIMENT, SUMMARY, COMPARISON = "experiment.json", "summary.json", "comparison.json"
# What every summary of a finished run has, and what others count on.
SUMMARY_FIELDS = {
    *("dataset", "teacher", "student", "epochs", "seconds", "synthetic_images"),
    *("teacher_accuracy", "student_accuracy", "teacher_sha256", "hardware", "date", "versions"),
}
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def make(workdir, flag="--workdir"):
    """Creates the folder and makes sure that it can be written; `flag` is what chooses it, for the message.

    Raises:
      UserError: it cannot.
    """
    workdir = pathlib.Path(workdir).expanduser()
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        probe = workdir / ".writable"
        probe.write_bytes(b"\0" * 4096)
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"the folder {workdir} cannot be written ({error.strerror or error}); choose another: {flag}=DIR"
        ) from error
    return workdir


def check_room(workdir, room, flag="--workdir"):
    """Raises UserError unless `room` bytes are free where the folder lies."""
    free = shutil.disk_usage(workdir).free
    if free < room:
        raise UserError(
            f"the disk of {workdir} has {free / 1e6:.1f} MB free, expected {room / 1e6:.1f} MB for checkpoints; "
            f"make room, or choose another folder: {flag}=DIR"
        )


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
      UserError: it belongs to another; names the first field that differs.
    """
    path = pathlib.Path(workdir) / EXPERIMENT
    identity = json.loads(json.dumps(identity))
    if path.exists():
        there, here = _flat(read_object(path)), _flat(identity)
        for field in sorted(there.keys() | here.keys()):
            if there.get(field) != here.get(field):
                raise UserError(
                    f"the workdir {workdir} belongs to another experiment: {field} is {there.get(field)!r} there and "
                    f"{here.get(field)!r} here; choose another --workdir=DIR, or delete it to start anew"
                )
    elif write:
        write_at_once(path, identity)


def read_summary(workdir):
    """The summary of a finished run of at least one epoch, or None."""
    path = pathlib.Path(workdir) / SUMMARY
    if not path.exists():
        return None
    summary = read_object(path)
    if not summary.get("epochs"):
        return None
    missing = SUMMARY_FIELDS - summary.keys()
    if missing:
        raise UserError(f"{path} lacks {', '.join(sorted(missing))}; delete it and run the same command again")
    return summary


def read_object(path):
    """A JSON file's object.

    Raises:
      UserError: the file is damaged.
    """
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); delete it and run the same command again") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged (no JSON object); delete it and run the same command again")
    return content


def write_summary(workdir, summary):
    """Writes summary.json at once or not at all."""
    write_at_once(pathlib.Path(workdir) / SUMMARY, summary)


def write_at_once(path, content):
    """Writes a file wholly or not at all: text as it stands, anything else as JSON."""
    text = content if isinstance(content, str) else json.dumps(content, indent=1) + "\n"
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(text, encoding="utf-8", errors="replace")
    unfinished.replace(path)


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

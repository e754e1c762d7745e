"""A run's folder: what it is of, who uses it, whether the run is finished, and its summary."""

import contextlib
import errno
import pathlib

from ssdkd_jax.errors import UserError, first_few
from ssdkd_jax.files import check_ours, expand, in_place_of_a_file, read_object, try_lock, write_at_once
from ssdkd_jax.jobs.summary import Summary
from ssdkd_jax.outputs import EXPERIMENT, RUN_FOLDERS, check_written_by_us
from ssdkd_jax.reports.run_files import (
    ACCELERATOR_REPORT,
    BUFFER,
    COMPARISON,
    IMAGES,
    MAPS,
    METRICS_FILE,
    REPORT,
    STUDY,
    SUMMARY,
    with_current_names,
)
from ssdkd_jax.training import saved_network
from ssdkd_jax.training.checkpoints import CHECKPOINT_LAYOUT, sha256

# The system's numbers for a folder that cannot be written.
READ_ONLY = (errno.EROFS, errno.EACCES)
# How what a run writes at its end begins; of an archive of arrays, the name of the first of them.
_BEGINNINGS = {
    REPORT: r"<!DOCTYPE html>.*<title>[^<]* distilled from ",
    IMAGES: r"\ufffdPNG.*Matplotlib",
    BUFFER: r"PK.{,60}images\.npy",
    MAPS: r"PK.{,60}class_names\.npy",
}
# What else a run writes into its folder.
OWN = (SUMMARY, METRICS_FILE, REPORT, IMAGES, BUFFER, MAPS, *RUN_FOLDERS, "student")

# What a folder can be of, and the file that says so.
RUN, COMPARED, STUDIED, REPORTED = "a single run", "a comparison", "a study", "an accelerator's report"
KINDS = {RUN: EXPERIMENT, COMPARED: COMPARISON, STUDIED: STUDY, REPORTED: ACCELERATOR_REPORT}
# Files that say of a folder that it is a run's, a comparison's or a saved network.
_MARKS = (EXPERIMENT, COMPARISON, ACCELERATOR_REPORT, saved_network.METADATA)
_ANOTHER = "choose another: --workdir=DIR"


@contextlib.contextmanager
def alone(workdir):
    """Makes sure that no other run uses the folder at the same time.

    Raises:
      UserError: one does.
    """
    try:
        lock = try_lock(workdir / ".lock")
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
        yield  # where nothing can be written, a finished run can still be read
        return
    if lock is None:
        raise UserError(f"another run is using the workdir {workdir}; wait for it, or choose another: --workdir=DIR")
    with lock:
        try:
            yield
        except UserError:
            if [path.name for path in workdir.iterdir()] == [".lock"]:
                (workdir / ".lock").unlink()  # nothing was done here
            raise


def check_kind(workdir, kind):
    """Raises UserError where a folder for one kind of work (of KINDS) holds another, or is a part of another."""
    for other, name in KINDS.items():
        if other != kind and (workdir / name).exists():
            raise UserError(f"the workdir {workdir} holds {other}, not {kind}; {_ANOTHER}")
    if kind != REPORTED and not (workdir / KINDS[kind]).exists():  # a report's stages are runs in its folder
        _check_of_its_own(workdir)


def _check_of_its_own(workdir):
    """Raises UserError where a folder is a network's, a part of a run's, or full of other runs or networks."""
    if (workdir / saved_network.METADATA).is_file():
        raise UserError(f"the workdir {workdir} is the folder of a saved network; {_ANOTHER}")
    if workdir.name in (*RUN_FOLDERS, "student") and (workdir.parent / EXPERIMENT).is_file():
        raise UserError(f"the workdir {workdir} is a part of the run {workdir.parent}; {_ANOTHER}")
    below = [child for child in workdir.iterdir() if child.name != "student"] if workdir.is_dir() else []
    others = sorted(child.name for child in below if any((child / mark).is_file() for mark in _MARKS))
    if others:
        raise UserError(
            f"the workdir {workdir} holds other runs or networks ({first_few(others)}), expected a folder of its "
            f"own, such as --workdir={workdir}/NAME"
        )


def check_apart(workdir, config):
    """Raises UserError where a new folder is the one in which the config's trained teachers are kept."""
    keeps = expand(config.teacher.cache_dir)
    if not config.teacher.path and not (workdir / EXPERIMENT).exists() and workdir.resolve() == keeps.resolve():
        raise UserError(f"the workdir {workdir} is where trained teachers are kept (teacher.cache_dir); {_ANOTHER}")


def check_same_teacher(workdir, teacher_sha256):
    """Raises UserError where the folder's summary is of another teacher, whose results would be replaced."""
    path = pathlib.Path(workdir) / SUMMARY
    there = read_object(path).get("teacher_sha256") if path.exists() else teacher_sha256
    if not isinstance(there, str):
        fix = "move it elsewhere and run the same command again"
        raise UserError(f"{path} is damaged: it has no teacher_sha256; {fix}")
    if there != teacher_sha256:
        raise UserError(
            f"{path} is of another teacher (sha256 {there[:12]}) than the one here ({teacher_sha256[:12]}); "
            "nothing was changed; choose another --workdir=DIR"
        )


def check_can_write(workdir):
    """Raises UserError where something that is not ours has the name of a file or folder that a run writes at its end.

    Known only then, it would cost the whole run.
    """
    check_ours(workdir / "student", saved_network.OWN)
    for name in (SUMMARY, METRICS_FILE):
        if found := in_place_of_a_file(workdir / name):
            raise UserError(f"{workdir / name} is {found}, expected a file or nothing; choose another --workdir=DIR")
    for name in (*RUN_FOLDERS, "checkpoints/latest", "checkpoints/best"):
        if (workdir / name).exists() and not (workdir / name).is_dir():
            raise UserError(
                f"{workdir / name} is a file, expected a directory or nothing; choose another --workdir=DIR"
            )
    for name in ("latest", "best"):
        check_ours(workdir / "checkpoints" / name, CHECKPOINT_LAYOUT)
    check_written_by_us(workdir, _BEGINNINGS)
    _check_not_lost(workdir)


def _check_not_lost(workdir):
    """Raises UserError where results are there, but neither the summary nor the checkpoints that go with them."""
    known = (workdir / SUMMARY).exists() or _has_checkpoint(workdir)
    results = [name for name in ("student", BUFFER) if (workdir / name).exists()]
    if results and not known:
        raise UserError(
            f"{workdir} holds {' and '.join(results)}, but neither {SUMMARY} nor a checkpoint; a run would replace "
            "them: move them elsewhere, or choose another --workdir=DIR"
        )
    # Which is made before the first line of the log is written.
    latest, log = workdir / "checkpoints" / "latest", workdir / METRICS_FILE
    if log.exists() and log.stat().st_size and not latest.exists():
        raise UserError(
            f"{workdir} holds the {METRICS_FILE} of a run, but no checkpoints/latest to go on from; a run would begin "
            f"again and replace it; nothing was changed: put {latest} back, move {log} elsewhere to begin again, or "
            "choose another --workdir=DIR"
        )


def _has_checkpoint(workdir):
    return any((pathlib.Path(workdir) / "checkpoints" / "latest").glob("[0-9]*"))


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
        summary = Summary.from_dict(content)
        _check_same_run(summary, pathlib.Path(workdir) / EXPERIMENT)
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}; move it elsewhere and run the same command again") from error
    return summary


def _check_same_run(summary, experiment):
    """Raises ValueError where a summary contradicts the experiment that it is of."""
    claimed = read_object(experiment) if experiment.exists() else {}
    for field in ("epochs", "seed"):
        there, here = claimed.get(field, getattr(summary, field)), getattr(summary, field)
        if there != here:
            raise ValueError(f"{field} is {here}, but {EXPERIMENT} says {there}")


def has_student(workdir, summary):
    """Whether the student of a finished run is there; a run without one, which is printed, makes it again.

    Raises:
      UserError: it is damaged, or something else is in its place, or it and all checkpoints are gone; nothing is
        changed.
    """
    student = pathlib.Path(workdir) / "student"
    try:
        variables, _ = saved_network.load_network(student)
        # Summaries of earlier versions do not say.
        if summary.student_sha256 in (None, sha256(variables)):
            return True
        wrong = f"{student} is another network than that of {SUMMARY}"
    except UserError as error:
        wrong = str(error).rpartition("; ")[0]  # the rest is advice for a network by itself
        if not student.exists():
            wrong = f"the student of {workdir} is missing"
            if _has_checkpoint(workdir):
                print(f"{wrong}; it is made again, from the last checkpoint", flush=True)
                return False
    place, then = student, "which makes it again from the last checkpoint"
    if not _has_checkpoint(workdir):
        wrong += ", and there is no checkpoint to make it again from"
        place, then = workdir, "which makes all of it again"
    raise UserError(
        f"{wrong}; the run is finished but for that, and nothing was changed: move {place} elsewhere and run the same "
        f"command again, {then}"
    )


def has_summary(workdir):
    """True where there is a summary of a run, damaged or not."""
    return (expand(workdir) / SUMMARY).is_file()


def write_summary(workdir, summary):
    """Writes summary.json at once or not at all."""
    write_at_once(pathlib.Path(workdir) / SUMMARY, summary.to_dict())

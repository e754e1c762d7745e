"""What results say of finished runs: numbers over the seeds of one method or variant.

Times cover the whole training, including synthesis (`clock.training_seconds`).
"""

import pathlib
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

from ssdkd_jax.errors import UserError
from ssdkd_jax.jobs.summary import Summary
from ssdkd_jax.metrics import METRICS
from ssdkd_jax.reports import comparison_table, run_files
from ssdkd_jax.reports.seed_statistics import mean_and_std
from ssdkd_jax.training.clock import training_seconds

# What belongs to every run of one teacher's alike.
_SHARED = ("dataset", "teacher", "student", "metric", "teacher_sha256", "teacher_recipe")


class Run(NamedTuple):
    """A run that came to its end.

    group: its method or variant.
    summary: Summary.
    curve: [[seconds, percent], ...] at each evaluated epoch.
    """

    group: str
    seed: int
    summary: Summary
    curve: list


def folder_of(folder, group: str, seed: int) -> pathlib.Path:
    """Where a comparison or a study keeps a run."""
    return pathlib.Path(folder) / group / f"seed{seed}"


def finished_groups(folder: pathlib.Path) -> set[str]:
    """Names of the folders in a comparison's or a study's that hold finished runs."""
    return {path.parent.parent.name for path in folder.glob(str(folder_of("", "*", "*") / run_files.SUMMARY))}


def tell_other_seeds(folder: pathlib.Path, planned, first: str) -> None:
    """Prints which seeds have finished runs of the same methods or variants that results will not show.

    Args:
      folder: the comparison's or the study's.
      planned: (name of the group's folder, seed) of every run.
      first: what chooses the first seed, in words.
    """
    groups, seeds = {group for group, _ in planned}, {seed for _, seed in planned}
    found = folder.glob(str(folder_of("", "*", "*") / run_files.SUMMARY))
    names = {path.parent.name.removeprefix("seed") for path in found if path.parent.parent.name in groups}
    others = sorted({int(name) for name in names if name.isdecimal()} - seeds)
    if others:
        print(
            f"these seeds have finished runs but are not in the table: {comparison_table.listed(others)}; --seeds=N "
            f"and {first} choose which are",
            flush=True,
        )


def unless_damaged(run, read: Callable, otherwise: Any, missing: str) -> Any:
    """What `read(run.folder)` returns; where a file there is damaged or gone, which costs results a part, `otherwise`.

    Args:
      run: `scheduling.Planned`, finished.
      read: raises UserError where it cannot.
      otherwise: returned then.
      missing: what results then lack, for the line that says so.
    """
    try:
        return read(run.folder)
    except UserError as error:
        wrong = str(error).split("; ")[0]  # the rest is advice for a run by itself
        print(
            f"{run.name}: {wrong}; the results go on without its {missing}; to have that too, move {run.folder} "
            "elsewhere and run the same command again, which makes this run again",
            flush=True,
        )
        return otherwise


def curve(metrics: list[dict], over: str = "training_seconds") -> list:
    """[[seconds of training, percent], ...] of the evaluated epochs, or over another of the metrics."""
    named = {f"student_{name}" for name in METRICS} & {name for record in metrics for name in record}
    x, y = run_files.curve(metrics, over, next(iter(named), "student_accuracy"))
    return [[round(seconds, 3), percent] for seconds, percent in zip(x, y, strict=True)]


def training_parts(seconds: dict) -> dict:
    """A summary's seconds as whole, synthesis, student (its steps) and other; see the module's first lines."""
    whole = training_seconds(seconds)
    parts = {part: seconds.get(part, 0.0) for part in ("synthesis", "student")}
    return {"whole": whole, **parts, "other": max(0.0, whole - sum(parts.values()))}


def shared_fields(runs: list[Run]) -> dict:
    """What results say once for all of their runs, at least one.

    Raises:
      UserError: the runs had different teachers.
    """
    first = runs[0]
    for run in runs:
        if run.summary.teacher_sha256 != first.summary.teacher_sha256:
            raise UserError(
                f"{run.group}, seed {run.seed} had another teacher than {first.group}, seed {first.seed}, so they "
                "cannot be compared; choose another --workdir=DIR for all of it, with one teacher"
            )
    versions = [run.summary.versions for run in runs]
    names = dict.fromkeys(name for one in versions for name in one)
    return {
        **{field: getattr(first.summary, field) for field in _SHARED},
        # Percent of the metric, as all that is called an accuracy here.
        "teacher_accuracy": first.summary.score("teacher"),
        "hardware": _all_of(run.summary.hardware for run in runs),
        "date": _all_of(sorted(run.summary.date for run in runs)),
        "versions": {name: _all_of(one.get(name, "unknown") for one in versions) for name in names},
    }


def _all_of(values):
    return "; ".join(dict.fromkeys(values))


def row_of(runs: list[Run], diverged: list[dict]) -> dict:
    """The numbers of one method or variant.

    Args:
      runs: in the order of their seeds; none is fine.
      diverged: {"seed", "message"} of each run that did.
    """
    summaries = [run.summary for run in runs]
    accuracies = [summary.score("student") for summary in summaries]
    times = [training_parts(summary.seconds) for summary in summaries]
    mean, std = mean_and_std(accuracies)
    return {
        # Whose images a baseline was given; None for a data-free method.
        "given_images": next((summary.given_images for summary in summaries if summary.given_images), None),
        "accuracies": accuracies,
        "seeds": [run.seed for run in runs],
        "mean": mean,
        "std": std,
        # Of all evaluations, which is what papers of this field report; picked with the test set.
        "best_accuracies": [summary.score("best_student") for summary in summaries],
        # Where it is more than the student that all methods train.
        "student_network": next((summary.student_network for summary in summaries if summary.student_network), None),
        "student_parameters": _largest(summaries, "student_parameters"),
        "student_steps": _largest(summaries, "student_steps"),
        "images_made": _largest(summaries, "images_made"),
        "images_kept": _largest(summaries, "images_kept"),
        "seconds": {part: statistics.mean(time[part] for time in times) for part in times[0]} if runs else None,
        "memory_bytes": _largest(summaries, "memory_bytes"),
        "differs": next((summary.differs for summary in summaries if summary.differs), ""),
        "diverged": diverged,
        "curves": [run.curve for run in runs],
    }


def _largest(summaries, field):
    return max((getattr(summary, field) for summary in summaries if getattr(summary, field) is not None), default=None)

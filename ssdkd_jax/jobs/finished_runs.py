"""What results say of finished runs: numbers over the seeds of one method or variant.

Times cover the whole training, including synthesis (`clock.training_seconds`).
"""

import pathlib
import statistics
from typing import NamedTuple

from ssdkd_jax.errors import UserError
from ssdkd_jax.jobs.summary import Summary
from ssdkd_jax.metrics import METRICS
from ssdkd_jax.reports import run_files
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
    return {
        **{field: getattr(first.summary, field) for field in _SHARED},
        # Percent of the metric, as all that is called an accuracy here.
        "teacher_accuracy": first.summary.score("teacher"),
        "hardware": _all_of(run.summary.hardware for run in runs),
        "date": _all_of(sorted(run.summary.date for run in runs)),
        "versions": {name: _all_of(one.get(name, "unknown") for one in versions) for name in versions[0]},
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

"""Several methods over several seeds with one teacher: runs what is not finished, and writes what came out so far.

Times cover the whole training, including synthesis (`clock.training_seconds`).
"""

import copy
import pathlib
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from ssdkd_jax.errors import Diverged, UserError
from ssdkd_jax.files import expand, write_together
from ssdkd_jax.jobs import config_checks, run_folder
from ssdkd_jax.jobs.schedule import fitting_warmup
from ssdkd_jax.jobs.scheduling import Planned, run_all
from ssdkd_jax.jobs.summary import Summary
from ssdkd_jax.methods import METHODS, find_method, section_of
from ssdkd_jax.reports import run_files, tables
from ssdkd_jax.reports.comparison_page import comparison_page
from ssdkd_jax.reports.seed_statistics import mean_and_std
from ssdkd_jax.training.clock import training_seconds

# What belongs to every run of a comparison alike.
_SHARED = ("dataset", "teacher", "student", "teacher_accuracy", "teacher_sha256", "teacher_recipe")


class Run(NamedTuple):
    """A run that came to its end.

    summary: Summary.
    curve: [[seconds, percent], ...] at each evaluated epoch.
    """

    method: str
    seed: int
    summary: Summary
    curve: list


def compare(config, methods: Sequence[str], seeds: int, folder, *, at_once=1, command="", interruption=False) -> dict:
    """Runs every method and seed, seed by seed, and writes comparison.json, .md and .html after each run.

    Args:
      config: ConfigDict with the fields of configs/common.py; its method and baselines are not used.
      methods: names in METHODS, in the order of the table's rows; what others left in the folder stays out of it.
      seeds: number of seeds, starting with config.seed.
      folder: takes the three files, and each run's folder METHOD/seedN; finished runs in it are not done again.
      at_once: how many runs at once, see `scheduling.run_all`.
      command: the command line, for the files.
      interruption: becomes true when the work should be saved and stopped.

    Returns:
      the comparison, as in comparison.json.

    Raises:
      UserError: anything that the user can fix; all runs diverged (one run that does is only noted).
      Interrupted: on request, after saving.
    """
    _check(config, methods, seeds)
    configs = _configs(config, methods, seeds)
    for one in configs.values():
        config_checks.check_values(one)
    print(f"epochs per method (equal student steps): {_epochs_in_words(configs)}", flush=True)
    folder = expand(folder)
    _tell_what_stays_out(configs, folder)
    return _run_all(configs, folder, at_once, command, interruption)


def _tell_what_stays_out(configs, folder):
    others = {path.parent.parent.name for path in folder.glob(str(folder_of("", "*", "*") / run_files.SUMMARY))}
    others = sorted(others - {method for method, _ in configs})
    if others:
        print(
            f"these methods have finished runs but are not in the table: {', '.join(others)}; name them in --methods",
            flush=True,
        )


def _check(config, methods, seeds):
    for name in methods:
        try:
            find_method(name)
        except UserError as error:
            raise UserError(f"--methods: {error}") from error
    repeated = sorted({name for name in methods if methods.count(name) > 1})
    if repeated:
        raise UserError(f"--methods names {', '.join(repeated)} more than once, expected each method once")
    config_checks.check_seeds(seeds)
    if config.epochs < 1 or config.evaluate_on != "test":
        raise UserError(
            f"epochs is {config.epochs} and evaluate_on is {config.evaluate_on}, but a comparison is of the accuracies "
            "of trained students: use --config.epochs=1 or more and --config.evaluate_on=test"
        )


def _configs(config, methods, seeds):
    """(name of the method, seed) -> config; all methods of one seed first, so that half a comparison is a balanced one.

    `epochs` includes the longest warm-up; other methods get fewer epochs, so that all take equally many student steps.
    The longest is that of all known methods, asked for or not, so that methods can be added later.
    """
    warmups = {method: fitting_warmup(config, method) for method in [*METHODS, *methods]}
    configs, longest = {}, max(warmups.values())
    for seed in range(config.seed, config.seed + seeds):
        for method in methods:
            one = configs[section_of(method), seed] = copy.deepcopy(config)
            epochs = config.epochs - longest + warmups[method]
            one.update(method=method, seed=seed, epochs=epochs, baselines=())
            one[section_of(method)].warmup_epochs = warmups[method]
    return configs


def _epochs_in_words(configs):
    warmups = {method: (one.epochs, one[method].warmup_epochs) for (method, _), one in configs.items()}
    return ", ".join(
        f"{method} {epochs}" + (f" ({warmup} of them warm-up)" if warmup else "")
        for method, (epochs, warmup) in warmups.items()
    )


def folder_of(folder, method: str, seed: int) -> pathlib.Path:
    """Where a comparison keeps a run."""
    return pathlib.Path(folder) / method / f"seed{seed}"


def _run_all(configs, folder, at_once, command, interruption):
    planned = [Planned(*key, one, folder_of(folder, *key)) for key, one in configs.items()]
    runs, diverged, result = [], {}, None

    def note(ended):
        nonlocal result
        for run, outcome in ended:
            if isinstance(outcome, Diverged):
                diverged[run.group, run.seed] = str(outcome)
            else:
                runs.append(Run(run.group, run.seed, outcome, curve(run_files.read_metrics(run.folder))))
        if runs:
            result = summarize(runs, diverged, configs, command)
            write(folder, result)

    run_all(planned, folder, run_folder.COMPARED, at_once, note, command=command, interruption=interruption)
    if result is None:
        raise UserError(f"all runs diverged; the first error: {next(iter(diverged.values()))}")
    print(f"{tables.markdown(result)}\nsee {folder}/comparison.html", flush=True)
    return result


def curve(metrics: list[dict]) -> list:
    """[[seconds of training, percent], ...] of the evaluated epochs."""
    x, y = run_files.curve(metrics, "training_seconds", "student_accuracy")
    return [[round(seconds, 3), percent] for seconds, percent in zip(x, y, strict=True)]


def training_parts(seconds: dict) -> dict:
    """A summary's seconds as whole, synthesis, student (its steps) and other; see the module's first lines."""
    whole = training_seconds(seconds)
    parts = {part: seconds.get(part, 0.0) for part in ("synthesis", "student")}
    return {"whole": whole, **parts, "other": max(0.0, whole - sum(parts.values()))}


def summarize(runs: list[Run], diverged: dict, planned, command: str) -> dict:
    """The comparison, as in comparison.json.

    Args:
      runs: at least one.
      diverged: (method, seed) -> message.
      planned: (method, seed) of every run, in the order of the methods.
      command: the command line.

    Raises:
      UserError: the runs had different teachers.
    """
    first = runs[0]
    for run in runs:
        if run.summary.teacher_sha256 != first.summary.teacher_sha256:
            raise UserError(
                f"{run.method}, seed {run.seed} had another teacher than {first.method}, seed {first.seed}, so they "
                "cannot be compared; choose another --workdir=DIR for the comparison, with one teacher for all of it"
            )
    versions = [run.summary.versions for run in runs]
    return {
        "kind": "comparison",
        "command": command,
        **{field: getattr(first.summary, field) for field in _SHARED},
        "epochs": max(run.summary.epochs for run in runs),
        "seeds": sorted({seed for _, seed in planned}),
        "hardware": _all_of(run.summary.hardware for run in runs),
        "date": _all_of(sorted(run.summary.date for run in runs)),
        "versions": {name: _all_of(one.get(name, "unknown") for one in versions) for name in versions[0]},
        "methods": {
            method: _row(
                sorted((run for run in runs if run.method == method), key=lambda run: run.seed),
                [{"seed": seed, "message": text} for (name, seed), text in diverged.items() if name == method],
            )
            for method in dict.fromkeys(method for method, _ in planned)
        },
    }


def _all_of(values):
    return "; ".join(dict.fromkeys(values))


def _row(runs, diverged):
    summaries = [run.summary for run in runs]
    accuracies = [summary.student_accuracy for summary in summaries]
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
        "best_accuracies": [summary.best_student_accuracy for summary in summaries],
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


def write(folder, result: dict) -> None:
    """Writes comparison.json, comparison.md and comparison.html, all of them or none."""
    folder = pathlib.Path(folder)
    shown = {
        method: folder_of(folder, method, row["seeds"][0]) for method, row in result["methods"].items() if row["seeds"]
    }
    write_together(
        {
            folder / run_files.COMPARISON: result,
            folder / "comparison.md": tables.markdown(result) + "\n",
            folder / "comparison.html": comparison_page(result, shown),
        }
    )

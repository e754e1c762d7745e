"""Runs a study: variants of one config over several seeds and one teacher, each held against the first variant."""

import copy
import os
import pathlib

import numpy as np

from ssdkd_jax.errors import Diverged, UserError
from ssdkd_jax.files import expand, write_together
from ssdkd_jax.jobs import run_folder
from ssdkd_jax.jobs.finished_runs import (
    Run,
    curve,
    finished_groups,
    folder_of,
    row_of,
    shared_fields,
    tell_other_seeds,
    unless_damaged,
)
from ssdkd_jax.jobs.scheduling import Planned, run_all
from ssdkd_jax.jobs.study import RESERVED, Study, check_study, folder_name, variant_configs, without_flags
from ssdkd_jax.outputs import check_replaces, check_results_file, check_written_by_us
from ssdkd_jax.reports import comparison_table, run_files, tables
from ssdkd_jax.reports.image_statistics import confidence_histogram, evenness
from ssdkd_jax.reports.results_files import read_result
from ssdkd_jax.reports.seed_statistics import paired_by_seed
from ssdkd_jax.reports.study_plot import study_plot

KIND, PLOT = "study", run_files.STUDY_PLOT


def run_study(study: Study, folder, out=None, *, seeds=0, only=(), at_once=1, command="", interruption=False) -> dict:
    """Runs every variant and seed, seed by seed, and writes the results after each run.

    Args:
      study: Study.
      folder: takes study.md, study.png, and each run's folder VARIANT/seedN; finished runs in it are not done again.
      out: JSON file of the results; None is study.json in the folder.
      seeds: number of seeds, starting with the config's; 0 takes the study's.
      only: names of variants to run besides the first; () is all.
      at_once: how many runs at once, see `scheduling.run_all`.
      command: the command line, for the results.
      interruption: becomes true when the work should be saved and stopped.

    Returns:
      the results, as in the JSON file.

    Raises:
      UserError: anything that the user can fix; all runs diverged (one run that does is only noted).
      Interrupted: on request, after saving.
    """
    try:
        results, out = _run(study, expand(folder), out, seeds or study.seeds, only, at_once, command, interruption)
    except UserError as error:
        raise UserError(without_flags(error)) from error
    if not results.runs:
        raise UserError(f"all runs diverged; the first error: {next(iter(results.diverged.values()))}")
    content = results.content()
    print(f"{tables.markdown(content)}\nsee {folder}/{PLOT} and {out}", flush=True)
    return content


def _run(study, folder, out, seeds, only, at_once, command, interruption):
    check_study(study, seeds)
    configs = variant_configs(study, only)
    planned = [
        Planned(name, seed, _with_seed(config, seed), folder_of(folder, folder_name(name), seed))
        for seed in range(study.config.seed, study.config.seed + seeds)
        for name, config in configs.items()
    ]
    out = _results_file(out, folder)
    _check_place(out, folder, planned)
    _check_keeps_results(out, study, planned)
    results = Results(study, planned, command, at_once)
    check_can_write(folder)
    _tell_what_stays_out(study, configs, folder)
    tell_other_seeds(folder, [(folder_name(run.group), run.seed) for run in planned], "the study's seed")

    def note(ended):
        results.add(ended)
        if results.runs:
            write(folder, out, results.content())

    run_all(planned, folder, run_folder.STUDIED, at_once, note, command=command, interruption=interruption)
    return results, out


def _results_file(out, folder):
    """Where the results go, which holds nothing else."""
    if out:
        return check_results_file(out, KIND)
    out = folder / run_files.STUDY_RESULTS
    check_replaces(out, KIND, "choose another: --out=FILE.json")
    return out


def _check_place(out, folder, planned):
    """Raises UserError where the results would be in the place of something else of the study's."""
    real = pathlib.Path(os.path.realpath(folder))
    within = next((run for run in planned if out.is_relative_to(os.path.realpath(run.folder.parent))), None)
    wrong = ""
    if real.is_relative_to(out):
        wrong = f"is at or above the study's folder {real}"
    elif out.parent == real and out.name in RESERVED:
        wrong = "would have the name of a file that says what a folder is of"
    elif within:
        wrong = f"is in or at the folder of the variant {within.group}"
    if wrong:
        raise UserError(f"--out={out} {wrong}; choose another: --out=FILE.json")


def _check_keeps_results(out, study, planned):
    """Raises UserError where the file of results has some of other runs than those planned, which would be lost."""
    fix = "choose another: --out=FILE.json"
    found = read_result(out, fix) if out.exists() else {}
    measured = {name: seeds for name, row in found.get("variants", {}).items() if (seeds := _measured_seeds(row))}
    dataset = study.config.dataset
    others = [f"the data set {found['dataset']}"] if found.get("dataset", dataset) != dataset else []
    others += [f"the variant {name!r}" for name in measured if name not in {run.group for run in planned}]
    seeds = set().union(*measured.values()) - {run.seed for run in planned}
    others += [f"seed {seed}" for seed in sorted(seeds)]
    if others:
        raise UserError(f"{out} has results of {others[0]}, which this command does not make and would remove; {fix}")


def _measured_seeds(row):
    """Seeds of a variant's runs that have ended; none where the study was stopped before."""
    return {*row["seeds"], *(run["seed"] for run in row["diverged"])}


def check_can_write(folder: pathlib.Path) -> None:
    """Raises UserError where a file in the folder has the name of one of a study's, but is none."""
    check_written_by_us(folder, {run_files.STUDY: r"\| variant \|", PLOT: r"\ufffdPNG"})
    if (folder / PLOT).exists() and not (folder / run_files.STUDY).exists():  # which are written together
        raise UserError(
            f"{folder / PLOT} is without its {run_files.STUDY}, and would be replaced; nothing was written: move it "
            "elsewhere, or choose another --workdir=DIR"
        )


def _tell_what_stays_out(study, configs, folder):
    finished = finished_groups(folder)
    others = [name for name in study.variants if name not in configs and folder_name(name) in finished]
    if others:
        print(
            f"these variants have finished runs but are not in the table: {', '.join(others)}; name them in --only",
            flush=True,
        )


def _with_seed(config, seed):
    config = copy.deepcopy(config)
    config.seed = seed
    return config


class Results:
    """What came out so far.

    runs: {(variant, seed): Run}.
    diverged: {(variant, seed): message}.
    """

    def __init__(self, study: Study, planned: list[Planned], command: str, at_once: int):
        self.runs, self.diverged = {}, {}
        self._study, self._planned, self._command, self._at_once = study, planned, command, at_once
        self._step_curves, self._images = {}, {}

    def add(self, ended) -> None:
        """`ended`: as of `scheduling.run_all`."""
        for run, outcome in ended:
            key = run.group, run.seed
            if isinstance(outcome, Diverged):
                self.diverged[key] = str(outcome)
                continue
            metrics = unless_damaged(run, run_files.read_metrics, [], "curve")
            self.runs[key] = Run(*key, outcome, comparison_table.thin(curve(metrics)))
            self._step_curves[key] = comparison_table.thin(curve(metrics, "student_steps"))
            self._images[key] = unless_damaged(run, image_numbers, None, "images' numbers")

    def content(self) -> dict:
        """The results, of at least one run."""
        names = dict.fromkeys(run.group for run in self._planned)
        first = next(iter(names))
        return {
            "kind": KIND,
            "command": self._command,
            **shared_fields(list(self.runs.values())),
            "seeds": sorted({run.seed for run in self._planned}),
            "runs_at_once": self._at_once,
            "variants": {name: {**self._row(name), "paired": self._paired(name, first)} for name in names},
        }

    def _row(self, name):
        keys = sorted(key for key in self.runs if key[0] == name)
        diverged = [{"seed": seed, "message": text} for (one, seed), text in self.diverged.items() if one == name]
        summaries = [self.runs[key].summary for key in keys]
        return {
            "fields": self._study.variants[name],
            "method": next((summary.method for summary in summaries), None),
            "epochs": next((summary.epochs for summary in summaries), None),
            **row_of([self.runs[key] for key in keys], diverged),
            "step_curves": [self._step_curves[key] for key in keys],
            "images": [self._images[key] for key in keys],
        }

    def _paired(self, name, first):
        """Differences from the first variant on the seeds of both; None for itself, and where there are none."""
        if name == first:
            return None
        scores = {name: {}, first: {}}
        for (variant, seed), run in self.runs.items():
            if variant in scores:
                scores[variant][seed] = run.summary.score("student")
        return paired_by_seed(scores[name], scores[first])


def image_numbers(workdir: pathlib.Path) -> dict | None:
    """How a run's images (`run_files.image_source`) spread over the teacher's classes and confidence, in percent.

    Returns:
      {"source", "class_shares" (C,), "class_entropy" in [0, 1], "confidence_histogram" (10,)} and, where draws are
      counted, "draws_per_entry" (11,): the fewest draws of an entry, the deciles between, and the most; None without
      images.
    """
    buffer = run_files.read_buffer(workdir)
    if buffer is None or not len(buffer.images):
        return None
    shares = buffer.class_percent()[0]
    draws = None if buffer.draws is None else np.percentile(buffer.draws, range(0, 101, 10)).round(1).tolist()
    return {
        "source": run_files.image_source(run_files.read_summary(workdir)),
        "class_shares": shares.round(3).tolist(),
        "class_entropy": round(evenness(shares), 5),
        "confidence_histogram": confidence_histogram(buffer.confidence).round(3).tolist(),
        **({} if draws is None else {"draws_per_entry": draws}),
    }


def write(folder, out, content: dict) -> None:
    """Writes the JSON file, study.md and study.png, all of them or none."""
    metric = run_files.metric_of(content).words
    write_together(
        {
            out: content,
            folder / run_files.STUDY: f"{tables.markdown(content)}\n\n![{metric} over time]({PLOT})\n",
            folder / PLOT: study_plot(content),
        }
    )

"""Several methods over several seeds with one teacher: runs what is not finished, and writes what came out so far."""

import copy
import itertools
import pathlib
import shlex
from collections.abc import Sequence

from ssdkd_jax.errors import Diverged, UserError
from ssdkd_jax.files import expand, read_object, write_together
from ssdkd_jax.jobs import config_checks, experiment, run_folder
from ssdkd_jax.jobs.compared_epochs import Schedule, epochs_that_give, schedules
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
from ssdkd_jax.jobs.networks import add_section
from ssdkd_jax.jobs.scheduling import Planned, run_all
from ssdkd_jax.methods import find_method, section_of
from ssdkd_jax.outputs import check_written_by_us
from ssdkd_jax.reports import run_files, tables
from ssdkd_jax.reports.comparison_page import comparison_page

# How what is written next to comparison.json begins.
_BEGINNINGS = {"comparison.md": r"\| method \|", "comparison.html": r"<!DOCTYPE html>.*<title>\d+ methods compared: "}


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
    config_checks.check_fields(config)
    _check(config, methods, seeds)
    for one in _configs(config, methods, 1).values():  # the others differ in their seeds
        config_checks.check_values(one)
    configs = _configs(config, methods, seeds)
    print(f"epochs per method (equally many of them with student steps): {_epochs_in_words(configs)}", flush=True)
    folder = expand(folder)
    check_can_write(folder)
    _check_places(configs, folder)
    _check_epochs(config, configs, folder)
    _tell_what_stays_out(configs, folder)
    tell_other_seeds(folder, configs, "--config.seed=N")
    return _run_all(configs, folder, at_once, command, interruption)


def check_can_write(folder: pathlib.Path) -> None:
    """Raises UserError where a file in the folder has the name of one of a comparison's, but is none."""
    path, fix = folder / run_files.COMPARISON, "nothing was written: move it elsewhere, or choose another --workdir=DIR"
    if path.exists():
        found = run_files.with_current_names(read_object(path, fix))
        # Those of earlier versions do not say their kind.
        if found.get("kind", "comparison") != "comparison" or not {"command", "methods", "seeds"} <= found.keys():
            raise UserError(f"{path} is no comparison, and would be replaced; {fix}")
    check_written_by_us(folder, _BEGINNINGS)


def _tell_what_stays_out(configs, folder):
    others = sorted(finished_groups(folder) - {method for method, _ in configs})
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
    # By their sections, which a user's own method has in common with itself under another path.
    config_checks.check_once("--methods", list(map(section_of, methods)), "method")
    for one, other in itertools.combinations(methods, 2):
        if (
            find_method(one).method is find_method(other).method
            and config[section_of(one)] == config[section_of(other)]
        ):
            raise UserError(f"--methods names {one} and {other}, which are the same with this config; name one of them")
    config_checks.check_seeds(seeds, first=config.seed)
    if config.epochs < 1 or config.evaluate_on != "test":
        raise UserError(
            f"epochs is {config.epochs} and evaluate_on is {config.evaluate_on}, but a comparison is of the accuracies "
            "of trained students: use --config.epochs=1 or more and --config.evaluate_on=test"
        )


def _configs(config, methods, seeds):
    """(name of the method, seed) -> config; all methods of one seed first, so that half a comparison is a balanced one.

    With the epochs of `compared_epochs`.
    """
    configs, planned = {}, schedules(config, methods)
    for seed in range(config.seed, config.seed + seeds):
        for method in methods:
            one = configs[section_of(method), seed] = copy.deepcopy(config)
            one.update(method=method, seed=seed, epochs=planned[method].epochs, baselines=())
            add_section(one, method)
            one[section_of(method)].warmup_epochs = planned[method].warmup
    return configs


def _check_places(configs, folder):
    """Raises UserError where a run in the folder is of another method or seed than its place, or has baselines.

    A run by itself would ask for flags that a comparison refuses, or that choose another place.
    """
    for (method, seed), one in configs.items():
        place = folder_of(folder, method, seed)
        there = experiment.noted(place)
        wrong = next((name for name in ("method", "seed", "baselines") if _differs(there, one, name)), None)
        if wrong is not None:
            here = list(one.baselines) if wrong == "baselines" else one[wrong]
            raise UserError(
                f"{method}, seed {seed}: the workdir {place} belongs to another experiment: {wrong} is "
                f"{there[wrong]!r} there and {here!r} here; choose another --workdir=DIR, or "
                f"{_other_place(there, place, folder)}"
            )


def _differs(there, config, name):
    if name not in there:  # of which `experiment.claim` tells
        return False
    if name == "method":
        return experiment.with_whole_paths(there[name]) != experiment.with_whole_paths(config.method)
    return there[name] != (list(config.baselines) if name == "baselines" else config[name])


def _other_place(there, place, folder):
    """What to do about a run that is not of its place in a comparison, in words."""
    method, seed = there.get("method"), there.get("seed")
    if there.get("baselines") or not isinstance(method, str) or not isinstance(seed, int):
        return f"move {place} elsewhere, and a run of the comparison's is made in its place"
    own = folder_of(folder, section_of(method), seed)
    flags = shlex.join([f"--methods={method}", f"--config.seed={seed}", "--seeds=1"])
    if own == place:
        return f"repeat its settings: {flags}"
    if own.exists():
        return f"move {place} elsewhere, since there is a run of its method and seed: {flags}"
    return f"move it to {own}, where {flags} finds it"


def _check_epochs(config, configs, folder):
    """Raises UserError where runs in the folder have other epochs, with the --config.epochs that gave them theirs.

    A run by itself would name its own number, from which that of the comparison differs.
    """
    planned = {key: Schedule(one.epochs, one[key[0]].warmup_epochs) for key, one in configs.items()}
    noted = {key: there for key in configs if (there := _noted_schedule(folder_of(folder, *key), key[0]))}
    key = next((key for key, there in noted.items() if there.epochs != planned[key].epochs), None)
    if key is None:
        return
    epochs = epochs_that_give(config, [(configs[run].method, there) for run, there in noted.items()])
    # Without such a number the warm-ups are others too.
    repeat = f" --config.epochs={epochs}" if epochs is not None else _warmups_to_repeat(planned, noted)
    raise UserError(
        f"{key[0]}, seed {key[1]}: the workdir {folder_of(folder, *key)} belongs to another experiment: epochs is "
        f"{noted[key].epochs} there and {planned[key].epochs} here; a run's schedule is planned for all its epochs; "
        "choose another --workdir=DIR" + (f", or repeat the comparison's settings:{repeat}" if repeat else "")
    )


def _warmups_to_repeat(planned, noted):
    flags = [
        f" --config.{run[0]}.warmup_epochs={noted[run].warmup}"
        for run in noted
        if noted[run].warmup != planned[run].warmup
    ]
    return "".join(dict.fromkeys(flags))


def _noted_schedule(folder, method):
    """The Schedule that a run's folder has noted; None where it has not, of which `experiment.claim` tells."""
    there = experiment.noted(folder)
    section = there.get(method)
    found = there.get("epochs"), section.get("warmup_epochs") if isinstance(section, dict) else None
    return Schedule(*found) if all(isinstance(number, int) for number in found) else None


def _epochs_in_words(configs):
    warmups = {method: (one.epochs, one[method].warmup_epochs) for (method, _), one in configs.items()}
    return ", ".join(
        f"{method} {epochs}" + (f" ({warmup} of them warm-up)" if warmup else "")
        for method, (epochs, warmup) in warmups.items()
    )


def _run_all(configs, folder, at_once, command, interruption):
    planned = [Planned(*key, one, folder_of(folder, *key)) for key, one in configs.items()]
    runs, diverged, without_images, result = [], {}, set(), None

    def note(ended):
        nonlocal result
        for run, outcome in ended:
            if isinstance(outcome, Diverged):
                diverged[run.group, run.seed] = str(outcome)
                continue
            metrics = unless_damaged(run, run_files.read_metrics, [], "curve")
            runs.append(Run(run.group, run.seed, outcome, curve(metrics)))
            if not unless_damaged(run, _can_show, False, "images"):
                without_images.add(run.folder)
        if runs:
            result = summarize(runs, diverged, configs, command)
            write(folder, result, without_images)

    run_all(planned, folder, run_folder.COMPARED, at_once, note, command=command, interruption=interruption)
    if result is None:
        raise UserError(f"all runs diverged; the first error: {next(iter(diverged.values()))}")
    print(f"{tables.markdown(result)}\nsee {folder}/comparison.html", flush=True)
    return result


def _can_show(folder):
    """True, or UserError where the run's images are damaged; having none is fine."""
    run_files.read_buffer(folder)
    return True


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
    return {
        "kind": "comparison",
        "command": command,
        **shared_fields(runs),
        "epochs": max(run.summary.epochs for run in runs),
        "seeds": sorted({seed for _, seed in planned}),
        "methods": {
            method: row_of(
                sorted((run for run in runs if run.group == method), key=lambda run: run.seed),
                [{"seed": seed, "message": text} for (name, seed), text in diverged.items() if name == method],
            )
            for method in dict.fromkeys(method for method, _ in planned)
        },
    }


def write(folder, result: dict, without_images=frozenset()) -> None:
    """Writes comparison.json, comparison.md and comparison.html, all of them or none.

    Args:
      folder: takes the files.
      result: as `summarize` returns.
      without_images: folders of runs whose images cannot be read; those of another seed are shown.
    """
    folder = pathlib.Path(folder)
    shown = {}
    for method, row in result["methods"].items():
        for run in (folder_of(folder, method, seed) for seed in row["seeds"]):
            if run not in without_images:
                shown.setdefault(method, run)
    write_together(
        {
            folder / run_files.COMPARISON: result,
            folder / "comparison.md": tables.markdown(result) + "\n",
            folder / "comparison.html": comparison_page(result, shown),
        }
    )

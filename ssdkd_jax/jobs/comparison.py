"""Several methods over several seeds with one teacher: runs what is not finished, and writes what came out so far."""

import copy
import pathlib
from collections.abc import Sequence

from ssdkd_jax.errors import Diverged, UserError
from ssdkd_jax.files import expand, write_together
from ssdkd_jax.jobs import config_checks, run_folder
from ssdkd_jax.jobs.finished_runs import Run, curve, finished_groups, folder_of, row_of, shared_fields
from ssdkd_jax.jobs.schedule import fitting_warmup
from ssdkd_jax.jobs.scheduling import Planned, run_all
from ssdkd_jax.methods import METHODS, find_method, section_of
from ssdkd_jax.reports import run_files, tables
from ssdkd_jax.reports.comparison_page import comparison_page


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
    configs = _configs(config, methods, seeds)
    for one in configs.values():
        config_checks.check_values(one)
    print(f"epochs per method (equal student steps): {_epochs_in_words(configs)}", flush=True)
    folder = expand(folder)
    _tell_what_stays_out(configs, folder)
    return _run_all(configs, folder, at_once, command, interruption)


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

    `epochs` includes the longest warm-up of data-free methods; others get fewer epochs, or more, so that all take
    equally many student steps.  The longest is that of all known ones, asked for or not, so that methods can be added
    later.
    """
    warmups = {method: fitting_warmup(config, method) for method in [*METHODS, *methods]}
    data_free = [method for method in METHODS if not find_method(method).method.given]
    configs, longest = {}, max(warmups[method] for method in data_free)
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

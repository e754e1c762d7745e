"""SSD-KD with its switches changed one by one, over several seeds: the paper's table 4 and more."""

import copy
import pathlib
import statistics

import jax

from ssdkd_jax import data
from ssdkd_jax.errors import UserError
from ssdkd_jax.files import check_results_file, write_at_once
from ssdkd_jax.jobs.config_checks import check_seeds
from ssdkd_jax.jobs.run import run_job
from ssdkd_jax.reports.seed_statistics import mean_and_std, twice_standard_error
from ssdkd_jax.training.progress import RunCounter

KIND, DEFAULT = "ablation", "default"
# What the results file says of all runs alike.
_SHARED = ("method", "dataset", "teacher", "student", "teacher_accuracy", "epochs", "hardware", "date", "versions")


def variants(training_images, synthesis_batch_size):
    """name -> changed `ssdkd` fields: both parts of phi, priority sampling, replacement rule, buffer size."""
    no_priority = {"alpha": 0.0, "beta_start": 0.0, "beta_end": 0.0}
    changes = {
        DEFAULT: {},
        "no diversity part": {"use_diversity": False},
        "no difficulty part": {"use_difficulty": False},
        "no phi": {"modulated_term": "none"},
        "phi on both terms": {"modulated_term": "both"},
        "uniform sampling": no_priority,
        "no phi and uniform sampling": {"modulated_term": "none", **no_priority},
        "no importance weights": {"beta_start": 0.0, "beta_end": 0.0},
        "importance weights over the batch's largest": {"weight_normalization": "batch"},
        "importance weights over the buffer's largest": {"weight_normalization": "buffer"},
        "drawn targets": {"targets": "drawn"},
    }
    for rule in ("lowest_priority", "oldest", "lowest_phi", "random"):
        changes[f"replace {rule.replace('_', ' ')}"] = {"replacement": rule}
    for percent in (1, 5, 10, 20):
        size = round(training_images * percent / 100)
        changes[f"buffer {percent} %"] = {
            "buffer_size": size,
            "synthesis_batch_size": min(synthesis_batch_size, size),
        }
    return changes


def ablate(config, seeds, folder, out, *, only=(), command="", interruption=False):
    """Runs every variant and seed, and writes the results after each variant.

    Args:
      config: ConfigDict with the fields of configs/common.py.
      seeds: how many, from the config's own on.
      folder: takes each run's folder VARIANT/SEED; finished runs in it are not done again.
      out: JSON file of the results.
      only: names of variants; () is all.
      command: the command line, for the file.
      interruption: becomes true when the work should be saved and stopped.

    Raises:
      UserError: anything that the user can fix.
      Interrupted: on request, after saving.
    """
    changes = _changes(config, seeds, only)
    out = check_results_file(out, KIND)
    accuracies, summaries, counter = {}, [], RunCounter(len(changes) * seeds)
    for name, change in changes.items():
        for seed in range(config.seed, config.seed + seeds):
            one = copy.deepcopy(config)
            one.update(seed=seed, baselines=())
            one.ssdkd.update(change)
            print(f"== {name}, seed {seed}: {counter.next()}", flush=True)
            place = pathlib.Path(folder) / _folder_name(name) / str(seed)
            summaries.append(run_job(one, place, command=command, interruption=interruption))
            # Some forty runs' compiled programs are more memory maps than Linux gives to one process.
            jax.clear_caches()
            accuracies.setdefault(name, []).append(summaries[-1].student_accuracy)
        results = _results(command, summaries, accuracies)
        write_at_once(out, results)
        row = results["variants"][name]
        print(f"{name:28s} {row['mean']:.2f} +- {row['std']:.2f}", flush=True)


def _changes(config, seeds, only):
    """name -> changed fields of the variants to run."""
    if config.method != "ssdkd":
        raise UserError(f"method is {config.method}, but an ablation is of ssdkd: --config.method=ssdkd")
    check_seeds(seeds, least=2)
    if config.epochs < 1 or config.evaluate_on != "test":
        raise UserError(
            "an ablation compares accuracies of trained students: use epochs of 1 or more, evaluate_on=test"
        )
    info = data.dataset_info(config.dataset, config.data_dir or None, image_size=config.image_size or None)
    changes = variants(info.sizes["train"], config.ssdkd.synthesis_batch_size)
    # Of the replacement rules and buffer sizes, one is the config's own.
    changes = {
        name: change
        for name, change in changes.items()
        if name == DEFAULT or any(config.ssdkd[field] != value for field, value in change.items())
    }
    unknown = set(only) - set(changes)
    if unknown:
        raise UserError(f"unknown variants {', '.join(sorted(unknown))}; known are: {', '.join(changes)}")
    return {name: change for name, change in changes.items() if not only or name in only or name == DEFAULT}


def summarize(accuracies):
    """name -> mean, standard deviation, and whether the difference from the default exceeds the noise.

    The noise is twice the standard error of a difference of two means (Welch); with few seeds that is a rough guide.
    """
    rows, default = {}, accuracies[DEFAULT]
    for name, values in accuracies.items():
        mean, std = mean_and_std(values)
        difference, noise = mean - mean_and_std(default)[0], twice_standard_error(values, default)
        rows[name] = {
            "accuracies": values,
            "mean": mean,
            "std": std,
            "difference": difference,
            "noise": noise,
            "exceeds_noise": name != DEFAULT and abs(difference) > noise,
        }
    return rows


def _folder_name(name):
    return name.replace(" ", "_").replace("%", "percent").replace("'", "")


def _results(command, summaries, accuracies):
    first = summaries[0]
    parts = first.seconds
    return {
        "kind": KIND,
        "command": command,
        **{field: getattr(first, field) for field in _SHARED},
        "images_kept": first.images_kept,
        "seconds": {part: statistics.mean(one.seconds.get(part, 0.0) for one in summaries) for part in parts},
        "variants": summarize(accuracies),
    }

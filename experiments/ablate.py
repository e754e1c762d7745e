"""Runs a config with its switches changed one by one, over several seeds: the paper's table 4 and more.

    python -m experiments.ablate --config=configs/digits.py --seeds=5 --workdir=runs/ablation_digits \\
        --out=results/digits_ablation.json

Finished runs in the workdir are reused, so an interrupted ablation goes on where it stopped.
"""

import copy
import json
import pathlib
import statistics

from absl import flags
from ml_collections import config_flags

from experiments.command_line import launch

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file("config", None, "Config file of the runs.")
flags.DEFINE_integer("seeds", 3, "How many seeds, from the config's own on.")
flags.DEFINE_string("workdir", None, "Folder of all runs, one below it each.")
flags.DEFINE_string("out", None, "JSON file with the results.")
flags.DEFINE_list("only", [], "Names of variants to run; all by default.")

DEFAULT = "default"


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


def summarize(accuracies):
    """name -> mean, standard deviation, and whether the difference from the default exceeds the noise.

    The noise is twice the standard error of a difference of two means (Welch); with few seeds that is a rough guide.
    """
    rows, default = {}, accuracies[DEFAULT]
    for name, values in accuracies.items():
        row = {"accuracies": values, "mean": statistics.mean(values), "std": _std(values)}
        row["difference"] = row["mean"] - statistics.mean(default)
        row["noise"] = 2 * (_std(values) ** 2 / len(values) + _std(default) ** 2 / len(default)) ** 0.5
        row["exceeds_noise"] = name != DEFAULT and abs(row["difference"]) > row["noise"]
        rows[name] = row
    return rows


def _std(values):
    return statistics.stdev(values) if len(values) > 1 else 0.0


def main(command, interruption):
    """Runs every variant and seed, and writes the results after each."""
    import jax

    from ssdkd_jax import data
    from ssdkd_jax.errors import UserError
    from ssdkd_jax.jobs import run_folder
    from ssdkd_jax.jobs.run import run_job

    base = FLAGS.config
    base.baselines = ()
    if FLAGS.seeds < 1:
        raise UserError(f"--seeds is {FLAGS.seeds}, expected at least 1")
    if base.epochs < 1 or base.evaluate_on != "test":
        raise UserError(
            "an ablation compares accuracies of trained students: use epochs of 1 or more, evaluate_on=test"
        )
    run_folder.make(pathlib.Path(FLAGS.out).parent, "--out")
    info = data.dataset_info(base.dataset, base.data_dir or None, image_size=base.image_size or None)
    changes = variants(info.sizes["train"], base.ssdkd.synthesis_batch_size)
    changes = {name: change for name, change in changes.items() if name == DEFAULT or _differs(base.ssdkd, change)}
    unknown = set(FLAGS.only) - set(changes)
    if unknown:
        raise UserError(f"unknown variants {', '.join(sorted(unknown))}; known are: {', '.join(changes)}")

    accuracies, summaries = {}, []
    for name, change in changes.items():
        if FLAGS.only and name not in FLAGS.only and name != DEFAULT:
            continue
        for seed in range(base.seed, base.seed + FLAGS.seeds):
            config = copy.deepcopy(base)
            config.seed = seed
            config.ssdkd.update(change)
            folder = pathlib.Path(FLAGS.workdir) / _folder_name(name) / str(seed)
            print(f"== {name}, seed {seed}", flush=True)
            summary = run_job(config, folder, command=command, interruption=interruption)
            # Some forty runs' compiled programs are more memory maps than Linux gives to one process.
            jax.clear_caches()
            accuracies.setdefault(name, []).append(summary["student_accuracy"])
            summaries.append(summary)
        _write(command, summaries, accuracies)


def _differs(defaults, change):
    """Whether a change is one: of the replacement rules and buffer sizes, one is the config's own."""
    return any(defaults[field] != value for field, value in change.items())


def _folder_name(name):
    return name.replace(" ", "_").replace("%", "percent").replace("'", "")


def _write(command, summaries, accuracies):
    first = summaries[0]
    kept = ("method", "dataset", "teacher", "student", "teacher_accuracy", "epochs", "hardware", "date", "versions")
    results = {
        "kind": "ablation",
        "command": command,
        **{field: first[field] for field in kept},
        "synthetic_images": first["synthetic_images"],
        "seconds": {part: statistics.mean(s["seconds"].get(part, 0.0) for s in summaries) for part in first["seconds"]},
        "variants": summarize(accuracies),
    }
    path = pathlib.Path(FLAGS.out)
    path.write_text(json.dumps(results, indent=1) + "\n")
    for name, row in results["variants"].items():
        print(f"{name:28s} {row['mean']:.2f} +- {row['std']:.2f}", flush=True)


if __name__ == "__main__":
    launch(
        main,
        required=("config", "workdir", "out"),
        example="--config=configs/digits.py --seeds=5 --workdir=runs/ablation --out=results/digits_ablation.json",
    )

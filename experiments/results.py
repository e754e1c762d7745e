"""Keeps results of runs under results/, and makes the README's tables from them.

python -m experiments.results --record=runs/cifar10 --name=cifar10_resnet34_resnet18
python -m experiments.results --record=runs/compare_cifar10 --name=cifar10_comparison
python -m experiments.results --readme=README.md
"""

import json
import pathlib

from absl import flags

from experiments.command_line import launch

FLAGS = flags.FLAGS
flags.DEFINE_string("record", "", "Workdir of a finished run or a comparison, to keep as results/NAME.json.")
flags.DEFINE_string("name", "", "Name for --record.")
flags.DEFINE_string("readme", "", "File whose tables are made anew.")
flags.DEFINE_string("results", "results", "Folder of the JSON files.")

PARTS = ("synthesis", "student", "evaluation", "checkpoint", "host")


def record(workdir, path):
    """Writes a finished run's summary and its curve of evaluated epochs, or a comparison with short curves."""
    from ssdkd_jax.errors import UserError
    from ssdkd_jax.jobs.run_folder import COMPARISON, read_object, read_summary
    from ssdkd_jax.reports import tables

    comparison = pathlib.Path(workdir) / COMPARISON
    if comparison.exists():
        path.write_text(json.dumps(tables.thinned(read_object(comparison)), indent=1) + "\n")
        return
    summary = read_summary(workdir)
    if summary is None:
        raise UserError(
            f"{workdir} holds neither a finished run nor a comparison; finish it, or name another workdir: --record=DIR"
        )
    lines = [json.loads(line) for line in (pathlib.Path(workdir) / "metrics.jsonl").read_text().splitlines()]
    fields = ("epoch", "seconds", "student_accuracy", "student_agreement", "buffer_size")
    evaluated = [line for line in lines if "student_accuracy" in line or "student_agreement" in line]
    curve = [{field: line[field] for field in fields if field in line} for line in evaluated]
    path.write_text(json.dumps({"kind": "run", **summary.to_dict(), "curve": curve}, indent=1) + "\n")


def table(result):
    """The Markdown table of one result, with the command, the hardware and the date below it."""
    from ssdkd_jax.reports import tables
    from ssdkd_jax.reports.run_files import with_current_names

    result = with_current_names(result)

    if result["kind"] == "comparison":
        return tables.markdown(result)
    tables = {
        "run": _run_table,
        "ablation": _ablation_table,
        "exactness": _exactness_table,
        "buffer_benchmark": _benchmark_table,
    }
    lines = tables[result["kind"]](result)
    return "\n".join([*lines, "", f"`{result['command']}`, {result['hardware']}, {result['date']}."])


def time_table(results):
    """Where the time of runs goes, in percent of their distillation."""
    from ssdkd_jax.reports.run_files import with_current_names

    results = [with_current_names(result) for result in results]
    lines = ["| run | " + " | ".join(PARTS) + " |", "|---" * (len(PARTS) + 1) + "|"]
    for result in results:
        whole = sum(result["seconds"].get(part, 0.0) for part in PARTS)
        shares = " | ".join(f"{100 * result['seconds'].get(part, 0.0) / whole:.1f} %" for part in PARTS)
        lines.append(f"| {result['dataset']} ({whole:.0f} s) | {shares} |")
    return "\n".join(lines)


def _run_table(result):
    if result["student_accuracy"] is None:
        accuracies = [
            ("teacher", result["teacher"]),
            ("student", f"{result['student']}, agrees with the teacher on {result['student_agreement']:.2f} %"),
        ]
    else:
        accuracies = [
            ("teacher", f"{result['teacher']}, {result['teacher_accuracy']:.2f} %"),
            ("student", f"{result['student']}, {result['student_accuracy']:.2f} %"),
            ("best student on the test set (not the result)", f"{result['best_student_accuracy']:.2f} %"),
        ]
    rows = [
        *accuracies,
        *((name, f"{value:.2f} %") for name, value in result.get("baselines", {}).items()),
        ("images", _images(result)),
        ("epochs, seed", f"{result['epochs']}, {result['seed']}"),
        ("seconds", _seconds(result)),
    ]
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]


def _images(result):
    if result.get("given_images"):
        return f"given: {result['given_images']}"
    if result["images_kept"] or "images_made" not in result:
        return f"{result['images_kept']:,} synthetic ones"
    return f"{result['synthesized_images']:,} synthetic ones, none of them kept"


def _seconds(result):
    parts = ", ".join(f"{part} {result['seconds'][part]:.0f}" for part in PARTS if part in result["seconds"])
    return f"{result['seconds']['total']:.0f} ({parts})"


def _ablation_table(result):
    lines = ["| variant | accuracy | difference | more than noise |", "|---|---|---|---|"]
    for name, row in result["variants"].items():
        if name == "default":
            difference, verdict = "", ""
        else:
            difference, verdict = f"{row['difference']:+.2f}", "**yes**" if row["exceeds_noise"] else "no"
        lines.append(f"| {name} | {row['mean']:.2f} ± {row['std']:.2f} | {difference} | {verdict} |")
    count = len(result["variants"]["default"]["accuracies"])
    lines += ["", f"{count} seeds; teacher {result['teacher']} {result['teacher_accuracy']:.2f} %."]
    return lines


def _exactness_table(result):
    lines = ["| network | parameters | PyTorch → ours | ours → PyTorch | round trip exact |", "|---|---|---|---|---|"]
    for name, row in result["networks"].items():
        exact = "yes" if row["round_trip_exact"] else "**no**"
        lines.append(f"| {name} | {row['parameters']:,} | {row['in']:.0e} | {row['out']:.0e} | {exact} |")
    lines += ["", "| public checkpoint, CIFAR-10 test images | here | exported, in PyTorch |", "|---|---|---|"]
    for name, row in result["checkpoints"].items():
        lines.append(f"| {name} ({row['architecture']}) | {row['here']:.2f} % | {row['exported']:.2f} % |")
    return lines


def _benchmark_table(result):
    times = result["milliseconds"].items()
    return ["| | milliseconds |", "|---|---|", *(f"| {name} | {value:.2f} |" for name, value in times)]


def fill(text, results):
    """Replaces what stands between `<!-- results:NAME -->` and `<!-- end -->` with NAME's table."""
    from ssdkd_jax.errors import UserError

    parts = text.split("<!-- results:")
    for i, part in enumerate(parts[1:], start=1):
        name, _, rest = part.partition(" -->")
        _, end, after = rest.partition("<!-- end -->")
        if not end:
            raise UserError(f"there is no <!-- end --> behind <!-- results:{name} -->; close it")
        is_time = name.startswith("time ")
        names = name.split()[1:] if is_time else [name]
        unknown = [one for one in names if one not in results]
        if unknown:
            raise UserError(f"there is no results file {unknown[0]}.json; known are: {', '.join(sorted(results))}")
        made = time_table([results[one] for one in names]) if is_time else table(results[name])
        parts[i] = f"{name} -->\n{made}\n<!-- end -->{after}"
    return "<!-- results:".join(parts)


def load(folder):
    """name -> parsed JSON of every file in the folder."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(pathlib.Path(folder).glob("*.json"))}


def main(command, interruption):
    """Records a run and/or renews the tables."""
    from ssdkd_jax.errors import UserError

    del command, interruption
    if not FLAGS.record and not FLAGS.readme:
        raise UserError("nothing to do; give --record=WORKDIR, --readme=FILE or both")
    if FLAGS.readme and not pathlib.Path(FLAGS.readme).is_file():
        raise UserError(f"there is no file {FLAGS.readme}; give an existing one with --readme=FILE")
    if FLAGS.record:
        path = pathlib.Path(FLAGS.results) / f"{FLAGS.name or pathlib.Path(FLAGS.record).name}.json"
        record(FLAGS.record, path)
        print(path)
    if FLAGS.readme:
        readme = pathlib.Path(FLAGS.readme)
        readme.write_text(fill(readme.read_text(), load(FLAGS.results)))


if __name__ == "__main__":
    launch(main, required=(), example="--record=runs/digits --name=digits")

"""Results as Markdown tables, the same for a comparison's page and file, the README and docs/."""

from collections.abc import Iterable, Sequence

from ssdkd_jax.errors import UserError
from ssdkd_jax.reports import (
    comparison_table,
    compile_figures,
    race_table,
    run_files,
    several_races,
    speed_figures,
    study_table,
)
from ssdkd_jax.reports.run_files import image_source
from ssdkd_jax.reports.several_races import Race

_TIME_PARTS = ("synthesis", "student", "evaluation", "checkpoint", "host")
_NOTHING = "–"


def markdown(result: dict) -> str:
    """Writes the table of a result and what belongs under it, with the command, the hardware and the date.

    Args:
      result: content of a results file, or of comparison.json.

    Raises:
      UserError: there is no table for a result of its kind.
    """
    makers = {
        "comparison": _comparison,
        "run": _run,
        "ablation": _ablation,
        "study": _study,
        "exactness": _exactness,
        "buffer_benchmark": _benchmark,
        "speed": _speed,
        "compile_check": _compile_check,
        "growth": _growth,
        "facts": _facts,
    }
    if result["kind"] not in makers:
        raise UserError(f"there is no table for a result of kind {result['kind']!r}; known are: {', '.join(makers)}")
    lines = makers[result["kind"]](result)
    return "\n".join([*lines, "", _source(result)])


def time_table(results: Iterable[dict]) -> str:
    """Writes where the time of runs and ablations went, in percent of their distillation."""
    rows = []
    for result in results:
        seconds = [result["seconds"].get(part, 0.0) for part in _TIME_PARTS]
        whole = sum(seconds)
        shares = [f"{100 * value / whole:.1f} %" if whole else _NOTHING for value in seconds]
        rows.append([f"{result['dataset']} ({whole:.0f} s)", *shares])
    return "\n".join(_table(["run", *_TIME_PARTS], rows))


def race(result: dict, name: str) -> str:
    """Writes how soon a method of a comparison, or a variant of a study, is where the others end.

    Raises:
      UserError: as of `race_table.rows`.
    """
    lines = _table(race_table.header(result, name), race_table.rows(result, name), numbers=True)
    return "\n".join([*lines, "", _source(result)])


def races(races: list[Race], others: list[str]) -> str:
    """Writes where one method of each race ends, and the others.

    Raises:
      UserError: as of `several_races.rows`.
    """
    lines = several_races.rows(races, others)
    return "\n".join(_numbers(several_races.HEADER, lines, several_races.notes(races, others)))


def curve(result: dict) -> str:
    """Writes a run's evaluations: epoch, minutes of training until then, accuracy.

    Raises:
      UserError: the result is no run, or was never evaluated on real test images.
    """
    metric = run_files.metric_of(result)
    score = f"student_{metric.name}"
    points = [point for point in result.get("curve", ()) if score in point] if result["kind"] == "run" else []
    if not points:
        raise UserError("it is no run whose students were evaluated on real images, so it has no curve")
    rows = [
        [f"{point['epoch']:.0f}", f"{_training_seconds(point) / 60:.1f}", f"{point[score]:.2f}"] for point in points
    ]
    header = ["epoch", "training (min)", f"student ({metric.unit})"]
    lines = _table(header, rows, numbers=True)
    return "\n".join([*lines, "", _source(result)])


def _source(result: dict) -> str:
    # Older results do not say which code made them.
    code = (result.get("versions") or {}).get("ssdkd_jax")
    made_with = f", ssdkd_jax {code}" if code else ""
    return f"`{result['command']}`, {result['hardware']}, {result['date']}{made_with}."


def _training_seconds(point: dict) -> float:
    # Older results have the seconds of the whole run alone.
    return point.get("training_seconds", point["seconds"])


def _comparison(result: dict) -> list[str]:
    return _numbers(comparison_table.header(result), comparison_table.rows(result), comparison_table.notes(result))


def _study(result: dict) -> list[str]:
    return _numbers(study_table.header(result), study_table.rows(result), study_table.notes(result))


def _run(result: dict) -> list[str]:
    metric = run_files.metric_of(result)
    best_student, teacher, student = (run_files.score(result, who) for who in ("best_student", "teacher", "student"))
    if student is None:
        scores = [
            ("teacher", result["teacher"]),
            ("student", f"{_trained(result)}, agrees with the teacher on {result['student_agreement']:.2f} %"),
        ]
    else:
        scores = [
            ("teacher", f"{result['teacher']}, {teacher:.2f} {metric.unit}"),
            ("student", f"{_trained(result)}, {student:.2f} {metric.unit}"),
            ("best student on the test set (not the result)", f"{best_student:.2f} {metric.unit}"),
        ]
    seconds = result["seconds"]
    parts = ", ".join(f"{part} {seconds[part]:.0f}" for part in _TIME_PARTS if part in seconds)
    lines = [
        *scores,
        *((name, f"{value:.2f} {metric.unit}") for name, value in (result.get("baselines") or {}).items()),
        ("images", _images(result)),
        ("epochs, seed", f"{result['epochs']}, {result['seed']}"),
        ("seconds", f"{seconds['total']:.0f} ({parts})"),
    ]
    return _table(["", ""], lines)


def _trained(result: dict) -> str:
    network = result.get("student_network")
    parameters = result.get("student_parameters")
    return f"{network} ({parameters:,} parameters)" if network and parameters else result["student"]


def _images(result: dict) -> str:
    return {
        "kept": f"{result['images_kept']:,} synthetic ones"
        + (f"; given: {result['given_images']}" if result.get("given_images") else ""),
        "generated": f"{result.get('images_made') or 0:,} synthetic ones, none of them kept",
        "given": f"given: {result.get('given_images')}",
    }[image_source(result)]


def _ablation(result: dict) -> list[str]:
    lines = []
    for name, row in result["variants"].items():
        if name == "default":
            difference, verdict = "", ""
        else:
            difference, verdict = f"{row['difference']:+.2f}", "**yes**" if row["exceeds_noise"] else "no"
        lines.append([name, f"{row['mean']:.2f} ± {row['std']:.2f}", difference, verdict])
    count = len(result["variants"]["default"]["accuracies"])
    note = f"{count} seeds; teacher {result['teacher']} {result['teacher_accuracy']:.2f} %."
    return [*_table(["variant", "accuracy", "difference", "more than noise"], lines), "", note]


def _exactness(result: dict) -> list[str]:
    networks = [
        [
            name,
            f"{row['parameters']:,}",
            f"{row['in']:.0e}",
            f"{row['out']:.0e}",
            "yes" if row["round_trip_exact"] else "**no**",
        ]
        for name, row in result["networks"].items()
    ]
    checkpoints = [
        [f"{name} ({row['architecture']})", f"{row['here']:.2f} %", f"{row['exported']:.2f} %"]
        for name, row in result["checkpoints"].items()
    ]
    return [
        *_table(["network", "parameters", "PyTorch → ours", "ours → PyTorch", "round trip exact"], networks),
        "",
        *_table(["public checkpoint, CIFAR-10 test images", "here", "exported, in PyTorch"], checkpoints),
    ]


def _facts(result: dict) -> list[str]:
    return _table(["what", "found"], result["facts"].items())


def _benchmark(result: dict) -> list[str]:
    return _table(["", "milliseconds"], [[name, f"{value:.2f}"] for name, value in result["milliseconds"].items()])


def _speed(result: dict) -> list[str]:
    return [
        *_table(speed_figures.header(result), speed_figures.rows(result)),
        "",
        " ".join(speed_figures.notes(result)),
    ]


def _compile_check(result: dict) -> list[str]:
    return _numbers(compile_figures.header(), compile_figures.rows(result), compile_figures.notes(result))


def _growth(result: dict) -> list[str]:
    names = list(dict.fromkeys(name for _, _, point in _points(result) for name in point.get("milliseconds", ())))
    rows = []
    for name, value, point in _points(result):
        if "refused" in point:
            rows.append([f"{name} {int(value):,}", "refused", *[_NOTHING] * (len(names) + 1)])
            continue
        times = (point["milliseconds"].get(figure) for figure in names)
        medians = [_milliseconds(time["median"]) if time else _NOTHING for time in times]
        memory = f"{point['memory_bytes'] / 1e6:,.0f}" if point.get("memory_bytes") else _NOTHING
        rows.append([f"{name} {int(value):,}", f"{point['compile_seconds']:.1f}", memory, *medians])
    header = ["", "compilation (s)", "planned memory (MB)", *(f"{name} (ms)" for name in names)]
    return _numbers(header, rows, [f"Teacher {result['teacher']}, student {result['student']}, {result['dtype']}."])


def _milliseconds(value):
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _points(result):
    return [(name, value, point) for name, points in result["points"].items() for value, point in points.items()]


def _numbers(header: Sequence[str], lines: Iterable[Sequence[str]], notes: Iterable[str]) -> list[str]:
    """A table whose columns but the first are aligned at the right, and sentences under it."""
    return [*_table(header, lines, numbers=True), "", " ".join(notes)]


def _table(header: Sequence[str], lines: Iterable[Sequence[str]], *, numbers: bool = False) -> list[str]:
    """Lines of a Markdown table; `numbers` aligns all columns but the first at the right."""
    rule = ["---"] + ["---:" if numbers else "---"] * (len(header) - 1)
    return [_line(cells) for cells in (header, rule, *lines)]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(' '.join(str(cell).split()).replace('|', chr(92) + '|') for cell in cells)} |"

"""One self-contained HTML page about a finished run: its numbers, curves, images, and where the time went."""

import pathlib
from collections.abc import Iterable

from ssdkd_jax.files import write_at_once
from ssdkd_jax.metrics import METRICS
from ssdkd_jax.reports import charts, pages
from ssdkd_jax.reports.image_sheet import write_image_sheet
from ssdkd_jax.reports.maps_file import read_maps
from ssdkd_jax.reports.run_files import (
    METRICS_FILE,
    REPORT,
    baselines_of,
    curve,
    image_source,
    metric_of,
    number,
    read_buffer,
    read_metrics,
    read_summary,
    score,
    subobject,
)
from ssdkd_jax.reports.run_images import SOURCE_NAMES, histograms, image_rows
from ssdkd_jax.reports.segmentation_maps import segmentation_maps

_KNOWN_LOSSES = ("inversion_loss", "bn_loss", "task_loss", "adversarial_loss", "student_loss")
_OTHER_CURVES = (
    "phi",
    "class_entropy",
    "class_agreement",
    "diversity",
    "buffer_size",
    "images_per_second",
    "learning_rate",
)
_TIME_PARTS = (
    *("setup", "teacher", "compile", "synthesis", "student", "bank"),
    *("evaluation", "checkpoint", "report", "baselines", "host"),
)
_SHOWN_ELSEWHERE = {
    *(f"{whose}_{metric}" for whose in ("teacher", "student", "best_student") for metric in METRICS),
    *("best_student_epoch", "student_agreement", "metric"),
    *("seconds", "baselines", "versions", "command", "student_sha256", "files_sha256"),
}
_FIRST_FACTS = (
    *("method", "dataset", "teacher", "student", "epochs", "images_kept", "buffer_capacity"),
    *("seed", "devices", "date"),
)


def write_report(workdir: pathlib.Path) -> pathlib.Path:
    """Writes `report.html` and `images.png` from the files that a run left in its work directory.

    The page needs no network: charts are inline SVG, images are data URIs.

    Args:
      workdir: holds summary.json; metrics.jsonl, buffer.npz and maps.npz where curves, images and maps are to be shown.

    Returns:
      The path of the page.

    Raises:
      UserError: the summary is missing, a file cannot be read, or is another run's.
    """
    workdir = pathlib.Path(workdir)
    summary, buffer = read_summary(workdir), read_buffer(workdir)
    metrics = read_metrics(workdir) if (workdir / METRICS_FILE).exists() else []
    source = image_source(summary)
    student = summary.get("student_network") or summary.get("student") or "Student"
    page = pages.render(
        "run.html",
        title=f"{student} distilled from {summary.get('teacher') or 'a teacher'}",
        about=" · ".join(str(summary[key]) for key in ("method", "dataset", "date") if summary.get(key)),
        metric=metric_of(summary).words,
        result=_result(summary),
        concerns=_concerns(summary),
        accuracy=_accuracy(summary, metrics),
        curves=_curves(metrics),
        source=source,
        source_name=SOURCE_NAMES[source],
        images=image_rows(buffer),
        maps=segmentation_maps(read_maps(workdir), summary),
        histograms=histograms(buffer, source),
        time=_time(summary),
        command=summary.get("command"),
        facts=_facts(summary),
    )
    write_image_sheet(workdir, buffer)
    path = workdir / REPORT
    write_at_once(path, page)
    return path


def _result(summary: dict) -> dict:
    """Numbers of the headline; None for what is not known."""
    student = score(summary, "student")
    fields = ("student_agreement", "best_student_epoch", "epochs", "images_kept", "images_made")
    baselines = sorted(baselines_of(summary), key=lambda baseline: -baseline[1])
    return {
        **{field: number(summary.get(field)) for field in fields},
        "teacher_score": score(summary, "teacher"),
        "student_score": student,
        "best_student_score": score(summary, "best_student"),
        "teacher": summary.get("teacher", ""),
        "seconds": number(subobject(summary, "seconds").get("total")),
        "baselines": [(name, value, None if student is None else student - value) for name, value in baselines],
    }


def _concerns(summary: dict) -> list[str]:
    """What the method found wrong on the way."""
    found = summary.get("concerns")
    return [str(concern) for concern in found] if isinstance(found, list) else []


def _accuracy(summary: dict, metrics: list[dict]) -> dict | None:
    """The curve of the student over time, and what it shows; None where no epoch was evaluated."""
    metric = metric_of(summary)
    field, what = f"student_{metric.name}", metric.words
    real = any(number(record.get(field)) is not None for record in metrics)
    if not real:
        field, what = "student_agreement", "agreement with the teacher"
    span, times, percents = _score_over_time(metrics, field)
    if not times:
        return None
    unit, unit_seconds = pages.time_unit(times[-1])
    levels = [("teacher", score(summary, "teacher")), *baselines_of(summary)] if real else []
    levels = [(name, value) for name, value in levels if value is not None]
    colors = [charts.COLORS[1 + index % (len(charts.COLORS) - 1)] for index in range(len(levels))]
    change = f"from {percents[0]:.2f} % to {percents[-1]:.2f} % in {pages.duration(times[-1])}"
    svg = charts.accuracy_chart(
        "accuracy",
        f"Student's {what} over time: {change}",
        [time / unit_seconds for time in times],
        percents,
        x_label=f"wall-clock time of the {span} ({unit})",
        y_label=f"{what} (%)",
        levels=[charts.Level(value, color) for (_, value), color in zip(levels, colors, strict=True)],
    )
    legend = [pages.Mark(f"student, {percents[-1]:.2f} % at the end", charts.COLORS[0], "line")]
    legend += [
        pages.Mark(f"{name}, {value:.2f} %", color, "dashed")
        for (name, value), color in zip(levels, colors, strict=True)
    ]
    caption = f"The student's {what} over wall-clock time since the start of the {span}."
    return {"what": what, "figure": pages.Figure(svg, caption, tuple(legend))}


def _score_over_time(metrics: list[dict], field: str) -> tuple[str, list[float], list[float]]:
    """Returns (what the time is of, seconds, percent); runs of older versions only have the time since their start."""
    times, percents = curve(metrics, "training_seconds", field)
    whole_run = curve(metrics, "seconds", field)
    if len(times) < len(whole_run[0]):
        return "run", *whole_run
    return "distillation", times, percents


def _curves(metrics: list[dict]) -> list[pages.Figure]:
    present = {key for record in metrics for key in record}
    unknown = sorted(key for key in present if key.endswith("_loss") and key not in _KNOWN_LOSSES)
    losses = _panels(metrics, [*_KNOWN_LOSSES, *unknown], charts.COLORS[0], may_be_log=True)
    return [*losses, *_panels(metrics, _OTHER_CURVES, charts.COLORS[2], may_be_log=False)]


def _panels(metrics: list[dict], keys: Iterable[str], color: str, *, may_be_log: bool) -> list[pages.Figure]:
    panels = []
    for key in keys:
        epochs, values = curve(metrics, "epoch", key)
        if not epochs:
            continue
        title = "φ" if key == "phi" else key.replace("_", " ")
        alt = f"{title} by epoch: {values[0]:.3g} at the start, {values[-1]:.3g} at the end"
        name = "".join(character if character.isalnum() else "-" for character in key)
        svg = charts.curve_chart(f"curve-{name}", alt, epochs, values, color=color, may_be_log=may_be_log)
        panels.append(pages.Figure(svg, f"{title}: {values[-1]:.4g} at the end".replace("-", "−")))
    return panels


def _time(summary: dict) -> dict | None:
    """The parts of the run's time, with their share in percent; None where none was measured."""
    seconds = {key: number(value) for key, value in subobject(summary, "seconds").items()}
    parts = {key: value for key, value in seconds.items() if key != "total" and value}
    parts = {key: parts[key] for key in (*_TIME_PARTS, *sorted(parts.keys() - set(_TIME_PARTS))) if key in parts}
    counted, total = sum(parts.values()), seconds.get("total") or 0.0
    if not counted:
        return None
    if total > counted:
        parts["other"] = total - counted
    whole = sum(parts.values())
    rows = [
        {"name": key, "seconds": value, "share": 100 * value / whole, "color": charts.COLORS[i % len(charts.COLORS)]}
        for i, (key, value) in enumerate(parts.items())
    ]
    return {"parts": rows, "total": total or whole, "overlapping": whole > 1.01 * (total or whole)}


def _facts(summary: dict) -> list[tuple[str, object]]:
    """Facts of the run: those that all runs have, then whatever else the summary holds, then versions."""
    facts = {key: summary[key] for key in _FIRST_FACTS if summary.get(key) not in (None, "")}
    others = {key: value for key, value in summary.items() if isinstance(value, str | int | float) and value != ""}
    facts |= {key: value for key, value in others.items() if key not in _SHOWN_ELSEWHERE and key not in facts}
    rows = [(key.replace("_", " "), _plain(value)) for key, value in facts.items()]
    if sha256 := summary.get("student_sha256"):
        rows.append(("student's sha256", sha256))
    return rows + [(f"{name} version", value) for name, value in subobject(summary, "versions").items()]


def _plain(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)

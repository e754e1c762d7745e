"""One self-contained HTML page about a finished run: its numbers, curves, images, and where the time went."""

import json
import pathlib
import shlex
from collections.abc import Iterable

import numpy as np

from ssdkd_jax.reports import charts, page
from ssdkd_jax.reports.run_files import (
    Buffer,
    baselines_of,
    curve,
    number,
    read_buffer,
    read_metrics,
    read_summary,
    subobject,
)

_IMAGES_PER_CLASS = 10
_MOST_CLASSES = 20
_KNOWN_LOSSES = ("inversion_loss", "bn_loss", "task_loss", "adversarial_loss", "student_loss")
_OTHER_CURVES = ("phi", "class_entropy", "buffer_size", "images_per_second", "learning_rate")
_TIME_PARTS = (
    *("setup", "teacher", "compile", "inversion", "distillation", "bank"),
    *("evaluation", "checkpoint", "report", "baselines", "host"),
)
_SHOWN_ELSEWHERE = {
    *("teacher_accuracy", "student_accuracy", "best_student_accuracy", "best_student_epoch", "student_agreement"),
    *("seconds", "baselines", "versions", "command", "student_sha256"),
}
_FACTS = (
    *("method", "dataset", "teacher", "student", "epochs", "synthetic_images", "buffer_capacity"),
    *("seed", "devices", "platform", "date"),
)


def write_report(workdir: pathlib.Path) -> pathlib.Path:
    """Writes `report.html` from the files that a run left in its work directory.

    The page needs no network: charts are inline SVG, images are data URIs.

    Args:
      workdir: holds summary.json and metrics.jsonl, and buffer.npz if the images are to be shown.

    Returns:
      The path of the page.

    Raises:
      UserError: a file is missing or cannot be read.
    """
    workdir = pathlib.Path(workdir)
    summary = read_summary(workdir)
    metrics = read_metrics(workdir)
    buffer = read_buffer(workdir)
    sections = [
        _numbers_section(summary),
        _accuracy_section(summary, metrics),
        _curves_section(metrics),
        _images_section(buffer, _source(summary)),
        _histograms_section(buffer, _source(summary)),
        _time_section(summary),
        _provenance_section(summary),
    ]
    path = workdir / "report.html"
    teacher, student = summary.get("teacher") or "a teacher", summary.get("student") or "Student"
    about = " · ".join(str(summary[key]) for key in ("method", "dataset", "date") if summary.get(key))
    document = page.document(f"{student} distilled from {teacher}", about, sections)
    path.write_text(document, encoding="utf-8", errors="replace")
    return path


def _numbers_section(summary: dict) -> str:
    student, teacher = number(summary.get("student_accuracy")), number(summary.get("teacher_accuracy"))
    agreement = number(summary.get("student_agreement"))
    if student is not None:
        gap = "" if teacher is None else f"{page.points(student - teacher)} points against the teacher, "
        tiles = [page.tile("Student's accuracy", page.percent(student), gap + _last_epoch(summary), main=True)]
    elif agreement is not None:
        note = f"on held-out synthetic images, {_last_epoch(summary)}. No accuracy is known: there were no real images"
        tiles = [page.tile("Agreement with the teacher", page.percent(agreement), note, main=True)]
    else:
        tiles = [page.tile("Student's accuracy", "not measured", "the run evaluated nothing", main=True)]
    if teacher is not None:
        tiles.append(page.tile("Teacher's accuracy", page.percent(teacher), summary.get("teacher", "")))
    tiles += _best_tile(summary)
    tiles += _images_tile(summary)
    if (total := number(subobject(summary, "seconds").get("total"))) is not None:
        tiles.append(page.tile("Whole run", page.duration(total), "wall-clock"))
    return page.section("Result", f'<dl class="tiles">{"".join(tiles)}</dl>{_baseline_table(summary)}')


def _images_tile(summary: dict) -> list[str]:
    kept, made = (number(summary.get(field)) for field in ("images_kept", "images_made"))
    if kept or made is None:
        return [] if kept is None else [page.tile("Synthetic images", f"{kept:,.0f}", "in the final buffer")]
    return [page.tile("Synthetic images", f"{made:,.0f}", "made, none of them kept")] if made else []


def _source(summary: dict) -> str:
    """What the images of the page are of."""
    kept, made = (number(summary.get(field)) for field in ("images_kept", "images_made"))
    if kept or made is None:
        return "buffer"
    return "sample of generated images" if made else "sample of the given images"


def _last_epoch(summary: dict) -> str:
    epochs = number(summary.get("epochs"))
    return "after the last epoch" if epochs is None else f"after the last epoch ({epochs:.0f})"


def _best_tile(summary: dict) -> list[str]:
    best = number(summary.get("best_student_accuracy"))
    if best is None:
        return []
    epoch = number(summary.get("best_student_epoch"))
    when = "" if epoch is None else f"epoch {epoch:.0f}; "
    return [page.tile("Best on the test set", page.percent(best), f"{when}picked with the test set, so not the result")]


def _baseline_table(summary: dict) -> str:
    baselines = baselines_of(summary)
    if not baselines:
        return ""
    student = number(summary.get("student_accuracy"))
    rows = [
        (name, page.percent(value), "–" if student is None else page.points(student - value))
        for name, value in sorted(baselines, key=lambda baseline: -baseline[1])
    ]
    header = ("Compared with", "accuracy", "this student")
    return page.table(header, rows, "Other models on the same test set; the last column is this student's difference.")


def _accuracy_section(summary: dict, metrics: list[dict]) -> str:
    real = any(number(record.get("student_accuracy")) is not None for record in metrics)
    key, what = ("student_accuracy", "accuracy") if real else ("student_agreement", "agreement with the teacher")
    time, percent = curve(metrics, "seconds", key)
    if not time:
        return page.section("Accuracy over time", '<p class="quiet">metrics.jsonl holds no evaluated epoch.</p>')
    unit, seconds = page.time_unit(time[-1])
    levels = [("teacher", number(summary.get("teacher_accuracy"))), *baselines_of(summary)] if real else []
    levels = [(name, value) for name, value in levels if value is not None]
    colors = [charts.COLORS[1 + index % (len(charts.COLORS) - 1)] for index in range(len(levels))]
    change = f"from {page.percent(percent[0])} to {page.percent(percent[-1])} in {page.duration(time[-1])}"
    svg = charts.accuracy_chart(
        "accuracy",
        f"Student's {what} against time: {change}",
        [value / seconds for value in time],
        percent,
        x_label=f"wall-clock time since the start ({unit})",
        y_label=f"{what} (%)",
        levels=[charts.Level(value, color) for (_, value), color in zip(levels, colors, strict=True)],
    )
    marks = [(charts.COLORS[0], "line", f"student, {page.percent(percent[-1])} at the end")]
    marks += [(c, "dashed", f"{name}, {page.percent(value)}") for c, (name, value) in zip(colors, levels, strict=True)]
    caption = f"The student's {what} against wall-clock time."
    return page.section(f"{what.capitalize()} over time", page.figure(page.legend(marks) + svg, caption, "wide"))


def _curves_section(metrics: list[dict]) -> str:
    present = {key for record in metrics for key in record}
    unknown = sorted(key for key in present if key.endswith("_loss") and key not in _KNOWN_LOSSES)
    losses = _panels(metrics, [*_KNOWN_LOSSES, *unknown], charts.COLORS[0], may_be_log=True)
    others = _panels(metrics, _OTHER_CURVES, charts.COLORS[2], may_be_log=False)
    if not losses and not others:
        return page.section("Losses", '<p class="quiet">metrics.jsonl holds no losses.</p>')
    note = (
        '<p class="quiet">Losses over more than two decades have a logarithmic axis; beyond 400 epochs, each point is '
        "the mean of neighboring epochs.</p>"
    )
    return page.section("Losses and buffer, by epoch", f'{note}<div class="panels">{losses}{others}</div>')


def _panels(metrics: list[dict], keys: Iterable[str], color: str, *, may_be_log: bool) -> str:
    panels = []
    for key in keys:
        x, y = curve(metrics, "epoch", key)
        if not x:
            continue
        title = "φ" if key == "phi" else key.replace("_", " ")
        alt = f"{title} by epoch: {y[0]:.3g} at first, {y[-1]:.3g} at last"
        name = "".join(character if character.isalnum() else "-" for character in key)
        svg = charts.curve_chart(f"curve-{name}", alt, x, y, color=color, may_be_log=may_be_log)
        panels.append(page.figure(svg, f"{title}: {y[-1]:.4g} at last".replace("-", "−")))
    return "".join(panels)


def _images_section(buffer: Buffer | None, source: str) -> str:
    if buffer is None:
        return ""
    title = "Images" if source.endswith("given images") else "Synthetic images"
    if not len(buffer.images):
        return page.section(title, f'<p class="quiet">The {source} is empty.</p>')
    count = len(buffer.class_names)
    shown = range(count) if count <= _MOST_CLASSES else np.linspace(0, count - 1, _MOST_CLASSES).round().astype(int)
    choice = "" if count <= _MOST_CLASSES else f" Shown: {_MOST_CLASSES} of {count} classes, evenly spaced by index."
    height, width = buffer.images.shape[1:3]
    note = (
        f"The {source}: {len(buffer.images):,} images of {height} × {width} pixels, by the class that the teacher "
        f"sees. In each class, up to {_IMAGES_PER_CLASS} from the surest to the least sure; below each, the teacher's "
        f"confidence.{choice}"
    )
    rows = "".join(_class_row(buffer, int(index)) for index in shown)
    return page.section(title, f'<p class="quiet">{note}</p><div class="classes">{rows}</div>')


def _class_row(buffer: Buffer, index: int) -> str:
    members = np.flatnonzero(buffer.predicted_class == index)
    ranked = members[np.argsort(-buffer.confidence[members], kind="stable")]
    steps = np.linspace(0, len(ranked) - 1, min(_IMAGES_PER_CLASS, len(ranked))).round().astype(int)
    name = page.escape(buffer.class_names[index])
    cells = "".join(
        f'<li><img src="{charts.image_uri(buffer.images[i])}" alt="seen as {name}">{buffer.confidence[i]:.2f}</li>'
        for i in ranked[steps]
    )
    kind = "pixels" if max(buffer.images.shape[1:3]) <= charts.LOSSLESS_SIDE else "photos"
    cells = f'<ul class="{kind}">{cells}</ul>' if cells else '<p class="quiet">no image of this class</p>'
    return f'<div class="class"><h3>{name} <small>{len(members):,}</small></h3>{cells}</div>'


def _histograms_section(buffer: Buffer | None, source: str) -> str:
    if buffer is None or not len(buffer.images):
        return ""
    charts = page.figure(*_class_histogram(buffer, source)) + page.figure(*_difficulty_histogram(buffer, source))
    return page.section("Classes and difficulty", f'<div class="pair">{charts}</div>')


def _class_histogram(buffer: Buffer, source: str) -> tuple[str, str]:
    sets = [buffer.predicted_class, *([] if buffer.real_class is None else [buffer.real_class])]
    shares = [_class_shares(classes, len(buffer.class_names)) for classes in sets]
    counts = np.bincount(buffer.predicted_class, minlength=len(buffer.class_names))
    caption = (
        f"Classes, as the teacher sees them. In the {source} {counts.min():,} to {counts.max():,} images a class, "
        f"{np.count_nonzero(counts == 0)} of {len(counts)} classes empty; {_evenness(shares[0])}."
    )
    if len(shares) > 1:
        caption += f" Real images: {_evenness(shares[1])}."
    svg = charts.class_chart("classes", caption, shares, buffer.class_names)
    return page.legend(_set_marks(source, buffer.real_class is not None)) + svg, caption


def _difficulty_histogram(buffer: Buffer, source: str) -> tuple[str, str]:
    difficulties = [1 - buffer.confidence, *([] if buffer.real_confidence is None else [1 - buffer.real_confidence])]
    means = [f"{np.mean(values):.3f}" if values.size else "unknown" for values in difficulties]
    caption = f"Difficulty, 1 − the teacher's confidence. Mean in the {source}: {means[0]}."
    if len(means) > 1:
        caption += f" Mean of the real images: {means[1]}."
    svg = charts.difficulty_chart("difficulty", caption, difficulties)
    return page.legend(_set_marks(source, buffer.real_confidence is not None)) + svg, caption


def _set_marks(source: str, real: bool) -> list[tuple[str, str, str]]:
    marks = [(charts.COLORS[0], "block", source)]
    return [*marks, (charts.COLORS[1], "line", "real test images")] if real else marks


def _class_shares(classes: np.ndarray, count: int) -> np.ndarray:
    return 100.0 * np.bincount(classes, minlength=count) / max(1, len(classes))


def _evenness(share: np.ndarray) -> str:
    """The entropy of the class shares over that of equal shares: 100 % means that all classes are equally frequent."""
    p = share[share > 0] / 100.0
    entropy = -np.sum(p * np.log(p)) / np.log(len(share)) if len(share) > 1 else 1.0
    return f"entropy {100.0 * max(0.0, entropy):.1f} % of the largest possible"


def _time_section(summary: dict) -> str:
    seconds = {key: number(value) for key, value in subobject(summary, "seconds").items()}
    parts = {key: value for key, value in seconds.items() if key != "total" and value}
    parts = {key: parts[key] for key in (*_TIME_PARTS, *sorted(parts.keys() - set(_TIME_PARTS))) if key in parts}
    counted, total = sum(parts.values()), seconds.get("total") or 0.0
    if not counted:
        return ""
    if total > counted:
        parts["other"] = total - counted
    whole = sum(parts.values())
    colors = [charts.COLORS[index % len(charts.COLORS)] for index in range(len(parts))]
    bar = "".join(
        f'<i style="flex:{value / whole:.5f};background:{color}"></i>'
        for value, color in zip(parts.values(), colors, strict=True)
    )
    rows = "".join(
        f'<tr><th scope="row">{page.swatch(color, "block")}{page.escape(key)}</th><td>{page.duration(value)}</td>'
        f"<td>{100.0 * value / whole:.1f} %</td></tr>"
        for (key, value), color in zip(parts.items(), colors, strict=True)
    )
    rows += f'<tr class="sum"><th scope="row">total</th><td>{page.duration(total or whole)}</td><td></td></tr>'
    note = (
        "" if whole <= 1.01 * (total or whole) else " The parts add up to more than the total: some ran beside others."
    )
    head = '<thead><tr><th scope="col">Part</th><th scope="col">time</th><th scope="col">share</th></tr></thead>'
    table = f"<table><caption>Wall-clock time by part.{note}</caption>{head}<tbody>{rows}</tbody></table>"
    return page.section("Where the time went", f'<div class="bar" aria-hidden="true">{bar}</div>{table}')


def _provenance_section(summary: dict) -> str:
    scalars = {key: value for key, value in summary.items() if isinstance(value, str | int | float)}
    facts = {key: summary[key] for key in _FACTS if summary.get(key) is not None}
    facts |= {key: value for key, value in scalars.items() if key not in _SHOWN_ELSEWHERE and key not in facts}
    rows = [(key.replace("_", " "), _plain(value)) for key, value in facts.items()]
    if sha256 := summary.get("student_sha256"):
        rows.append(("student's sha256", sha256))
    rows += [(f"{name} version", value) for name, value in subobject(summary, "versions").items()]
    command = summary.get("command")
    command = shlex.join(map(str, command)) if isinstance(command, list) else command
    block = f"<pre>{page.escape(command)}</pre>" if command else ""
    return page.section("How to repeat it", block + page.table(None, rows, "The run and what it ran with.", "facts"))


def _plain(value: object) -> str:
    if isinstance(value, list | dict):
        return json.dumps(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)

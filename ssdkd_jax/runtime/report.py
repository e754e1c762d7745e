"""One self-contained HTML page about a finished run: its numbers, curves, images, and where the time went."""

import html
import json
import math
import pathlib
import shlex
import zipfile
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from ssdkd_jax.errors import UserError
from ssdkd_jax.runtime import figures

_IMAGES_PER_CLASS = 10
_MOST_CLASSES = 20
_KNOWN_LOSSES = ("inversion_loss", "bn_loss", "task_loss", "adversarial_loss", "student_loss")
_OTHER_CURVES = ("phi", "class_entropy", "buffer_size", "images_per_second", "learning_rate")
_TIME_PARTS = ("teacher", "compile", "inversion", "distillation", "evaluation", "checkpoint", "host")
_SHOWN_ELSEWHERE = {
    *("teacher_accuracy", "student_accuracy", "best_student_accuracy", "best_student_epoch", "student_agreement"),
    *("seconds", "references", "versions", "command", "student_sha256"),
}
_FACTS = (
    *("method", "dataset", "teacher", "student", "epochs", "synthetic_images", "buffer_capacity"),
    *("seed", "devices", "platform", "date"),
)


class Buffer(NamedTuple):
    """What buffer.npz holds; the last two are None when there are no real test images."""

    images: np.ndarray
    predicted_class: np.ndarray
    confidence: np.ndarray
    class_names: list[str]
    real_class: np.ndarray | None
    real_confidence: np.ndarray | None


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
    summary = _read_summary(workdir)
    metrics = _read_metrics(workdir)
    buffer = _read_buffer(workdir)
    sections = [
        _numbers_section(summary),
        _accuracy_section(summary, metrics),
        _curves_section(metrics),
        _images_section(buffer),
        _histograms_section(buffer),
        _time_section(summary),
        _provenance_section(summary),
    ]
    path = workdir / "report.html"
    path.write_text(_page(summary, sections), encoding="utf-8", errors="replace")
    return path


# Reading


def _read_summary(workdir: pathlib.Path) -> dict:
    path = _existing(workdir, "summary.json")
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}): expected a run's summary; {_mend(workdir)}") from error
    if not isinstance(summary, dict):
        raise UserError(f"{path} holds a {type(summary).__name__}: expected a JSON object; {_mend(workdir)}")
    return summary


def _read_metrics(workdir: pathlib.Path) -> list[dict]:
    """One record an epoch, in order; of an epoch that a resumed run repeated, the last."""
    path = _existing(workdir, "metrics.jsonl")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    records = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            if number == len(lines):  # a run that was killed may leave half a line
                break
            message = f"{path}, line {number} is not JSON: expected one object a line; {_mend(workdir)}"
            raise UserError(message) from error
        if isinstance(record, dict):
            epoch = _number(record.get("epoch"))
            records[number if epoch is None else epoch] = record
    return [{**records[epoch], "epoch": epoch} for epoch in sorted(records)]


def _read_buffer(workdir: pathlib.Path) -> Buffer | None:
    path = workdir / "buffer.npz"
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            buffer = Buffer(
                images=arrays["images"],
                predicted_class=arrays["predicted_class"].astype(np.int64),
                confidence=arrays["confidence"].astype(np.float64),
                class_names=[str(name) for name in arrays["class_names"]],
                real_class=arrays["real_class"].astype(np.int64) if "real_class" in arrays else None,
                real_confidence=arrays["real_confidence"].astype(np.float64) if "real_confidence" in arrays else None,
            )
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is not a buffer ({reason}): delete it, or {_mend(workdir)}") from error
    shape = buffer.images.shape
    if buffer.images.dtype != np.uint8 or len(shape) != 4 or shape[-1] not in (1, 3):
        raise UserError(f"{path}: images are {buffer.images.dtype} {shape}, expected uint8 (n, h, w, 1 or 3)")
    if not len(buffer.images) == len(buffer.predicted_class) == len(buffer.confidence):
        raise UserError(f"{path}: images, predicted_class and confidence differ in length; {_mend(workdir)}")
    if any(
        array is not None and array.size and array.min() < 0 for array in (buffer.predicted_class, buffer.real_class)
    ):
        raise UserError(f"{path} has classes below 0: expected filled entries only; {_mend(workdir)}")
    return _with_all_classes_named(buffer)


def _with_all_classes_named(buffer: Buffer) -> Buffer:
    indices = [array.max() for array in (buffer.predicted_class, buffer.real_class) if array is not None and array.size]
    unnamed = range(len(buffer.class_names), max(indices, default=-1) + 1)
    return buffer._replace(class_names=[*buffer.class_names, *(f"class {index}" for index in unnamed)])


def _existing(workdir: pathlib.Path, name: str) -> pathlib.Path:
    path = workdir / name
    if not path.is_file():
        raise UserError(f"{path} is missing: expected the work directory of a finished run; {_mend(workdir)}")
    return path


def _mend(workdir: pathlib.Path) -> str:
    return f"make one with `python -m experiments.main --workdir={shlex.quote(str(workdir))}`"


# Sections


def _numbers_section(summary: dict) -> str:
    student, teacher = _number(summary.get("student_accuracy")), _number(summary.get("teacher_accuracy"))
    agreement = _number(summary.get("student_agreement"))
    if student is not None:
        gap = "" if teacher is None else f"{_points(student - teacher)} points against the teacher, "
        tiles = [_tile("Student's accuracy", _percent(student), gap + _last_epoch(summary), main=True)]
    elif agreement is not None:
        note = f"on held-back synthetic images, {_last_epoch(summary)}. No accuracy is known: there were no real images"
        tiles = [_tile("Agreement with the teacher", _percent(agreement), note, main=True)]
    else:
        tiles = [_tile("Student's accuracy", "not measured", "the run evaluated nothing", main=True)]
    if teacher is not None:
        tiles.append(_tile("Teacher's accuracy", _percent(teacher), summary.get("teacher", "")))
    tiles += _best_tile(summary)
    if (count := _number(summary.get("synthetic_images"))) is not None:
        tiles.append(_tile("Synthetic images", f"{count:,.0f}", "in the final buffer"))
    if (total := _number(_object(summary, "seconds").get("total"))) is not None:
        tiles.append(_tile("Whole run", _duration(total), "wall-clock"))
    return _section("Result", f'<dl class="tiles">{"".join(tiles)}</dl>{_reference_table(summary)}')


def _last_epoch(summary: dict) -> str:
    epochs = _number(summary.get("epochs"))
    return "after the last epoch" if epochs is None else f"after the last epoch ({epochs:.0f})"


def _best_tile(summary: dict) -> list[str]:
    best = _number(summary.get("best_student_accuracy"))
    if best is None:
        return []
    epoch = _number(summary.get("best_student_epoch"))
    when = "" if epoch is None else f"epoch {epoch:.0f}; "
    return [_tile("Best on the test set", _percent(best), f"{when}picked with the test set, so not the result")]


def _reference_table(summary: dict) -> str:
    references = _references(summary)
    if not references:
        return ""
    student = _number(summary.get("student_accuracy"))
    rows = [
        (name, _percent(value), "–" if student is None else _points(student - value))
        for name, value in sorted(references, key=lambda reference: -reference[1])
    ]
    header = ("Compared with", "accuracy", "this student")
    return _table(header, rows, "Other models on the same test set; the last column is this student's difference.")


def _accuracy_section(summary: dict, metrics: list[dict]) -> str:
    real = any(_number(record.get("student_accuracy")) is not None for record in metrics)
    key, what = ("student_accuracy", "accuracy") if real else ("student_agreement", "agreement with the teacher")
    time, percent = _curve(metrics, "seconds", key)
    if not time:
        return _section("Accuracy over time", '<p class="quiet">metrics.jsonl holds no evaluated epoch.</p>')
    unit, seconds = _time_unit(time[-1])
    levels = [("teacher", _number(summary.get("teacher_accuracy"))), *_references(summary)] if real else []
    levels = [(name, value) for name, value in levels if value is not None]
    colors = [figures.COLORS[1 + index % (len(figures.COLORS) - 1)] for index in range(len(levels))]
    change = f"from {_percent(percent[0])} to {_percent(percent[-1])} in {_duration(time[-1])}"
    svg = figures.accuracy_chart(
        "accuracy",
        f"Student's {what} against time: {change}",
        [value / seconds for value in time],
        percent,
        x_label=f"wall-clock time since the start ({unit})",
        y_label=f"{what} (%)",
        levels=[figures.Level(value, color) for (_, value), color in zip(levels, colors, strict=True)],
    )
    marks = [(figures.COLORS[0], "line", f"student, {_percent(percent[-1])} at the end")]
    marks += [(c, "dashed", f"{name}, {_percent(value)}") for c, (name, value) in zip(colors, levels, strict=True)]
    caption = f"The student's {what} against wall-clock time."
    return _section(f"{what.capitalize()} over time", _figure(_legend(marks) + svg, caption, "wide"))


def _curves_section(metrics: list[dict]) -> str:
    present = {key for record in metrics for key in record}
    unknown = sorted(key for key in present if key.endswith("_loss") and key not in _KNOWN_LOSSES)
    losses = _panels(metrics, [*_KNOWN_LOSSES, *unknown], figures.COLORS[0], may_be_log=True)
    others = _panels(metrics, _OTHER_CURVES, figures.COLORS[2], may_be_log=False)
    if not losses and not others:
        return _section("Losses", '<p class="quiet">metrics.jsonl holds no losses.</p>')
    note = (
        '<p class="quiet">Losses over more than two decades have a logarithmic axis; beyond 400 epochs, each point is '
        "the mean of neighbouring epochs.</p>"
    )
    return _section("Losses and buffer, by epoch", f'{note}<div class="panels">{losses}{others}</div>')


def _panels(metrics: list[dict], keys: Iterable[str], color: str, *, may_be_log: bool) -> str:
    panels = []
    for key in keys:
        x, y = _curve(metrics, "epoch", key)
        if not x:
            continue
        title = "φ" if key == "phi" else key.replace("_", " ")
        alt = f"{title} by epoch: {y[0]:.3g} at first, {y[-1]:.3g} at last"
        name = "".join(character if character.isalnum() else "-" for character in key)
        svg = figures.curve_chart(f"curve-{name}", alt, x, y, color=color, may_be_log=may_be_log)
        panels.append(_figure(svg, f"{title}: {y[-1]:.4g} at last".replace("-", "−")))
    return "".join(panels)


def _images_section(buffer: Buffer | None) -> str:
    if buffer is None:
        return ""
    if not len(buffer.images):
        return _section("Synthetic images", '<p class="quiet">The buffer is empty.</p>')
    count = len(buffer.class_names)
    shown = range(count) if count <= _MOST_CLASSES else np.linspace(0, count - 1, _MOST_CLASSES).round().astype(int)
    choice = "" if count <= _MOST_CLASSES else f" Shown: {_MOST_CLASSES} of {count} classes, evenly spaced by index."
    height, width = buffer.images.shape[1:3]
    note = (
        f"{len(buffer.images):,} images of {height} × {width} pixels, by the class that the teacher sees. In each "
        f"class, up to {_IMAGES_PER_CLASS} from the surest to the least sure; below each, the "
        f"teacher's confidence.{choice}"
    )
    rows = "".join(_class_row(buffer, int(index)) for index in shown)
    return _section("Synthetic images", f'<p class="quiet">{note}</p><div class="classes">{rows}</div>')


def _class_row(buffer: Buffer, index: int) -> str:
    members = np.flatnonzero(buffer.predicted_class == index)
    ranked = members[np.argsort(-buffer.confidence[members], kind="stable")]
    steps = np.linspace(0, len(ranked) - 1, min(_IMAGES_PER_CLASS, len(ranked))).round().astype(int)
    name = _escape(buffer.class_names[index])
    cells = "".join(
        f'<li><img src="{figures.image_uri(buffer.images[i])}" alt="seen as {name}">{buffer.confidence[i]:.2f}</li>'
        for i in ranked[steps]
    )
    kind = "pixels" if max(buffer.images.shape[1:3]) <= figures.LOSSLESS_SIDE else "photos"
    cells = f'<ul class="{kind}">{cells}</ul>' if cells else '<p class="quiet">no image in the buffer</p>'
    return f'<div class="class"><h3>{name} <small>{len(members):,}</small></h3>{cells}</div>'


def _histograms_section(buffer: Buffer | None) -> str:
    if buffer is None or not len(buffer.images):
        return ""
    charts = _figure(*_class_histogram(buffer)) + _figure(*_difficulty_histogram(buffer))
    return _section("Classes and difficulty", f'<div class="pair">{charts}</div>')


def _class_histogram(buffer: Buffer) -> tuple[str, str]:
    sets = [buffer.predicted_class, *([] if buffer.real_class is None else [buffer.real_class])]
    shares = [_class_shares(classes, len(buffer.class_names)) for classes in sets]
    counts = np.bincount(buffer.predicted_class, minlength=len(buffer.class_names))
    caption = (
        f"Classes, as the teacher sees them. In the buffer {counts.min():,} to {counts.max():,} images a class, "
        f"{np.count_nonzero(counts == 0)} of {len(counts)} classes empty; {_evenness(shares[0])}."
    )
    if len(shares) > 1:
        caption += f" Real images: {_evenness(shares[1])}."
    svg = figures.class_chart("classes", caption, shares, buffer.class_names)
    return _legend(_set_marks(buffer.real_class is not None)) + svg, caption


def _difficulty_histogram(buffer: Buffer) -> tuple[str, str]:
    difficulties = [1 - buffer.confidence, *([] if buffer.real_confidence is None else [1 - buffer.real_confidence])]
    means = [f"{np.mean(values):.3f}" if values.size else "unknown" for values in difficulties]
    caption = f"Difficulty, 1 − the teacher's confidence. Mean in the buffer: {means[0]}."
    if len(means) > 1:
        caption += f" Mean of the real images: {means[1]}."
    svg = figures.difficulty_chart("difficulty", caption, difficulties)
    return _legend(_set_marks(buffer.real_confidence is not None)) + svg, caption


def _set_marks(real: bool) -> list[tuple[str, str, str]]:
    marks = [(figures.COLORS[0], "block", "buffer")]
    return [*marks, (figures.COLORS[1], "line", "real test images")] if real else marks


def _class_shares(classes: np.ndarray, count: int) -> np.ndarray:
    return 100.0 * np.bincount(classes, minlength=count) / max(1, len(classes))


def _evenness(share: np.ndarray) -> str:
    """The entropy of the class shares over that of equal shares: 100 % means that all classes are equally frequent."""
    p = share[share > 0] / 100.0
    entropy = -np.sum(p * np.log(p)) / math.log(len(share)) if len(share) > 1 else 1.0
    return f"entropy {100.0 * max(0.0, entropy):.1f} % of the largest possible"


def _time_section(summary: dict) -> str:
    seconds = {key: _number(value) for key, value in _object(summary, "seconds").items()}
    parts = {key: value for key, value in seconds.items() if key != "total" and value}
    parts = {key: parts[key] for key in (*_TIME_PARTS, *sorted(parts.keys() - set(_TIME_PARTS))) if key in parts}
    counted, total = sum(parts.values()), seconds.get("total") or 0.0
    if not counted:
        return ""
    if total > counted:
        parts["other"] = total - counted
    whole = sum(parts.values())
    colors = [figures.COLORS[index % len(figures.COLORS)] for index in range(len(parts))]
    bar = "".join(
        f'<i style="flex:{value / whole:.5f};background:{color}"></i>'
        for value, color in zip(parts.values(), colors, strict=True)
    )
    rows = "".join(
        f'<tr><th scope="row">{_swatch(color, "block")}{_escape(key)}</th><td>{_duration(value)}</td>'
        f"<td>{100.0 * value / whole:.1f} %</td></tr>"
        for (key, value), color in zip(parts.items(), colors, strict=True)
    )
    rows += f'<tr class="sum"><th scope="row">total</th><td>{_duration(total or whole)}</td><td></td></tr>'
    note = (
        "" if whole <= 1.01 * (total or whole) else " The parts add up to more than the total: some ran beside others."
    )
    head = '<thead><tr><th scope="col">Part</th><th scope="col">time</th><th scope="col">share</th></tr></thead>'
    table = f"<table><caption>Wall-clock time by part.{note}</caption>{head}<tbody>{rows}</tbody></table>"
    return _section("Where the time went", f'<div class="bar" aria-hidden="true">{bar}</div>{table}')


def _provenance_section(summary: dict) -> str:
    scalars = {key: value for key, value in summary.items() if isinstance(value, str | int | float)}
    facts = {key: summary[key] for key in _FACTS if summary.get(key) is not None}
    facts |= {key: value for key, value in scalars.items() if key not in _SHOWN_ELSEWHERE and key not in facts}
    rows = [(key.replace("_", " "), _plain(value)) for key, value in facts.items()]
    if sha256 := summary.get("student_sha256"):
        rows.append(("student's sha256", sha256))
    rows += [(f"{name} version", value) for name, value in _object(summary, "versions").items()]
    command = summary.get("command")
    command = shlex.join(map(str, command)) if isinstance(command, list) else command
    block = f"<pre>{_escape(command)}</pre>" if command else ""
    return _section("How to repeat it", block + _table(None, rows, "The run and what it ran with.", "facts"))


# Values


def _number(value: object) -> float | None:
    """The value as a float, or None if it is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _object(summary: dict, key: str) -> dict:
    value = summary.get(key)
    return value if isinstance(value, dict) else {}


def _references(summary: dict) -> list[tuple[str, float]]:
    numbers = ((name, _number(value)) for name, value in _object(summary, "references").items())
    return [(name, value) for name, value in numbers if value is not None]


def _curve(metrics: list[dict], x_key: str, y_key: str) -> tuple[list[float], list[float]]:
    points = ((_number(record.get(x_key)), _number(record.get(y_key))) for record in metrics)
    points = [(x, y) for x, y in points if x is not None and y is not None]
    return [x for x, _ in points], [y for _, y in points]


def _percent(value: float) -> str:
    return f"{value:.2f} %"


def _points(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _time_unit(longest: float) -> tuple[str, float]:
    if longest < 300:
        return "s", 1.0
    return ("min", 60.0) if longest < 3 * 3600 else ("h", 3600.0)


def _plain(value: object) -> str:
    if isinstance(value, list | dict):
        return json.dumps(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


# HTML


def _escape(value: object) -> str:
    return html.escape(str(value))


def _section(title: str, body: str) -> str:
    return f"<section><h2>{_escape(title)}</h2>{body}</section>\n"


def _tile(label: str, value: str, note: object, *, main: bool = False) -> str:
    kind = ' class="main"' if main else ""
    return f"<div{kind}><dt>{_escape(label)}</dt><dd><b>{_escape(value)}</b><small>{_escape(note)}</small></dd></div>"


def _table(header: tuple[str, ...] | None, rows: Iterable[tuple], caption: str, kind: str = "") -> str:
    """A table of plain values, each row led by its name; every value is escaped here."""
    head = "".join(f'<th scope="col">{_escape(cell)}</th>' for cell in header or ())
    head = f"<thead><tr>{head}</tr></thead>" if head else ""
    body = "".join(
        f'<tr><th scope="row">{_escape(name)}</th>{"".join(f"<td>{_escape(cell)}</td>" for cell in cells)}</tr>'
        for name, *cells in rows
    )
    caption = f"<caption>{_escape(caption)}</caption>"
    return f'<table class="{kind}">{caption}{head}<tbody>{body}</tbody></table>'


def _figure(content: str, caption: str, kind: str = "") -> str:
    return f'<figure class="{kind}">{content}<figcaption>{_escape(caption)}</figcaption></figure>'


def _legend(marks: Iterable[tuple[str, str, str]]) -> str:
    """Rows of (colour, "line" | "dashed" | "block", text); in HTML, where long names can wrap."""
    items = "".join(f"<li>{_swatch(color, kind)}{_escape(text)}</li>" for color, kind, text in marks)
    return f'<ul class="legend">{items}</ul>'


def _swatch(color: str, kind: str) -> str:
    return f'<i class="swatch {kind}" style="color:{color}"></i>'


def _page(summary: dict, sections: list[str]) -> str:
    teacher, student = summary.get("teacher") or "a teacher", summary.get("student") or "Student"
    title = f"{student} distilled from {teacher}"
    about = " · ".join(str(summary[key]) for key in ("method", "dataset", "date") if summary.get(key))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_escape(title)} ({_escape(about)})</title>\n<style>{_CSS}</style>\n</head>\n<body>\n"
        f"<header><h1>{_escape(title)}</h1><p>{_escape(about)}</p></header>\n"
        f"<main>\n{''.join(sections)}</main>\n</body>\n</html>\n"
    )


_CSS = """
:root { color-scheme: light dark; --page: #fff; --card: #f4f5f7; --ink: #1b1f24; --quiet: #5a626c; --line: #d9dde2;
  --main: #1d5f9e; }
@media (prefers-color-scheme: dark) { :root { --page: #14171a; --card: #1e2226; --ink: #e6e8ea; --quiet: #a0a8b1;
  --line: #343a41; --main: #7db8ee; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1120px; padding: 1.5rem 1rem 3rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1, h3, th, pre, figcaption, .facts td, .tiles small, .legend { overflow-wrap: anywhere; min-width: 0; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; padding-top: .75rem; border-top: 1px solid var(--line); }
header p, .quiet, small, figcaption, caption { color: var(--quiet); }
header p { margin: .25rem 0 0; }
.quiet, figcaption, caption { font-size: .875rem; margin: 0 0 .75rem; max-width: 46rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: .75rem; margin: 0 0 1.25rem; }
.tiles > div { background: var(--card); border-radius: 8px; padding: .75rem 1rem; }
.tiles .main { grid-column: span 2; border-left: 4px solid var(--main); }
.tiles dt { font-size: .875rem; }
.tiles dd { margin: 0; }
.tiles b { display: block; font-size: 1.25rem; line-height: 1.4; font-weight: 600; }
.tiles .main b { font-size: 2.4rem; line-height: 1.15; color: var(--main); }
.tiles small { display: block; font-size: .8rem; line-height: 1.35; }
table { border-collapse: collapse; font-size: .9rem; width: 100%; max-width: 46rem;
  font-variant-numeric: tabular-nums; }
caption { text-align: left; }
th, td { padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
th:first-child { text-align: left; font-weight: 400; }
td, thead th { white-space: nowrap; }
thead th { color: var(--quiet); font-weight: 400; overflow-wrap: normal; }
tr.sum > * { font-weight: 600; }
.facts { max-width: none; }
.facts th { width: 11rem; color: var(--quiet); }
.facts td { text-align: left; white-space: normal; }
figure { margin: 0; min-width: 0; }
figcaption { margin-top: .25rem; }
.wide { max-width: 40rem; }
.chart { display: block; width: 100%; height: auto; }
.chart * { stroke-linejoin: round; stroke-linecap: butt; }
.chart text { font-family: inherit !important; }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 270px), 1fr)); gap: 1.25rem; }
.panels figure { display: flex; flex-direction: column-reverse; justify-content: flex-end; }
.panels figcaption { margin: 0; color: var(--ink); }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 430px), 1fr)); gap: 1.5rem; }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1.25rem; margin: 0 0 .4rem; padding: 0; list-style: none;
  font-size: .85rem; }
.swatch { display: inline-block; width: 1.4em; margin-right: .45em; vertical-align: .25em;
  border-top: 2.5px solid currentColor; }
.swatch.dashed { border-top-style: dashed; }
.swatch.block { width: .8em; height: .8em; vertical-align: -.05em; border: 0; background: currentColor; }
.class { display: grid; grid-template-columns: 9rem 1fr; gap: .25rem .75rem; margin-bottom: .6rem; }
.class h3 { font-size: .95rem; font-weight: 600; line-height: 1.3; margin: .2rem 0 0; }
.class h3 small { font-weight: 400; }
.class ul { display: grid; grid-template-columns: repeat(10, minmax(0, 1fr)); gap: .4rem; margin: 0; padding: 0;
  list-style: none; max-width: 54rem; }
.class li { font-size: .75rem; line-height: 1.5; text-align: center; color: var(--quiet); }
.class img { display: block; width: 100%; border-radius: 3px; }
.class .pixels img { image-rendering: pixelated; }
.bar { display: flex; height: 1.6rem; max-width: 46rem; border-radius: 6px; overflow: hidden; margin-bottom: .75rem; }
.bar, .swatch { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
pre { background: var(--card); border-radius: 8px; padding: .75rem 1rem; font-size: .85rem; white-space: pre-wrap; }
@media (max-width: 640px) {
  .class { grid-template-columns: 1fr; margin-bottom: .9rem; }
  .class ul { grid-template-columns: repeat(5, minmax(0, 1fr)); }
  .facts th { width: 7.5rem; }
  .tiles .main b { font-size: 2rem; }
}
"""

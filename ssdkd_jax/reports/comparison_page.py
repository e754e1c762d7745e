"""One self-contained HTML page about a comparison: the table, accuracy against time, images side by side."""

import functools
import pathlib

import numpy as np

from ssdkd_jax.reports import charts, page, tables
from ssdkd_jax.reports.run_files import read_buffer

_MOST_CLASSES = 10


def comparison_page(result: dict, shown: dict[str, pathlib.Path]) -> str:
    """The page as text.

    Args:
      result: as in comparison.json, with at least one finished run.
      shown: method -> folder of the run whose images are shown; without its buffer.npz, none are.

    Raises:
      UserError: a buffer.npz cannot be read.
    """
    sections = [
        _result_section(result),
        _time_section(result),
        _images_section(result, shown),
        _provenance_section(result),
    ]
    names = result["methods"]
    title = f"{len(names)} methods compared: {result['teacher']} into {result['student']}"
    about = f"{result['dataset']} · {result['epochs']} epochs · {result['date']}"
    return page.document(title, about, sections)


def _finished(result):
    """name -> row of the methods with a finished run, the most accurate first."""
    rows = {name: row for name, row in result["methods"].items() if row["seeds"]}
    return dict(sorted(rows.items(), key=lambda item: -item[1]["mean"]))


def _result_section(result: dict) -> str:
    finished = _finished(result)
    # Baselines are no competitors, unless there is nothing else.
    ranked = {name: row for name, row in finished.items() if not row["given_images"]} or finished
    best, row = next(iter(ranked.items()))
    tiles = [
        page.tile(f"Most accurate: {best}", page.percent(row["mean"]), _lead(ranked), main=True),
        page.tile("Teacher's accuracy", page.percent(result["teacher_accuracy"]), result["teacher"]),
    ]
    fastest = min(ranked, key=lambda name: ranked[name]["seconds"]["whole"])
    tiles.append(page.tile("Shortest training", page.duration(ranked[fastest]["seconds"]["whole"]), fastest))
    planned = {name: row["memory_bytes"] for name, row in ranked.items() if row["memory_bytes"] is not None}
    if planned:
        smallest = min(planned, key=planned.get)
        tiles.append(page.tile("Least planned memory", f"{planned[smallest] / 1e6:,.0f} MB", smallest))
    rows = tables.rows(result)
    table = page.table(tables.HEADER, rows, "Students on real test images, and what they cost.", "numbers")
    notes = "".join(f'<p class="quiet">{page.escape(note)}</p>' for note in tables.notes(result))
    return page.section("Result", f'<dl class="tiles">{"".join(tiles)}</dl><div class="scroll">{table}</div>{notes}')


def _lead(ranked: dict) -> str:
    """What the first method is before the second, and whether the seeds tell that from chance (Welch, roughly)."""
    if len(ranked) < 2:
        return ""
    (_, first), (name, second) = list(ranked.items())[:2]
    gap = first["mean"] - second["mean"]
    text = f"{gap:.2f} points before {name}"
    if min(len(first["seeds"]), len(second["seeds"])) < 2:
        return text
    noise = 2 * sum(row["std"] ** 2 / len(row["seeds"]) for row in (first, second)) ** 0.5
    return f"{text}, {'more' if gap > noise else 'not more'} than twice the standard error of that"


def _time_section(result: dict) -> str:
    pens = {name: charts.pen(index) for index, name in enumerate(result["methods"])}
    ranked = {name: row for name, row in _finished(result).items() if any(row["curves"])}
    if not ranked:
        return page.section("Accuracy over time", '<p class="quiet">No run evaluated an epoch.</p>')
    longest = max(time for row in ranked.values() for curve in row["curves"] for time, _ in curve)
    unit, seconds = page.time_unit(longest)
    best = next(iter(ranked))
    svg = charts.comparison_chart(
        "comparison",
        f"Student's accuracy against time for {', '.join(ranked)}; {best} ends highest",
        [_line(pens[name], row["curves"], seconds) for name, row in ranked.items()],
        x_label=f"wall-clock time of the training ({unit})",
        y_label="accuracy (%)",
        level=result["teacher_accuracy"],
    )
    keys = [(page.swatch("currentColor", "dashed"), f"teacher, {page.percent(result['teacher_accuracy'])}")]
    keys += [(page.stroke(*pens[name]), f"{name}, {page.percent(row['mean'])}") for name, row in ranked.items()]
    caption = (
        "Mean over the seeds at each evaluated epoch; the band is from the lowest to the highest seed. Time as "
        "in the table."
    )
    return page.section("Accuracy over time", page.figure(page.keys(keys, "columns") + svg, caption, "chart-large"))


def _line(pen: charts.Pen, curves: list, unit_seconds: float) -> charts.Line:
    curves = [curve for curve in curves if curve]
    common = min(map(len, curves))
    points = np.array([curve[:common] for curve in curves], np.float64)
    x, y = points[..., 0] / unit_seconds, points[..., 1]
    return charts.Line(pen, x.mean(0), y.mean(0), y.min(0), y.max(0))


def _images_section(result: dict, shown: dict) -> str:
    picked = {name: _picked_images(*_version(folder)) for name, folder in shown.items()}
    named = next((names for names, _ in filter(None, picked.values())), None)
    if named is None:
        return ""
    head = "".join(f'<th scope="col">{page.escape(name)}</th>' for name in named)
    rows = "".join(_image_row(name, result["methods"][name], picked[name], len(named)) for name in picked)
    table = f'<table class="samples"><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table>'
    note = (
        "By the class that the teacher sees: the image that it is surest of, and the one in the middle of its ranking; "
        "empty where there is none. From each method's first seed: of the images in memory, or of a sample where a "
        "method keeps none."
    )
    body = f'<p class="quiet">{note}</p><div class="scroll">{table}</div>'
    return page.section("Images, side by side", body)


def _image_row(name: str, row: dict, picked: tuple | None, classes: int) -> str:
    kept, made = row["images_kept"], row["images_made"]
    whence = f"of {kept:,} images" if kept else "a sample" if made else "given images"
    cells = picked[1] if picked else [""] * classes
    head = f'<th scope="row">{page.escape(name)}<small>{whence if picked else "no buffer.npz"}</small></th>'
    return f"<tr>{head}{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _version(folder: pathlib.Path) -> tuple[pathlib.Path, int]:
    path = folder / "buffer.npz"
    return folder, path.stat().st_mtime_ns if path.exists() else 0


# The page is made anew after every run, and a buffer may be hundreds of megabytes.
@functools.lru_cache(maxsize=64)
def _picked_images(folder: pathlib.Path, version: int) -> tuple[list[str], list[str]] | None:
    """(class names, a cell of HTML for each); None without buffer.npz."""
    buffer = read_buffer(folder) if version else None
    if buffer is None:
        return None
    count = len(buffer.class_names)
    chosen = np.linspace(0, count - 1, min(count, _MOST_CLASSES)).round().astype(int)
    return [buffer.class_names[index] for index in chosen], [_cell(buffer, index) for index in chosen]


def _cell(buffer, index: int) -> str:
    members = np.flatnonzero(buffer.predicted_class == index)
    ranked = members[np.argsort(-buffer.confidence[members], kind="stable")]
    name = page.escape(buffer.class_names[index])
    kind = "pixels" if max(buffer.images.shape[1:3]) <= charts.LOSSLESS_SIDE else "photos"
    return "".join(
        f'<img class="{kind}" src="{charts.image_uri(buffer.images[i])}" alt="seen as {name}" '
        f'title="{buffer.confidence[i]:.2f}">'
        for i in dict.fromkeys([*ranked[:1], *ranked[len(ranked) // 2 :][:1]])
    )


def _provenance_section(result: dict) -> str:
    facts = [("hardware", result["hardware"]), ("seeds", ", ".join(map(str, result["seeds"])))]
    facts += [("teacher's sha256", result["teacher_sha256"])]
    facts += [(f"{name} version", version) for name, version in result["versions"].items()]
    command = f"<pre>{page.escape(result['command'])}</pre>"
    table = page.table(None, facts, "What it ran with. Each run's own report.html tells more about it.", "facts")
    return page.section("How to repeat it", command + table)

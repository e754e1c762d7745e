"""One self-contained HTML page about a comparison: the table, accuracy over time, images side by side."""

import functools
import pathlib
from typing import NamedTuple

from ssdkd_jax.reports import charts, comparison_table, pages
from ssdkd_jax.reports.run_files import BUFFER, image_source, metric_of, read_buffer
from ssdkd_jax.reports.seed_statistics import twice_standard_error
from ssdkd_jax.reports.thumbnails import Thumbnail, keeps_pixels, thumbnails

_MOST_CLASSES = 10


class _Sample(NamedTuple):
    """Images of one run: `cells` has those of each class."""

    class_names: list[str]
    cells: list[list[Thumbnail]]
    pixels: bool


def comparison_page(result: dict, shown: dict[str, pathlib.Path]) -> str:
    """Renders the page.

    Args:
      result: as in comparison.json, of any version, with at least one finished run.
      shown: method -> folder of the run whose images are shown; without its buffer.npz, none are.

    Returns:
      HTML.

    Raises:
      UserError: a buffer.npz cannot be read.
    """
    finished = {name: row for name, row in result["methods"].items() if row["seeds"]}
    finished = dict(sorted(finished.items(), key=lambda item: -item[1]["mean"]))
    return pages.render(
        "comparison.html",
        title=f"{len(result['methods'])} methods compared: {result['teacher']} into {result['student']}",
        about=f"{result['dataset']} · {result['epochs']} epochs · {result['date']}",
        **_headline(finished),
        teacher=result["teacher"],
        metric=metric_of(result).words,
        teacher_accuracy=result["teacher_accuracy"],
        header=comparison_table.header(result),
        rows=comparison_table.rows(result),
        notes=comparison_table.notes(result),
        chart=_chart(result, finished),
        **_images(result, shown),
        command=result["command"],
        facts=_facts(result),
    )


def _headline(finished: dict) -> dict:
    """The best methods by accuracy, time and memory; `finished` is sorted by accuracy."""
    # Baselines do not compete, unless there is nothing else.
    ranked = {name: row for name, row in finished.items() if not row["given_images"]} or finished
    best = next(iter(ranked))
    fastest = min(ranked, key=lambda name: ranked[name]["seconds"]["whole"])
    planned = {name: row["memory_bytes"] for name, row in ranked.items() if row["memory_bytes"] is not None}
    smallest = min(planned, key=planned.get, default=None)
    return {
        "best": {"name": best, "mean": ranked[best]["mean"]},
        "lead": _lead(ranked),
        "fastest": {"name": fastest, "seconds": ranked[fastest]["seconds"]["whole"]},
        "smallest": smallest and {"name": smallest, "bytes": planned[smallest]},
    }


def _lead(ranked: dict) -> dict | None:
    """Lead of the first method over the second, and whether it exceeds the noise; None for a single method."""
    if len(ranked) < 2:
        return None
    (_, first), (second_name, second) = list(ranked.items())[:2]
    points = first["mean"] - second["mean"]
    accuracies = first["accuracies"], second["accuracies"]
    measured = min(map(len, accuracies)) > 1
    beyond_noise = points > twice_standard_error(*accuracies) if measured else None
    return {"points": points, "of": second_name, "beyond_noise": beyond_noise}


def _chart(result: dict, finished: dict) -> pages.Figure | None:
    """Accuracy over time of all methods; None where no run evaluated an epoch."""
    pens = {name: charts.pen(index) for index, name in enumerate(result["methods"])}
    ranked = {name: row for name, row in finished.items() if any(row["curves"])}
    if not ranked:
        return None
    longest = max(time for row in ranked.values() for curve in row["curves"] for time, _ in curve)
    unit, unit_seconds = pages.time_unit(longest)
    metric = metric_of(result)
    svg = charts.comparison_chart(
        "comparison",
        f"Student's {metric.words} over time for {', '.join(ranked)}; {next(iter(ranked))} ends highest",
        [charts.mean_line(pens[name], row["curves"], unit_seconds) for name, row in ranked.items()],
        x_label=f"wall-clock time of the training ({unit})",
        y_label=f"{metric.words} (%)",
        level=result["teacher_accuracy"],
    )
    legend = [pages.Mark(f"teacher, {result['teacher_accuracy']:.2f} %", "currentColor", "dashed")]
    legend += [
        pages.Mark(f"{name}, {row['mean']:.2f} %", pens[name].color, "stroke", pens[name].dashes)
        for name, row in ranked.items()
    ]
    caption = (
        "Mean over the seeds at each evaluated epoch; the band spans the lowest to the highest seed. Time as in the "
        "table."
    )
    return pages.Figure(svg, caption, tuple(legend))


def _images(result: dict, shown: dict[str, pathlib.Path]) -> dict:
    """Class names and one row a method; no rows where no run has a buffer.npz."""
    samples = {name: _sample(folder, _version(folder)) for name, folder in shown.items()}
    class_names = next((sample.class_names for sample in samples.values() if sample), None)
    if class_names is None:
        return {"image_classes": [], "image_rows": []}
    rows = [
        {
            "name": name,
            "source": image_source(result["methods"][name]),
            "images_kept": result["methods"][name]["images_kept"],
            "cells": sample and sample.cells,
            "pixels": sample and sample.pixels,
        }
        for name, sample in samples.items()
    ]
    return {"image_classes": class_names, "image_rows": rows}


def _version(folder: pathlib.Path) -> int:
    path = folder / BUFFER
    return path.stat().st_mtime_ns if path.exists() else 0


# The page is written again after every run, and a buffer may be hundreds of megabytes.
@functools.lru_cache(maxsize=64)
def _sample(folder: pathlib.Path, version: int) -> _Sample | None:
    """The surest and the middle image of up to ten classes; None without buffer.npz."""
    buffer = read_buffer(folder) if version else None
    if buffer is None:
        return None
    chosen = buffer.shown_classes(_MOST_CLASSES)
    ranked = [buffer.surest_first(index) for index in chosen]
    picked = [positions[sorted({0, len(positions) // 2})] if len(positions) else positions for positions in ranked]
    cells = [thumbnails(buffer, positions) for positions in picked]
    return _Sample([buffer.class_names[index] for index in chosen], cells, keeps_pixels(buffer))


def _facts(result: dict) -> list[tuple[str, object]]:
    facts = [("hardware", result["hardware"]), ("seeds", ", ".join(map(str, result["seeds"])))]
    facts += [("teacher's sha256", result["teacher_sha256"])]
    return facts + [(f"{name} version", version) for name, version in result["versions"].items()]

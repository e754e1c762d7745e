"""How cost grows, as a picture: time and memory against each thing that was changed."""

import io

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ssdkd_jax.reports import charts
from ssdkd_jax.reports.study_plot import DOTS_PER_INCH, STYLE

_TIMES = ("epoch", "synthesis", "inversion step", "student step", "student step without teacher")


def growth_plot(result: dict) -> bytes:
    """Draws a column for each thing that was changed: times above, planned memory below, all axes logarithmic.

    Args:
      result: content of a results file of kind "growth".

    Returns:
      A PNG file.
    """
    columns = {name: _measured(points) for name, points in result["points"].items()}
    columns = {name: points for name, points in columns.items() if points}
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(2.9 * max(len(columns), 2), 5.0), layout="constrained")
        FigureCanvasAgg(figure)
        rows = figure.subplots(2, len(columns), squeeze=False, sharex="col", sharey="row")
        for (name, points), (above, below) in zip(columns.items(), rows.T, strict=True):
            _draw_times(above, points)
            sizes = [point["memory_bytes"] for _, point in points]
            if None not in sizes:
                below.plot(
                    [value for value, _ in points], [size / 1e6 for size in sizes], "o-", color="0.3", markersize=3
                )
            below.set(xscale="log", yscale="log", xlabel=name)
        rows[0, 0].set_ylabel("milliseconds")
        rows[1, 0].set_ylabel("planned memory (MB)")
        handles, labels = rows[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=7, frameon=False)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return stream.getvalue()


def _measured(points):
    """[(value, point)] in order, without what was refused."""
    return sorted((int(value), point) for value, point in points.items() if "refused" not in point)


def _draw_times(axes, points):
    values = [value for value, _ in points]
    for index, figure in enumerate(_TIMES):
        times = [point["milliseconds"].get(figure) for _, point in points]
        if all(times):
            medians = [time["median"] for time in times]
            axes.plot(values, medians, "o-", color=charts.pen(index).color, markersize=3, label=figure)
    axes.set(xscale="log", yscale="log")

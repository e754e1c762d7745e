"""How cost grows, as a picture: time and memory against each thing that was changed."""

from ssdkd_jax.reports import charts
from ssdkd_jax.reports.png_figure import png_figure

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

    def draw(figure):
        rows = figure.subplots(2, max(len(columns), 1), squeeze=False, sharex="col", sharey="row")
        for (name, points), (above, below) in zip(columns.items(), rows.T, strict=False):
            _draw_times(above, points)
            _draw_memory(below, points)
            values = [value for value, _ in points]
            below.set_xticks(values, [f"{value:,}" for value in values])
            below.set_xticks([], minor=True)
            below.set_xlabel(name)
        rows[0, 0].set_ylabel("milliseconds")
        rows[1, 0].set_ylabel("planned memory (MB)")
        handles, labels = rows[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=7, frameon=False)

    return png_figure((2.9 * max(len(columns), 2), 5.0), draw)


def _measured(points):
    """[(value, point)] in order, without what was refused."""
    return sorted((int(value), point) for value, point in points.items() if "refused" not in point)


def _draw_times(axes, points):
    for index, figure in enumerate(_TIMES):
        times = [point["milliseconds"].get(figure) for _, point in points]
        if all(times):
            _draw(axes, points, [time["median"] for time in times], color=charts.pen(index).color, label=figure)


def _draw_memory(axes, points):
    sizes = [point["memory_bytes"] for _, point in points]
    if None not in sizes:
        _draw(axes, points, [size / 1e6 for size in sizes], color="0.3")


def _draw(axes, points, y, **look):
    axes.plot([value for value, _ in points], y, "o-", markersize=3, **look)
    axes.set(xscale="log", yscale="log")

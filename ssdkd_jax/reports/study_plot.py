"""A study's plot: accuracy over the training's time."""

from matplotlib.axes import Axes

from ssdkd_jax.reports import charts
from ssdkd_jax.reports.png_figure import png_figure
from ssdkd_jax.reports.run_files import metric_of


def study_plot(result: dict) -> bytes:
    """Draws the mean of the seeds for each variant, in a band from the lowest to the highest seed.

    Args:
      result: content of a study's results file.

    Returns:
      A PNG file.
    """

    def draw(figure):
        axes = figure.add_subplot()
        axes.axhline(result["teacher_accuracy"], color="0.3", linestyle="--", linewidth=0.9, label="teacher")
        for index, (name, row) in enumerate(result["variants"].items()):
            if any(row["curves"]):
                draw_mean(axes, charts.pen(index), name, row["curves"])
        axes.set(xlabel="seconds of training", ylabel=f"{metric_of(result).words} (%)")
        figure.legend(loc="outside right upper", fontsize=7, frameon=False)

    return png_figure((8.0, 4.5), draw)


def draw_mean(axes: Axes, pen: charts.Pen, name: str, curves: list) -> None:
    """Draws the mean of some curves, as of `charts.mean_line`, in a band from the lowest to the highest."""
    line = charts.mean_line(pen, curves)
    axes.fill_between(line.x, line.low, line.high, color=pen.color, alpha=0.13, linewidth=0)
    # Names are data: a "$" in one must not start Matplotlib's formulas.
    label = name.replace("$", r"\$").lstrip("_")
    axes.plot(line.x, line.y, color=pen.color, dashes=pen.dashes or (None, None), label=label, linewidth=1.5)

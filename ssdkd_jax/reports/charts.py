"""Charts as inline SVG, for pages that must open without a network."""

import html
import io
import re
import warnings
from typing import NamedTuple

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

# Mid-tones: at least 3:1 against both a white and a near-black page, so that one SVG serves both color schemes.
COLORS = ("#3b82c4", "#d9731f", "#2f9e5c", "#a06cd5", "#d94a4a", "#1b9aaa", "#a5734a", "#808890")

# Lengths on and off in widths of the line; with COLORS, enough different lines for all methods of a comparison.
_DASHES = ((), (4, 1.3), (1.2, 1.2), (6, 1.5, 1.2, 1.5))

# Matplotlib knows no `currentColor`; this value marks what takes the page's text color.
_INK = "#010203"

_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ssdkd_jax",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.unicode_minus": True,
    "grid.color": COLORS[-1],
    "grid.alpha": 0.25,
    "grid.linewidth": 0.5,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "lines.linewidth": 1.4,
}

_WIDE = (4.8, 3.0)
_SMALL = (3.0, 1.75)
_LARGE = (6.6, 4.1)
_MOST_POINTS = 400


class Level(NamedTuple):
    """A horizontal line in a chart, such as the teacher's accuracy."""

    value: float
    color: str


class Pen(NamedTuple):
    """How a line is drawn; `dashes` are lengths on and off in widths of the line, none for a solid one."""

    color: str
    dashes: tuple[float, ...]


class Line(NamedTuple):
    """A line of a chart: x, y (n,); low, high (n,) bound the band around it."""

    pen: Pen
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray
    high: np.ndarray


def pen(index: int) -> Pen:
    """Returns the pen of a line by its number: all colors solid first, then dashed, then dotted, then both."""
    repeat, color = divmod(index, len(COLORS))
    return Pen(COLORS[color], _DASHES[repeat % len(_DASHES)])


def mean_line(pen: Pen, curves: list[list], unit: float = 1.0) -> Line:
    """The mean of some curves point by point, in a band from the lowest to the highest.

    Args:
      pen: of the line.
      curves: [[x, y], ...] of each seed; empty ones do not count, longer ones end with the shortest.
      unit: that x is divided by.
    """
    curves = [curve for curve in curves if curve]
    common = min(map(len, curves))
    points = np.array([curve[:common] for curve in curves], np.float64)
    x, y = points[..., 0] / unit, points[..., 1]
    return Line(pen, x.mean(0), y.mean(0), y.min(0), y.max(0))


def accuracy_chart(name: str, alt: str, x, y, *, x_label: str, y_label: str, levels: list[Level]) -> Markup:
    """Draws the student's curve with its last point marked, and dashed lines for what it is compared with.

    Args:
      name: prefix of the SVG's ids; unique on the page.
      alt: what the chart shows, for readers who cannot see it.
      x: wall-clock time, (n,); the axis starts at 0.
      y: percent, (n,).
      x_label: label of the horizontal axis.
      y_label: label of the vertical axis.
      levels: the dashed lines.

    Returns:
      An `<svg>` element.
    """
    with matplotlib.rc_context({**_STYLE, "font.size": 9}):
        figure, axes = _figure(_WIDE)
        for level in levels:
            axes.axhline(level.value, color=level.color, linestyle="--", linewidth=1.1)
        axes.plot(*thin(x, y), color=COLORS[0])
        axes.plot(x[-1:], y[-1:], "o", color=COLORS[0], markersize=5)
        axes.set(xlabel=x_label, ylabel=y_label)
        axes.set_xlim(left=0)
        return _svg(figure, name, alt)


def comparison_chart(name: str, alt: str, lines: list[Line], *, x_label: str, y_label: str, level: float) -> Markup:
    """Draws lines with their bands over wall-clock time, and a dashed one in the text's color for the teacher.

    Args:
      name: prefix of the SVG's ids; unique on the page.
      alt: what the chart shows, for readers who cannot see it.
      lines: the curves; times that span more than a decade get a logarithmic axis.
      x_label: label of the horizontal axis.
      y_label: label of the vertical axis.
      level: the dashed line's height.

    Returns:
      An `<svg>` element.
    """
    times = np.concatenate([line.x for line in lines])
    times = times[times > 0]
    with matplotlib.rc_context({**_STYLE, "font.size": 9.5}):
        figure, axes = _figure(_LARGE)
        axes.axhline(level, color=_INK, linestyle="--", linewidth=0.9)
        if len(times) and times.max() > 10 * times.min():
            _log_time(axes, times.min(), times.max())
        for line in lines:
            axes.fill_between(line.x, line.low, line.high, color=line.pen.color, alpha=0.13, linewidth=0)
        for line in lines:
            axes.plot(line.x, line.y, color=line.pen.color, dashes=line.pen.dashes or (None, None), linewidth=1.6)
            axes.plot(line.x[-1:], line.y[-1:], "o", color=line.pen.color, markersize=4.5)
        axes.set(xlabel=x_label, ylabel=y_label)
        return _svg(figure, name, alt)


def _log_time(axes: Axes, shortest: float, longest: float) -> None:
    # A time of zero, which has no place on this axis, is drawn at the left edge.
    axes.set_xscale("log", nonpositive="clip")
    axes.set_xlim(shortest / 1.1, longest * 1.15)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def curve_chart(name: str, alt: str, x, y, *, color: str = COLORS[0], may_be_log: bool = False) -> Markup:
    """Draws a small panel with one quantity over the epochs; arguments and result as in `accuracy_chart`.

    With `may_be_log`, positive values that span more than two decades get a logarithmic axis.
    """
    with matplotlib.rc_context({**_STYLE, "font.size": 7.5}):
        figure, axes = _figure(_SMALL)
        axes.plot(*thin(x, y), color=color, linewidth=1.1, marker="o" if len(x) < 3 else None, markersize=3)
        if may_be_log and min(y) > 0 and max(y) > 100 * min(y):
            axes.set_yscale("log")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel("epoch", labelpad=1)
        return _svg(figure, name, alt)


def class_chart(
    name: str,
    alt: str,
    shares: list[np.ndarray],
    class_names: list[str],
    *,
    x_label: str = "teacher's class",
    y_label: str = "share of the set (%)",
) -> Markup:
    """Draws the percentage of each set in each class: bars for the first set, a line of steps for the second.

    Args:
      name: prefix of the SVG's ids; unique on the page.
      alt: what the chart shows, for readers who cannot see it.
      shares: one or two arrays (C,), percent.
      class_names: C names; written out when there are at most 20.
      x_label: label of the horizontal axis.
      y_label: label of the vertical axis.

    Returns:
      An `<svg>` element.
    """
    classes = np.arange(len(class_names))
    with matplotlib.rc_context({**_STYLE, "font.size": 9}):
        figure, axes = _figure(_WIDE)
        axes.bar(classes, shares[0], width=0.8 if len(classes) <= 20 else 1.0, color=COLORS[0], alpha=0.75)
        for share in shares[1:]:
            axes.stairs(share, np.arange(len(classes) + 1) - 0.5, baseline=None, color=COLORS[1], linewidth=1.4)
        if len(classes) <= 20:
            _name_ticks(axes, class_names)
        axes.grid(False, axis="x")
        axes.margins(x=0.01)
        axes.set(xlabel=x_label, ylabel=y_label)
        return _svg(figure, name, alt)


def difficulty_chart(name: str, alt: str, difficulties: list[np.ndarray]) -> Markup:
    """Draws a histogram of 1 - p_T for one or two sets, with arguments and result as in `class_chart`.

    The share axis is logarithmic: a good teacher is sure of nearly all real images, and the chart is about the rest.
    """
    with matplotlib.rc_context({**_STYLE, "font.size": 9}):
        figure, axes = _figure(_WIDE)
        edges = np.linspace(0.0, 1.0, 21)
        shares = [100.0 * np.histogram(np.clip(d, 0.0, 1.0), edges)[0] / max(1, len(d)) for d in difficulties]
        axes.bar(edges[:-1], shares[0], width=0.05, align="edge", color=COLORS[0], alpha=0.75)
        for share in shares[1:]:
            axes.stairs(share, edges, color=COLORS[1], linewidth=1.4)
        # Half the smallest share, so that a bin with a single image is visible.
        lowest = min((share[share > 0].min() for share in shares if share.any()), default=1.0) / 2
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set(xlim=(0, 1), ylim=(lowest, 120), xlabel="difficulty, 1 − teacher's confidence")
        axes.set_ylabel("share of the set (%), log")
        return _svg(figure, name, alt)


def thin(x, y) -> tuple[np.ndarray, np.ndarray]:
    """Returns at most 400 points: longer curves become the means of neighboring points."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if len(x) <= _MOST_POINTS:
        return x, y
    return tuple(np.array([part.mean() for part in np.array_split(a, _MOST_POINTS)]) for a in (x, y))


def _figure(size: tuple[float, float]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasSVG(figure)
    return figure, figure.add_subplot()


def _name_ticks(axes: Axes, class_names: list[str]) -> None:
    short = [name if len(name) <= 12 else name[:11] + "…" for name in class_names]
    slanted = sum(map(len, short)) > 40
    turn = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
    # Names are data: a "$" in one must not start Matplotlib's formulas.
    axes.set_xticks(range(len(short)), short, parse_math=False, **turn)


def _svg(figure: Figure, name: str, alt: str) -> Markup:
    stream = io.StringIO()
    with warnings.catch_warnings():
        # The browser draws the text, so Matplotlib's own font may lack its characters.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(stream, format="svg", metadata={"Date": None})
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)
    # Ids share one name space with the page and its other charts.
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-").replace('xlink:href="#', f'href="#{name}-')
    svg = svg.replace(_INK, "currentColor")
    view_box = re.search(r'viewBox="[^"]*"', svg).group()
    opening = f'<svg class="chart" role="img" aria-label="{html.escape(alt)}" {view_box}>'
    return Markup(re.sub(r"^<svg[^>]*>", lambda _: opening, svg).strip())

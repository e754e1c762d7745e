"""Renders the Jinja2 templates of this folder, and writes numbers as people read them.

Whatever a template is given is escaped, except for the charts, which are `markupsafe.Markup`.
"""

import functools
import pathlib
from typing import NamedTuple

import jinja2
from markupsafe import Markup


class Mark(NamedTuple):
    """An entry of a legend.

    text: what it says.
    color: a CSS color.
    kind: "line", "dashed" or "block"; "stroke" for a line with `dashes`.
    dashes: lengths on and off in widths of the line.
    """

    text: str
    color: str
    kind: str
    dashes: tuple[float, ...] = ()


class Figure(NamedTuple):
    """A chart with its caption and its legend, which is HTML so that long names wrap."""

    svg: Markup
    caption: str
    legend: tuple[Mark, ...] = ()


def render(template: str, **values: object) -> str:
    """Renders a template of templates/ to a page that needs nothing from elsewhere."""
    return _environment().get_template(template).render(**values)


def percent(value: float) -> str:
    """91.5 -> "91.50 %"."""
    return f"{value:.2f} %"


def points(value: float) -> str:
    """A signed difference: -1.5 -> "−1.50"."""
    return f"{value:+.2f}".replace("-", "−")


def count(value: float) -> str:
    """1234 -> "1,234"."""
    return f"{value:,.0f}"


def heading(words: str) -> str:
    """With a capital at the beginning, unless there is one in the first word: "mIoU over time"."""
    return words[:1].upper() + words[1:] if words.partition(" ")[0].islower() else words


def duration(seconds: float) -> str:
    """Seconds as people say them: 100 -> "1 min 40 s"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def time_unit(longest: float) -> tuple[str, float]:
    """Returns (name, seconds) of the unit that suits an axis up to `longest` seconds."""
    if longest < 300:
        return "s", 1.0
    return ("min", 60.0) if longest < 3 * 3600 else ("h", 3600.0)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {function.__name__: function for function in (percent, points, count, duration, heading)}
    return environment

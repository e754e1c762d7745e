"""The pieces of a self-contained HTML page: sections, tiles, tables, legends, numbers as text, and the style.

Titles, labels, captions and cells are plain text and escaped here; a `body` or `content` is HTML.
"""

import html
from collections.abc import Iterable


def escape(value: object) -> str:
    return html.escape(str(value))


def section(title: str, body: str) -> str:
    """A part of the page under its heading."""
    return f"<section><h2>{escape(title)}</h2>{body}</section>\n"


def tile(label: str, value: str, note: object, *, main: bool = False) -> str:
    """One number of the headline, for a `<dl class="tiles">`."""
    kind = ' class="main"' if main else ""
    return f"<div{kind}><dt>{escape(label)}</dt><dd><b>{escape(value)}</b><small>{escape(note)}</small></dd></div>"


def table(header: tuple[str, ...] | None, rows: Iterable[tuple], caption: str, kind: str = "") -> str:
    """A table of plain values, each row led by its name; every value is escaped here."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header or ())
    head = f"<thead><tr>{head}</tr></thead>" if head else ""
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
        for name, *cells in rows
    )
    caption = f"<caption>{escape(caption)}</caption>"
    return f'<table class="{kind}">{caption}{head}<tbody>{body}</tbody></table>'


def figure(content: str, caption: str, kind: str = "") -> str:
    """A chart and what it shows."""
    return f'<figure class="{kind}">{content}<figcaption>{escape(caption)}</figcaption></figure>'


def legend(marks: Iterable[tuple[str, str, str]]) -> str:
    """Rows of (color, "line" | "dashed" | "block", text); in HTML, where long names can wrap."""
    return keys((swatch(color, kind), text) for color, kind, text in marks)


def keys(items: Iterable[tuple[str, str]], kind: str = "") -> str:
    """A legend of (mark in HTML, text); of the kind "columns" where there are many."""
    return f'<ul class="legend {kind}">{"".join(f"<li>{mark}{escape(text)}</li>" for mark, text in items)}</ul>'


def stroke(color: str, dashes: Iterable[float], width: float = 2.5) -> str:
    """The mark of a line with this pattern of dashes, in widths of the line."""
    pattern = " ".join(f"{width * length:g}" for length in dashes)
    return (
        f'<svg class="stroke" viewBox="0 0 36 6" aria-hidden="true"><path d="M0 3H36" fill="none" stroke="{color}" '
        f'stroke-width="{width}" stroke-dasharray="{pattern}"/></svg>'
    )


def swatch(color: str, kind: str) -> str:
    """The mark of a color: "line", "dashed" or "block"."""
    return f'<i class="swatch {kind}" style="color:{color}"></i>'


def document(title: str, about: str, sections: list[str]) -> str:
    """The whole document, which needs nothing from elsewhere."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)} ({escape(about)})</title>\n<style>{_CSS}</style>\n</head>\n<body>\n"
        f"<header><h1>{escape(title)}</h1><p>{escape(about)}</p></header>\n"
        f"<main>\n{''.join(sections)}</main>\n</body>\n</html>\n"
    )


def percent(value: float) -> str:
    """91.5 -> "91.50 %"."""
    return f"{value:.2f} %"


def points(value: float) -> str:
    """A signed difference."""
    return f"{value:+.2f}".replace("-", "−")


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def time_unit(longest: float) -> tuple[str, float]:
    """(name, seconds) of the unit that suits an axis up to `longest` seconds."""
    if longest < 300:
        return "s", 1.0
    return ("min", 60.0) if longest < 3 * 3600 else ("h", 3600.0)


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
.legend.columns { display: grid; grid-template-columns: repeat(auto-fill, minmax(12.5rem, 1fr)); }
.swatch { display: inline-block; width: 1.4em; margin-right: .45em; vertical-align: .25em;
  border-top: 2.5px solid currentColor; }
.swatch.dashed { border-top-style: dashed; }
.swatch.block { width: .8em; height: .8em; vertical-align: -.05em; border: 0; background: currentColor; }
.stroke { width: 36px; height: 6px; margin-right: .45em; vertical-align: .2em; }
.scroll { overflow-x: auto; margin-bottom: .75rem; }
.numbers { max-width: none; }
.numbers thead th { white-space: normal; vertical-align: bottom; }
.numbers tbody th { white-space: nowrap; }
.chart-large { max-width: 52rem; }
.samples { width: auto; max-width: none; }
.samples th { text-align: left; white-space: nowrap; font-weight: 400; }
.samples th small { display: block; }
.scroll tr > :first-child { position: sticky; left: 0; background: var(--page); }
.samples td { padding: .25rem .6rem .25rem 0; text-align: left; }
.samples img { width: 2.4rem; margin-right: 2px; border-radius: 3px; vertical-align: middle; }
.samples .pixels { image-rendering: pixelated; }
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
  .legend.columns { grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); }
  .tiles .main b { font-size: 2rem; }
}
"""

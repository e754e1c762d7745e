"""How soon one method or variant is where the others end, from a comparison's or a study's curves."""

import numpy as np

from ssdkd_jax.errors import UserError
from ssdkd_jax.reports import charts

_NEVER = "–"


def header(result: dict, name: str) -> tuple[str, ...]:
    """The names of the columns."""
    kind = "method" if "methods" in result else "variant"
    return (kind, "accuracy (%)", "total (s)", f"{name} has that after (s)", "share of the time", f"{name} by then (%)")


def rows(result: dict, name: str) -> list[tuple[str, ...]]:
    """One row of text for each other method or variant, under `header`.

    The curve of `name` is the mean of its seeds; it has an accuracy where an evaluation first shows it, and what it has
    "by then" is its last evaluation within the other's mean time.

    Args:
      result: a comparison's or a study's results file.
      name: of one of its methods or variants.

    Raises:
      UserError: there is none of that name, it has no curve, or times are not of the seeds that the curves are of.
    """
    all_rows = result.get("methods") or result.get("variants") or {}
    if name not in all_rows:
        raise UserError(f"it has no {name}; known are: {', '.join(all_rows)}")
    if not any(all_rows[name].get("curves", ())):
        raise UserError(f"its {name} has no curve")
    if any(row.get("seconds_of_seeds") for row in all_rows.values()):
        raise UserError("its times are from some of the seeds only, and its curves from all of them")
    line = charts.mean_line(charts.pen(0), all_rows[name]["curves"])
    return [
        _row(other, row["mean"], row["seconds"]["whole"], line)
        for other, row in all_rows.items()
        if other != name and row["mean"] is not None and row.get("seconds")
    ]


def _row(other, accuracy, seconds, line):
    reached, within = np.flatnonzero(line.y >= accuracy), np.flatnonzero(line.x <= seconds)
    by_then = f"{line.y[within[-1]]:.2f}" if len(within) else _NEVER
    first = line.x[reached[0]] if len(reached) else None
    after, share = (_NEVER, _NEVER) if first is None else (f"{first:.0f}", f"{first / seconds:.2f}")
    return other, f"{accuracy:.2f}", f"{seconds:.0f}", after, share, by_then

"""How soon one method or variant is where the others end, from a comparison's or a study's curves."""

from typing import NamedTuple

import numpy as np

from ssdkd_jax.errors import UserError
from ssdkd_jax.reports import charts

_NEVER = "–"


class Row(NamedTuple):
    """Text about one method or variant, under `header`."""

    name: str
    accuracy: str
    seconds: str
    after: str
    share: str
    share_of_seeds: str
    by_then: str


def header(result: dict, name: str) -> tuple[str, ...]:
    """The names of the columns."""
    kind = "method" if "methods" in result else "variant"
    after, by_then = f"{name} has that after (s)", f"{name} by then (%)"
    return (kind, "accuracy (%)", "total (s)", after, "share of its time", "seed by seed", by_then)


def rows(result: dict, name: str) -> list[Row]:
    """One row of text for each other method or variant that has an accuracy and a time.

    The curve of `name` is the mean of its seeds; it has an accuracy where an evaluation first shows it, and what it has
    "by then" is its last evaluation within the other's mean time. Each seed's share is `share_of_seed`.

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
        _row(other, row, all_rows[name], line)
        for other, row in all_rows.items()
        if other != name and row["mean"] is not None and row.get("seconds")
    ]


def _row(other, row, racer, line):
    accuracy, seconds = row["mean"], row["seconds"]["whole"]
    after, within = first_time(line.x, line.y, accuracy), np.flatnonzero(line.x <= seconds)
    by_then = f"{line.y[within[-1]]:.2f}" if len(within) else _NEVER
    when, share = (_NEVER, _NEVER) if after is None else (f"{after:.0f}", f"{after / seconds:.2f}")
    return Row(other, f"{accuracy:.2f}", f"{seconds:.0f}", when, share, _shares_in_words(row, racer), by_then)


def first_time(x: np.ndarray, y: np.ndarray, accuracy: float) -> float | None:
    """Returns the first x (n,) whose y (n,) is an accuracy or more; None where none is."""
    reached = np.flatnonzero(np.asarray(y) >= accuracy)
    return float(x[reached[0]]) if len(reached) else None


def share_of_seed(curve: list[list[float]], racing: list[list[float]]) -> float | None:
    """Returns the share of a run's time after which another of the same seed is where it ends; None where never.

    Args:
      curve: [[seconds, accuracy], ...] of the run.
      racing: of the other.
    """
    seconds, accuracy = curve[-1]
    after = first_time(*np.array(racing).T, accuracy)
    return None if after is None else after / seconds


def _shares_in_words(row, racer):
    """`share_of_seed` of all seeds of which both have curves, in the order of the seeds."""
    curves, racing = (dict(zip(one["seeds"], one.get("curves", ()), strict=False)) for one in (row, racer))
    common = [seed for seed in sorted(curves) if curves[seed] and racing.get(seed)]
    shares = [share_of_seed(curves[seed], racing[seed]) for seed in common]
    return ", ".join(_NEVER if share is None else f"{share:.2f}" for share in shares) or _NEVER

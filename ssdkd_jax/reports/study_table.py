"""The table of a study's variants."""

import statistics

from ssdkd_jax.reports.comparison_table import COSTS, accuracy, costs, failures, listed, networks, score_column
from ssdkd_jax.reports.run_files import metric_of

_BALANCE = "class entropy"
_BALANCE_IN_WORDS = (
    "Class entropy is that of the classes that the teacher sees in the images kept, or given, over the largest "
    "possible, which equally many of each class have."
)
# The first so many costs: for all but the memory, which variants of one config share for the most part.
_COSTS = 5


def header(result: dict) -> tuple[str, ...]:
    """Returns the names of the columns."""
    balance = [_BALANCE] if _has_balance(result) else []
    return ("variant", score_column(result), "difference (95 % interval)", *balance, *COSTS[:_COSTS])


def rows(result: dict) -> list[tuple[str, ...]]:
    """Returns one row of text per variant, under `header`."""
    seeds, has_balance = len(result["seeds"]), _has_balance(result)
    return [
        (
            *(name, accuracy(row, seeds), difference(row.get("paired"))),
            *([f"{statistics.mean(entropies(row)):.2f}"] if has_balance else []),
            *costs(row)[:_COSTS],
        )
        for name, row in result["variants"].items()
    ]


def _has_balance(result: dict) -> bool:
    return all(map(entropies, result["variants"].values()))


def entropies(row: dict) -> list[float]:
    """Of the classes of each run's images; [] where one is not known."""
    found = [(of_run or {}).get("class_entropy") for of_run in row.get("images") or []]
    return [] if None in found else found


def difference(paired: dict | None) -> str:
    """Writes paired differences, for example "**+1.20 (0.40 to 2.00)**", bold where zero is outside of the interval."""
    if paired is None:
        return ""
    mean = f"{paired['mean']:+.2f}"
    if paired.get("low") is None:
        return mean
    text = f"{mean} ({paired['low']:.2f} to {paired['high']:.2f})"
    return f"**{text}**" if paired["beyond_noise"] else text


def notes(result: dict) -> list[str]:
    """Returns the sentences that belong under the table."""
    seeds, first = result["seeds"], next(iter(result["variants"]))
    metric = metric_of(result)
    at_once = f", {result['runs_at_once']} runs at once" if result["runs_at_once"] > 1 else ""
    spread = (
        f"{len(seeds)} seeds ({listed(seeds)}): {metric.words} is mean ± standard deviation, time the mean{at_once}."
    )
    intervals = (
        f"Differences are from {first}, seed by seed, with Student's interval; bold where zero lies outside, as it "
        "does by chance for one in twenty."
    )
    return [
        spread if len(seeds) > 1 else f"One seed ({seeds[0]}), so the spread is unknown{at_once}.",
        intervals if len(seeds) > 1 else f"Differences are from {first}.",
        f"Teacher {result['teacher']}, {result['teacher_accuracy']:.2f} {metric.unit}; student {result['student']}, "
        f"{result['dataset']}.",
        *([_BALANCE_IN_WORDS] if _has_balance(result) else []),
        *networks(result["variants"], result["student"]),
        *failures(result["variants"]),
    ]

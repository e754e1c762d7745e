"""Medians and quartiles of repeated calls; knows neither JAX nor PyTorch, so that both are timed by the same code."""

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

# Of a figure, however long a call takes.
LEAST_CALLS = 3


class Budget(NamedTuple):
    """When a figure is measured well enough.

    repeats: the most calls.
    seconds: no call begins after that many, but for the first LEAST_CALLS.
    """

    repeats: int
    seconds: float


def repeat(call: Callable[[], object], budget: Budget, warmups: int = 1) -> list:
    """Calls repeatedly and returns what the calls returned, but for the first `warmups`."""
    for _ in range(warmups):
        call()
    found, start = [], time.perf_counter()
    while len(found) < budget.repeats:
        if len(found) >= LEAST_CALLS and time.perf_counter() - start > budget.seconds:
            break
        found.append(call())
    return found


def measure(call: Callable[[], object], budget: Budget, *, units: float = 1, warmups: int = 1) -> dict:
    """Times calls that wait for the device's work.

    Args:
      call: returns when its work is done.
      budget: Budget.
      units: of work in a call, such as steps.
      warmups: calls that do not count: they compile, allocate and choose algorithms.

    Returns:
      the `summary` of a unit.
    """

    def seconds():
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    return summary(repeat(seconds, budget, warmups), units)


def summary(seconds: list[float], units: float = 1) -> dict:
    """{"median", "quartiles": [lower, upper]} in milliseconds per unit, and {"calls"}: how many were timed."""
    milliseconds = [1000 * value / units for value in seconds]
    # A single call has no quartiles but itself.
    lower, _, upper = statistics.quantiles(milliseconds * (2 if len(milliseconds) == 1 else 1), n=4, method="inclusive")
    return {"median": statistics.median(milliseconds), "quartiles": [lower, upper], "calls": len(milliseconds)}

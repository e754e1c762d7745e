"""Statistics over the seeds of one setting."""

import statistics
from collections.abc import Sequence


def mean_and_std(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Returns the mean and the sample standard deviation; 0 for one value, None for none."""
    if not values:
        return None, None
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def twice_standard_error(first: Sequence[float], second: Sequence[float]) -> float:
    """Returns twice the standard error of the difference of two means (Welch); a rough guide with few seeds.

    Args:
      first, second: one value a seed, at least one each.
    """
    return 2 * sum(mean_and_std(values)[1] ** 2 / len(values) for values in (first, second)) ** 0.5

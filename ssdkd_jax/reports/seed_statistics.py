"""Statistics over the seeds of one setting."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

import scipy.special


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


class Paired(NamedTuple):
    """Differences of two settings, seed by seed.

    differences: one a seed.
    mean: of them.
    low, high: bounds of the 95 % confidence interval of the mean; None for a single seed.
    """

    differences: list[float]
    mean: float
    low: float | None
    high: float | None

    @property
    def beyond_noise(self) -> bool | None:
        """Whether zero lies outside of the interval; None where there is none."""
        return None if self.low is None else not self.low <= 0 <= self.high


def paired(values: Sequence[float], baseline: Sequence[float]) -> Paired:
    """Student's paired t interval: mean ± t(0.975, n - 1) * s / sqrt(n) of the n differences.

    One of twenty such intervals misses the true difference by chance.

    Args:
      values, baseline: (n,) of the same seeds in the same order, at least one.
    """
    differences = [value - other for value, other in zip(values, baseline, strict=True)]
    mean, std = mean_and_std(differences)
    if len(differences) < 2:
        return Paired(differences, mean, None, None)
    half = float(scipy.special.stdtrit(len(differences) - 1, 0.975)) * std / len(differences) ** 0.5
    return Paired(differences, mean, mean - half, mean + half)


def paired_by_seed(values: dict[int, float], baseline: dict[int, float]) -> dict | None:
    """`paired` of the seeds that both have, as a results file holds it; None where they have none in common.

    Args:
      values, baseline: {seed: value}.
    """
    seeds = sorted(values.keys() & baseline.keys())
    if not seeds:
        return None
    found = paired([values[seed] for seed in seeds], [baseline[seed] for seed in seeds])
    return {"seeds": seeds, **found._asdict(), "beyond_noise": found.beyond_noise}

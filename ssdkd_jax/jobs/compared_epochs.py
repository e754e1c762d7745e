"""The epochs of compared methods: equally many of them with student steps.

`epochs` of a comparison's config are those of the data-free method with the longest warm-up; each other method gets as
many epochs with student steps, plus its own warm-up.  The longest is that of all known methods, asked for or not, so
that methods can be added later.  How many student steps an epoch has is up to each method's section (`kd_steps`).
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ssdkd_jax.jobs.networks import method_settings
from ssdkd_jax.jobs.schedule import shortened
from ssdkd_jax.methods import METHODS, find_method


class Schedule(NamedTuple):
    """Epochs of a method's run, and how many of them are its warm-up."""

    epochs: int
    warmup: int


def schedules(config, methods: Sequence[str]) -> dict[str, Schedule]:
    """method -> Schedule in a comparison of this config."""
    return _schedules(config.epochs, _warmups(config, methods), methods)


def epochs_that_give(config, noted: Iterable[tuple[str, Schedule]]) -> int | None:
    """The `epochs` with which a comparison of this config has all of these schedules, or None.

    Args:
      config: ConfigDict; its own `epochs` do not count.
      noted: (method, Schedule) of runs, at least one.
    """
    noted = list(noted)
    methods = [method for method, _ in noted]
    warmups = _warmups(config, methods)
    least = max(schedule.epochs for _, schedule in noted)
    # Downwards, since where warm-ups are shortened other epochs can give a method the same schedule.
    for epochs in range(least + max(warmups.values()), least - 1, -1):
        found = _schedules(epochs, warmups, methods)
        if all(found[method] == schedule for method, schedule in noted):
            return epochs
    return None


def _warmups(config, methods):
    """method -> the warm-up that its settings ask for, of all known methods and these."""
    return {
        method: method_settings(config, method).get("warmup_epochs", 0)
        for method in dict.fromkeys([*METHODS, *methods])
    }


def _schedules(epochs, warmups, methods):
    fitted = {method: shortened(warmup, epochs) for method, warmup in warmups.items()}
    longest = max(fitted[method] for method in METHODS if not find_method(method).method.given)
    return {method: Schedule(epochs - longest + fitted[method], fitted[method]) for method in methods}

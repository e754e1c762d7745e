"""What all stages of a run share."""

import pathlib
from typing import Any, NamedTuple

from ssdkd_jax.training.clock import Clock


class Context(NamedTuple):
    """Context shared by all stages of a run.

    config: ConfigDict with the fields of configs/common.py.
    devices: list of devices.
    clock: Clock.
    interruption: becomes true when the work should be saved and stopped.
    folder: the run's.
    """

    config: Any
    devices: list
    clock: Clock
    interruption: Any
    folder: pathlib.Path

"""TPUs to compile for: what their chips can do, and their topologies, which libtpu knows without any TPU."""

import importlib.util
import os
from typing import Any, NamedTuple

import jax
from jax.experimental import topologies

from ssdkd_jax.errors import UserError, did_you_mean


class Chip(NamedTuple):
    """A chip, as Google's documentation gives it (docs.cloud.google.com/tpu/docs/v4, v5e, v6e; November 2026).

    flops: bfloat16 operations a second.
    memory: bytes of its main memory.
    bandwidth: bytes of it that can be moved in a second.
    options: of its topology, where a chip's two cores are one device.
    """

    flops: float
    memory: float
    bandwidth: float
    options: dict[str, str] = {}  # noqa: RUF012 (read only)


CHIPS = {
    "v4": Chip(275e12, 32 * 2**30, 1200e9, {"chip_config_name": "megacore"}),
    "v5e": Chip(197e12, 16e9, 819e9),
    "v6e": Chip(918e12, 32e9, 1638e9),
}


def chip_of(topology: str) -> Chip:
    """The chip of a topology such as "v5e:2x4".

    Raises:
      UserError: another kind of chip.
    """
    kind = topology.partition(":")[0]
    if kind not in CHIPS:
        meant = did_you_mean(kind, CHIPS)
        raise UserError(
            f"--topology={topology} begins with {kind!r}, {meant}expected {', '.join(CHIPS)}, such as v5e:2x4"
        )
    return CHIPS[kind]


def devices_of(topology: str) -> list[Any]:
    """The devices of a topology; programs can be compiled for them, and nothing else.

    Raises:
      UserError: libtpu is not installed, or knows no such topology.
    """
    options = chip_of(topology).options
    if importlib.util.find_spec("libtpu") is None:
        raise UserError("compiling for TPUs needs libtpu, which is not installed: pip install -r requirements-tpu.txt")
    # Nothing runs on a TPU, so another program may use it.
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    # Which are asked for where no TPU says them, with pages of complaints.
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    os.environ.setdefault("TPU_ACCELERATOR_TYPE", topology.replace(":", "-"))
    try:
        return list(topologies.get_topology_desc(platform="tpu", topology_name=topology, **options).devices)
    except (jax.errors.JaxRuntimeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"libtpu has no topology {topology} ({reason}); expected one such as v5e:2x4 or v4:2x2x1"
        ) from error

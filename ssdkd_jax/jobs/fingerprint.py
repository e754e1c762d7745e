"""What decides numbers and compiled programs beside a run's settings, networks, images and this package's source."""

import os

import jax

from ssdkd_jax.jobs import provenance

# Variables of the shell that XLA and its libraries read. (Of files that they name, the content decides too.)
_VARIABLES = ("XLA_FLAGS", "LIBTPU_INIT_ARGS", "NVIDIA_TF32_OVERRIDE")
# Beginnings of others: Flax reads its own where they are needed, JAX its own when it is imported.
_BEGINNINGS = ("FLAX_",)


def of_machine(devices: list) -> dict:
    """Plain values of the variables, devices, packages and settings of JAX with which a run computes.

    Args:
      devices: of the run.
    """
    return {
        "variables": {name: value for name, value in os.environ.items() if _decides(name)},
        # Where JAX keeps programs, and which, changes none of them.
        "jax": {name: str(value) for name, value in jax.config.values.items() if "cache" not in name},
        "devices": [[device.id for device in devices], provenance.hardware(devices), provenance.instruction_set()],
        "platform": getattr(devices[0].client, "platform_version", ""),
        "versions": provenance.versions_below(),
    }


def _decides(variable):
    return variable in _VARIABLES or variable.startswith(_BEGINNINGS)

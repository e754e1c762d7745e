"""What decides numbers and compiled programs beside a run's settings, networks and images."""

import os

import jax

from ssdkd_jax import source
from ssdkd_jax.jobs import provenance

# Variables of the shell that XLA and its libraries read.  What is in files that they name is not looked at.
_OF_THE_COMPILER = ("XLA_FLAGS", "LIBTPU_INIT_ARGS", "NVIDIA_TF32_OVERRIDE")
# Packages that decide what is compiled, and not only what is traced.
_COMPILERS = ("jax", "jaxlib")


def of_compiler(devices: list) -> dict:
    """Plain values of all that decides what a compiler makes of what was traced.

    Args:
      devices: of the run.
    """
    # Where JAX keeps programs, and which, changes none of them.
    settings = {name: str(value) for name, value in getattr(jax.config, "values", {}).items() if "cache" not in name}
    return {
        "variables": {name: os.environ[name] for name in _OF_THE_COMPILER if name in os.environ},
        "settings": {**settings, "precision": str(jax.config.jax_default_matmul_precision)},
        "devices": [[device.id for device in devices], provenance.hardware(devices), provenance.instruction_set()],
        "platform": getattr(devices[0].client, "platform_version", ""),
        "versions": [provenance.versions_below().get(name) for name in _COMPILERS],
    }


def of_code() -> dict:
    """Plain values of the source, packages and variables with which functions are traced."""
    return {
        "source": source.AS_IMPORTED,
        "versions": provenance.versions_below(),
        "variables": {name: value for name, value in os.environ.items() if name.startswith("FLAX_")},
    }

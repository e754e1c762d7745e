"""What a result was made with: versions and hardware."""

import importlib.metadata
import os
import pathlib
import platform

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def versions():
    """Versions of Python and of the packages that decide a result."""
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in PACKAGES}}


def hardware(devices):
    """Which devices a run used, e.g. "2 cores of AMD EPYC" or "8 x TPU v5e"."""
    if devices[0].platform != "cpu":
        return f"{len(devices)} x {devices[0].device_kind}"
    names = [line.split(":")[1].strip() for line in _cpu_lines() if line.startswith("model name")]
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{count} core{'s' if count > 1 else ''} of {names[0] if names else platform.processor() or 'CPU'}"


def _cpu_lines():
    path = pathlib.Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []

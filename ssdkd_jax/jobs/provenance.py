"""What a result was made with: versions, hardware and date."""

import datetime
import importlib.metadata
import os
import pathlib
import platform
import subprocess

import ssdkd_jax

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
# What of a checkout decides a result.
_CODE = ("ssdkd_jax", "configs", "studies", "experiments")


def made_with(devices):
    """{"hardware", "date", "versions"} of a result that was measured on these devices today."""
    return {"hardware": hardware(devices), "date": datetime.date.today().isoformat(), "versions": versions()}


def versions():
    """Versions of this package, and `versions_below` it."""
    return {"ssdkd_jax": CODE_VERSION, **versions_below()}


def versions_below():
    """Versions of Python and of the packages that decide a result."""
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in PACKAGES}}


def code_version(folder: pathlib.Path) -> str:
    """Version of the code in a folder, such as "0.1.0 at commit 2ae8db4a1b with changes"; without git, "0.1.0"."""
    # An installed package may lie in the checkout of something else.
    if not (folder / ".git").exists():
        return ssdkd_jax.__version__
    try:
        commit = _git(folder, "rev-parse", "--short=10", "HEAD")
        changes = " with changes" if _git(folder, "status", "--porcelain", "-unormal", "--", *_CODE) else ""
    except (OSError, subprocess.SubprocessError):
        return ssdkd_jax.__version__
    return f"{ssdkd_jax.__version__} at commit {commit}{changes}"


def _git(folder, *arguments):
    # Without locks, beside which a command of the user's would fail; never of another repository, as one around this.
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment["GIT_CEILING_DIRECTORIES"] = str(folder.parent)
    found = subprocess.run(command, check=True, capture_output=True, text=True, timeout=10, env=environment)
    return found.stdout.strip()


# Of when this module was imported, as all that runs was: later commits are not of what runs.
CODE_VERSION = code_version(pathlib.Path(ssdkd_jax.__file__).parent.parent)


def hardware(devices):
    """Which devices a run used, e.g. "2 cores of AMD EPYC" or "8 x TPU v5e"."""
    count = len({device.process_index for device in devices})
    processes = f" in {count} processes" if count > 1 else ""
    if devices[0].platform != "cpu":
        return f"{len(devices)} x {devices[0].device_kind}{processes}"
    names = [line.split(":")[1].strip() for line in _cpu_lines() if line.startswith("model name")]
    cores = len(usable_cores())
    kind = names[0] if names else platform.processor() or "CPU"
    return f"{cores} core{'s' if cores > 1 else ''} of {kind}{processes}"


def instruction_set() -> list[str]:
    """The kind of this machine's processor and what it can do, for which programs are compiled."""
    features = {word for line in _cpu_lines() if line.startswith(("flags", "Features")) for word in line.split()[2:]}
    return [platform.machine(), *sorted(features)]


def usable_cores() -> list[int]:
    """Numbers of the cores that this process may use, which is how many threads XLA has on a CPU."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def _cpu_lines():
    path = pathlib.Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []

"""The memory of the devices, and what cannot fit into it."""

import os
import pathlib

import jax

from ssdkd_jax.errors import UserError

# Where Linux keeps the limit of the container that a process runs in, if any.
_CONTAINER_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory_of(device) -> int:
    """Bytes of a device's memory; of a CPU, of the machine or the container."""
    # Of another process's device nothing is known.
    known = device.platform != "cpu" and device.process_index == jax.process_index()
    stats = device.memory_stats() if known else None
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"]
    return memory_of_machine()


def memory_of_machine(limits=_CONTAINER_LIMITS) -> int:
    """Bytes that this process may take of the machine's memory.

    Args:
      limits: files of which each holds a number of bytes, or "max" for none.
    """
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in map(pathlib.Path, limits):
        try:
            found.append(int(file.read_text()))
        except (OSError, ValueError):  # no such file, or no limit in it
            continue
    return min(found)


def check_memory(needed: int, device, what: str, fix: str) -> None:
    """Raises UserError where something takes more bytes than a device has; a lower bound is enough to know."""
    there = memory_of(device)
    if needed > there:
        raise UserError(f"{what} take at least {gigabytes(needed)}, but there are {gigabytes(there)}; {fix}")


def gigabytes(count: int) -> str:
    """A number of bytes for a message."""
    return f"{count / 1e9:,.1f} GB"

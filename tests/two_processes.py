"""Two processes of one job on this machine."""

import socket

from ssdkd_jax.training.environment import COORDINATOR, COUNT, INDEX
from tests import programs
from tests.tiny_job import xla_flags


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def unoptimized(devices):
    """Flags of programs whose bits are those of a job in the tests' own process (conftest.py)."""
    return f"{xla_flags(devices)} --xla_backend_optimization_level=0"


def start_two(module, *arguments, devices=2):
    """Both programs, with so many devices each: two `programs.Program`."""
    environment = {
        "XLA_FLAGS": unoptimized(devices),
        "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo",
        COORDINATOR: f"127.0.0.1:{free_port()}",
        COUNT: "2",
    }
    return [programs.Program(module, arguments, **environment, **{INDEX: str(index)}) for index in range(2)]

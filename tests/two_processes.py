"""Two processes of one job on this machine, with two devices each."""

import os
import socket
import subprocess
import sys

from ssdkd_jax.training.environment import COORDINATOR, COUNT, INDEX
from tests.tiny_job import ROOT, xla_flags


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def start_two(command):
    """Both, from the arguments of the interpreter."""
    environment = os.environ | {
        "XLA_FLAGS": f"{xla_flags(2)} --xla_backend_optimization_level=0",
        "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo",
        COORDINATOR: f"127.0.0.1:{free_port()}",
        COUNT: "2",
    }
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return [
        subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment | {INDEX: str(index)}, **pipes)
        for index in range(2)
    ]

"""What the programs that time something have in common."""

import os

from absl import flags


def define_budget(repeats):
    """The flags `--repeats`, with its default, and `--seconds`."""
    flags.DEFINE_integer("repeats", repeats, "The most timed calls of a figure.", lower_bound=1, upper_bound=10**6)
    flags.DEFINE_float("seconds", 2.0, "Seconds after which no more calls of a figure begin.", lower_bound=0)


def compile_anew():
    """From now on nothing that was compiled before is read, or the time of a compilation would be that of reading."""
    import jax

    jax.config.update("jax_enable_compilation_cache", False)


def leave_memory_to_pytorch():
    """From now on JAX takes no more of a GPU's memory than it needs, or PyTorch's process would find none."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

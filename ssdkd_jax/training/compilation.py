"""Compiled programs: each is compiled once, on the clock, and never silently again."""

import concurrent.futures
import contextlib
import functools
import os

import jax
import jax.numpy as jnp

from ssdkd_jax.training import multiprocess
from ssdkd_jax.training.kept_programs import compile_program
from ssdkd_jax.training.memory import check_memory

# XLA uses several cores for one program only part of the time.
COMPILERS = concurrent.futures.ThreadPoolExecutor()


def matmul_precision(name: str) -> contextlib.AbstractContextManager:
    """A block in which this thread's matrix products have a precision; in "default", what JAX is set to otherwise."""
    return contextlib.nullcontext() if name == "default" else jax.default_matmul_precision(name)


class CompileOnce:
    """A jitted or pmapped function that is compiled at its first call, on the clock, and never again.

    A later call with other shapes, dtypes or placement is an error instead of a silent second compilation.

    Args:
      function: jitted or pmapped.
      clock: Clock; takes the compilation's time.
      check: called with what was compiled, before it runs.
      name: of the function among the kept programs.
      kept: KeptPrograms, where an earlier run's program is found, without tracing the function, and this run's is kept.
    """

    def __init__(self, function, clock, check=lambda compiled: None, *, name="", kept=None):
        self._function, self._clock, self._check = function, clock, check
        self._name, self._kept = name, kept
        self._compiled, self._compiling, self._keep, self._anew = None, None, None, None

    def start(self, *args):
        """Begins to compile for arguments like these, arrays or shapes with shardings, while the caller goes on.

        Where an earlier run kept the program, it begins to read that instead.
        """
        with self._clock.measure("compile"):
            entry = self._kept and self._kept.entry(self._name, args)
            if entry and os.path.exists(entry):  # False, too, where the folder cannot be searched
                self._compiling = COMPILERS.submit(lambda: (self._kept.read(entry, args), None))
                self._anew = functools.partial(self._compile, entry, args)
            else:
                self._compile(entry, args)

    def _compile(self, entry, args):
        """Traces the function, in this thread, which has its settings, and begins to compile it."""
        lowered, options = self.lower(*args), fast_to_compile()
        self._compiling = COMPILERS.submit(compile_program, lowered, options, bool(entry))
        self._keep = entry and functools.partial(self._kept.keep, entry, lowered, options)

    def lower(self, *args):
        """What is compiled for arguments like these."""
        return self._function.lower(*args)

    def finish(self):
        """Waits for the compilation that was started, raises what it or the check has to say, and keeps the program.

        It traces the function where what was kept cannot be read, so it is called with the same settings as `start`.
        """
        with self._clock.measure("compile"):
            compiled, serialized = self._compiling.result()
            if compiled is None:  # what was kept cannot be loaded
                self._anew()
                compiled, serialized = self._compiling.result()
            self._compiling = self._anew = None
        self._check(compiled)
        self._compiled = compiled
        if self._keep:  # beside the first epoch
            COMPILERS.submit(self._keep, serialized)
            self._keep = None

    def __call__(self, *args):
        if self._compiled is None:
            if self._compiling is None:
                self.start(*args)
            self.finish()
        return self._compiled(*args)

    def memory_bytes(self):
        """`planned_bytes` of the program; None before it is compiled."""
        return self._compiled and planned_bytes(self._compiled)


def planned_bytes(compiled):
    """Memory of one device that the compiler plans for a call: arguments, results and temporaries; or None.

    Donated arguments, in whose place results are written, count once.
    """
    analysis = compiled.memory_analysis()
    if analysis is None:
        return None
    kept = analysis.argument_size_in_bytes + analysis.output_size_in_bytes - analysis.alias_size_in_bytes
    return int(kept + analysis.temp_size_in_bytes)


def fits(devices, what, fix):
    """A check for `CompileOnce` that raises UserError where a program takes more memory than there is.

    Args:
      devices: that run it.
      what: the program computes, in words.
      fix: what makes it smaller, in words.
    """
    # A CPU's devices share the machine's memory.
    sharing = len(devices) // multiprocess.count() if devices[0].platform == "cpu" else 1

    def check(compiled):
        check_memory(sharing * (planned_bytes(compiled) or 0), devices[0], f"the arrays of {what}", fix)

    return check


def jit_for_one_call(function):
    """`jax.jit` of a function that is called once, whose result matters and whose speed does not.

    On CPUs, initial weights take the compiler four times less for the same bits with fewer of LLVM's optimizations.
    """
    if jax.default_backend() != "cpu":
        return jax.jit(function)
    return jax.jit(function, compiler_options={**fast_to_compile(), "xla_backend_optimization_level": 1})


@functools.cache
def fast_to_compile():
    """Compiler options with which the programs run as fast and compile sooner; {} where there are none.

    XLA's newer code generator for fused operations on CPUs takes half of the compile time of a short run, and no step
    is measurably faster for it.
    """
    options = {"xla_cpu_use_fusion_emitters": False}
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(jnp.negative, compiler_options=options).lower(jnp.float32(0)).compile()
    except jax.errors.JaxRuntimeError:  # an XLA that has no such option any more
        return {}
    return options

"""Compiled programs: each is compiled once, on the clock, and never silently again."""

import concurrent.futures
import functools

import jax
import jax.numpy as jnp

# XLA uses several cores for one program only part of the time.
COMPILERS = concurrent.futures.ThreadPoolExecutor()


class CompileOnce:
    """A jitted or pmapped function that is compiled at its first call, on the clock, and never again.

    A later call with other shapes, dtypes or placement is an error instead of a silent second compilation.
    """

    def __init__(self, function, clock):
        self._function, self._clock, self._compiled, self._compiling = function, clock, None, None

    def start(self, *args):
        """Begins to compile for arguments like these, arrays or shapes with shardings, while the caller goes on."""
        with self._clock.measure("compile"):
            lowered = self._function.lower(*args)
            self._compiling = COMPILERS.submit(lowered.compile, fast_to_compile())

    def __call__(self, *args):
        if self._compiled is None:
            with self._clock.measure("compile"):
                if self._compiling is None:
                    self.start(*args)
                self._compiled, self._compiling = self._compiling.result(), None
        return self._compiled(*args)

    def memory_bytes(self):
        """Memory of one device that the compiler plans for a call: arguments, results and temporaries; or None.

        Donated arguments, in whose place results are written, count once.
        """
        analysis = self._compiled and self._compiled.memory_analysis()
        if analysis is None:
            return None
        kept = analysis.argument_size_in_bytes + analysis.output_size_in_bytes - analysis.alias_size_in_bytes
        return int(kept + analysis.temp_size_in_bytes)


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

"""Compiled programs: each is compiled once, on the clock, and never silently again."""

import jax


class CompileOnce:
    """A jitted or pmapped function that is compiled at its first call, on the clock, and never again.

    A later call with other shapes, dtypes or placement is an error instead of a silent second compilation.
    """

    def __init__(self, function, clock):
        self._function, self._clock, self._compiled = function, clock, None

    def __call__(self, *args):
        return self.compiled(*args)(*args)

    def compiled(self, *args):
        """The compiled program, for arrays or shapes like these."""
        if self._compiled is None:
            with self._clock.measure("compile"):
                self._compiled = self._function.lower(*args).compile()
        return self._compiled

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
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 1})

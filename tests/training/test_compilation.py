"""Programs are compiled once, on the clock."""

import jax
import jax.numpy as jnp
import pytest

from ssdkd_jax.training import compilation
from ssdkd_jax.training.clock import Clock
from ssdkd_jax.training.compilation import CompileOnce


def test_compile_once_compiles_on_the_clock_and_refuses_another_shape():
    clock, traces = Clock(), []

    def double(x):
        traces.append(x.shape)
        return 2 * x

    function = CompileOnce(jax.jit(double), clock)
    assert (function(jnp.ones(3)), function(jnp.zeros(3)))[0].sum() == 6
    assert traces == [(3,)]
    assert clock.seconds["compile"] > 0
    with pytest.raises(TypeError):
        function(jnp.ones(4))


def test_a_started_compilation_is_the_one_that_is_called():
    clock, traces = Clock(), []

    def double(x):
        traces.append(x.shape)
        return 2 * x

    function = CompileOnce(jax.jit(double), clock)
    function.start(jax.ShapeDtypeStruct((3,), jnp.float32))
    assert function(jnp.ones(3)).sum() == 6
    assert traces == [(3,)]
    with pytest.raises(TypeError):
        function(jnp.ones(4))


def test_what_a_started_compilation_raises_comes_at_the_call(monkeypatch):
    monkeypatch.setattr(compilation, "fast_to_compile", lambda: {"xla_no_such_option": True})
    function = CompileOnce(jax.jit(jnp.negative), Clock())
    function.start(jnp.ones(3))
    with pytest.raises(jax.errors.JaxRuntimeError, match="xla_no_such_option"):
        function(jnp.ones(3))

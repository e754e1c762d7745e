"""Time is counted once, for the innermost purpose."""

import time

import jax
import jax.numpy as jnp
import pytest

from ssdkd_jax.training import compilation
from ssdkd_jax.training.clock import Clock
from ssdkd_jax.training.compilation import CompileOnce


def test_inner_time_is_not_the_outer_purposes():
    clock = Clock()
    with clock.measure("outer"):
        time.sleep(0.02)
        with clock.measure("inner"):
            time.sleep(0.1)
        with clock.measure("inner"):
            time.sleep(0.1)
    assert clock.seconds["inner"] >= 0.2
    assert 0.02 <= clock.seconds["outer"] < 0.2


def test_time_counts_when_the_block_fails():
    clock = Clock()
    with pytest.raises(ZeroDivisionError), clock.measure("work"):
        time.sleep(0.01)
        1 / 0  # noqa: B018
    assert clock.seconds["work"] >= 0.01


def test_parts_and_host_make_up_the_total():
    clock = Clock()
    with clock.measure("work"):
        time.sleep(0.01)
    report = clock.report()
    assert report["host"] >= 0
    assert report["total"] == pytest.approx(report["work"] + report["host"])


def test_earlier_seconds_are_added():
    clock = Clock()
    clock.add("work", 1.0)
    clock.add_earlier({"work": 10.0, "rest": 5.0, "host": 2.0, "total": 17.0})
    report = clock.report()
    assert (report["work"], report["rest"]) == (11.0, 5.0)
    assert report["total"] == pytest.approx(17.0, abs=0.5)


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

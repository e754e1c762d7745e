"""The loop of every compiled program."""

import jax
import jax.numpy as jnp
from numpy.testing import assert_allclose

from ssdkd_jax.loops import repeat


def step(carry, key):
    return carry + 1, {"before": carry.astype(jnp.float32), "noise": jax.random.uniform(key)}


def test_metrics_are_averages_and_keys_differ():
    carry, metrics = repeat(step, jnp.int32(3), jax.random.key(0), 4)
    assert carry == 7
    assert metrics["before"] == 4.5
    expected = [jax.random.uniform(jax.random.fold_in(jax.random.key(0), i)) for i in range(4)]
    assert len({float(x) for x in expected}) == 4
    assert_allclose(metrics["noise"], sum(expected) / 4, rtol=1e-6)


def test_no_steps_change_nothing():
    carry, metrics = repeat(step, jnp.int32(3), jax.random.key(0), 0)
    assert carry == 3
    assert metrics == {"before": 0, "noise": 0}


def test_every_number_of_steps_is_the_same_compiled_program():
    traced = []

    @jax.jit
    def program(steps):
        traced.append(steps)
        return repeat(step, jnp.int32(0), jax.random.key(0), steps)[0]

    assert [int(program(steps)) for steps in (0, 1, 4)] == [0, 1, 4]
    assert len(traced) == 1


def test_a_step_is_traced_once():
    """Tracing is Python's work, and a good part of what a run waits for before its first epoch."""
    traced = []

    def step(carry, key):
        traced.append(key)
        return carry + 1.0, {"carry": carry}

    jax.jit(lambda: repeat(step, jnp.float32(0), jax.random.key(0), 5))()
    assert len(traced) == 1

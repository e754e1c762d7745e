"""How phases become epochs, with a method that only writes down what was called with which key."""

import jax
import jax.numpy as jnp
import pytest
from numpy.testing import assert_array_equal

from ssdkd_jax.methods.base import Method, Phase, scanned_epoch, stepwise_epoch

LENGTH = 12


def note(log, value):
    """A log is (values, how many there are); the value is some number that belongs to a key."""
    values, count = log
    return values.at[count].set(value), count + 1


def number(key):
    return jax.random.uniform(key)


def phase(offset, steps):
    def step(log, key):
        return note(log, offset + number(key)), {f"index{offset}": log[1].astype(jnp.float32)}

    def end(log, key):
        return note(log, offset + 2 + number(key)), {f"end{offset}": number(key)}

    return Phase(lambda log, key: note(log, offset - 2 + number(key)), step, end, steps, metrics=(f"index{offset}",))


METHOD = Method(
    init=lambda key, teacher: (jnp.zeros(LENGTH), jnp.int32(0)),
    synthesis=phase(10, 3),
    distillation=phase(100, None),
    distillation_steps=lambda epoch: 2 * epoch,
    end=lambda log: (log, {"length": log[1].astype(jnp.float32)}),
    new_images=None,
    batch_sizes=(1, 1),
    held_out=None,
    sharded=None,
    buffer=None,
    student=None,
)


@pytest.fixture(scope="module")
def epochs():
    return {"scanned": jax.jit(scanned_epoch(METHOD)), "stepwise": stepwise_epoch(METHOD, jax.jit)}


def run(epoch, steps, seed=0):
    return epoch(METHOD.init(None, None), jax.random.key(seed), jnp.int32(steps))


@pytest.mark.parametrize("kind", ["scanned", "stepwise"])
def test_an_epoch_is_begin_steps_end_of_both_phases(epochs, kind):
    (values, count), metrics = run(epochs[kind], 4)
    assert count == 3 + 2 + 4 + 2
    # begin 8, steps 10, end 12, of the second phase 98, 100, 102; the fraction is the key's number.
    assert_array_equal(jnp.floor(values[:count]), [8, 10, 10, 10, 12, 98, 100, 100, 100, 100, 102])
    # Steps are numbered by the log's length before them: 1, 2, 3 and 6 to 9; metrics are their averages.
    assert metrics["index10"] == 2
    assert metrics["index100"] == 7.5
    assert metrics.keys() == {"index10", "index100", "end10", "end100", "length"}
    assert metrics["length"] == count
    # No two calls share a key.
    fractions = values[:count] % 1
    assert len(set(fractions.round(3).tolist())) == count


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_scanned_and_stepwise_epochs_are_the_same(epochs, steps):
    (values, count), metrics = run(epochs["scanned"], steps)
    (stepwise_values, stepwise_count), stepwise_metrics = run(epochs["stepwise"], steps)
    assert_array_equal(values, stepwise_values)
    assert count == stepwise_count == 3 + 2 + steps + 2
    for name in stepwise_metrics:
        assert metrics[name] == pytest.approx(stepwise_metrics[name]), name
    # Without steps there is nothing to average: absent in one, a placeholder in the other.
    assert metrics.keys() - stepwise_metrics.keys() == ({"index100"} if steps == 0 else set())


@pytest.mark.parametrize("make_epoch", [lambda m: jax.jit(scanned_epoch(m)), lambda m: stepwise_epoch(m, jax.jit)])
def test_rounds_are_repeated_within_an_epoch(make_epoch):
    method = METHOD._replace(rounds=2, synthesis=phase(10, 1), init=lambda *_: (jnp.zeros(20), jnp.int32(0)))
    (values, count), metrics = make_epoch(method)(method.init(), jax.random.key(0), jnp.int32(2))
    one_round = [8, 10, 12, 98, 100, 100, 102]
    assert_array_equal(jnp.floor(values[:count]), 2 * one_round)
    assert len(set((values[:count] % 1).round(4).tolist())) == count
    # Positions 1 and 8; 4, 5, 11 and 12.
    assert metrics["index10"] == 4.5 and metrics["index100"] == 8
    assert metrics["length"] == 14


def test_every_number_of_steps_is_the_same_compiled_program():
    compilations = []

    def traced(state, key, steps):
        compilations.append(steps)
        return scanned_epoch(METHOD)(state, key, steps)

    epoch = jax.jit(traced)
    for steps in (0, 1, 4):
        run(epoch, steps)
    assert len(compilations) == 1


def test_another_key_gives_other_numbers(epochs):
    assert (run(epochs["scanned"], 4)[0][0] != run(epochs["scanned"], 4, seed=1)[0][0])[:11].all()

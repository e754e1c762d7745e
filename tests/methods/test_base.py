"""How synthesis and student training become epochs, with a method that only notes which call got which key."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest
from numpy.testing import assert_array_equal

from ssdkd_jax.methods.base import Method
from ssdkd_jax.methods.student_training import StudentTraining
from ssdkd_jax.settings import setting


class Log(NamedTuple):
    """values (n,): what was noted; count: how much of it; epoch: epochs done."""

    values: jax.Array
    count: jax.Array
    epoch: jax.Array


def note(log, offset, key):
    """The value is an offset, by which a call is known, plus a fraction that belongs to its key."""
    return log._replace(values=log.values.at[log.count].set(offset + jax.random.uniform(key)), count=log.count + 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Noting(StudentTraining):
    """Notes 10 for a synthesis and 100 for a student step."""

    rounds_per_epoch: int = setting(1, "rounds", at_least=1)

    def init(self, key, teacher):
        return Log(jnp.zeros(20), jnp.int32(0), jnp.int32(0))

    def synthesize(self, state, teacher, key):
        return note(state, 10, key), {"synthesis_at": state.count.astype(jnp.float32), "teacher": teacher}

    def distill_step(self, state, teacher, key):
        return note(state, 100, key), {"step_at": state.count.astype(jnp.float32)}

    @property
    def rounds(self):
        return self.rounds_per_epoch

    def count_round(self, state):
        return state


def run(method, epoch=0, seed=0):
    start = method.init(None, None)._replace(epoch=jnp.int32(epoch))
    log, metrics = jax.jit(method.epoch)(start, jnp.float32(7), jax.random.key(seed))
    return log.values[: log.count], metrics


def noting(**changes):
    return Noting(problem=None, **{"kd_steps": 4, "epochs": 3, **changes})


def test_an_epoch_is_a_synthesis_and_the_student_steps():
    values, metrics = run(noting())
    assert_array_equal(jnp.floor(values), [10, 100, 100, 100, 100])
    assert len(set((values % 1).round(4).tolist())) == 5, "two calls share a key"
    assert (metrics["synthesis_at"], metrics["step_at"], metrics["teacher"]) == (0, 2.5, 7)


def test_a_warmup_only_synthesizes():
    values, _ = run(noting(warmup_epochs=1))
    assert_array_equal(jnp.floor(values), [10])
    assert len(run(noting(warmup_epochs=1), epoch=1)[0]) == 5


def test_rounds_are_repeated_within_an_epoch():
    values, metrics = run(noting(rounds_per_epoch=2))
    assert_array_equal(jnp.floor(values), 2 * [10, 100, 100])
    assert len(set((values % 1).round(4).tolist())) == 6, "two calls share a key"
    assert (metrics["synthesis_at"], metrics["step_at"]) == (1.5, (1 + 2 + 4 + 5) / 4)


def test_another_key_gives_other_numbers():
    assert (run(noting())[0] != run(noting(), seed=1)[0]).all()


@pytest.mark.parametrize("rounds", [1, 2])
def test_the_two_programs_of_the_loop_are_the_epoch(rounds):
    method, key = noting(rounds_per_epoch=rounds), jax.random.key(0)
    state = method.init(None, None)
    for number in range(rounds):
        synthesis_key, student_key = method.round_keys(key, number)
        state, _ = method.synthesize(state, jnp.float32(7), synthesis_key)
        state, _ = method.train_student(state, jnp.float32(7), student_key)
    assert_array_equal(state.values[: state.count], run(method)[0])


def test_the_learning_rate_is_that_after_the_epoch():
    method = noting(epochs=2, student_learning_rate=0.2, student_final_learning_rate=0.1)
    rates = [run(method, epoch)[1]["learning_rate"] for epoch in (0, 1)]
    assert rates == [pytest.approx(0.15), pytest.approx(0.1)]


def test_settings_are_checked_when_a_method_is_made():
    with pytest.raises(ValueError, match="kd_steps is 0, expected at least 1"):
        noting(kd_steps=0)


def test_a_state_without_a_buffer_is_the_same_on_every_device():
    state = Log(jnp.zeros(2), jnp.int32(0), jnp.int32(0))
    assert Method(problem=None).sharded(state) == Log(False, False, False)

"""The loop around a method, with a method so small that it compiles at once: a number that grows by one an epoch."""

import shutil
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssdkd_jax.errors import Diverged, UserError
from ssdkd_jax.methods.base import Method, Phase
from ssdkd_jax.training.checkpoints import Checkpoints
from ssdkd_jax.training.clock import Clock
from ssdkd_jax.training.interruption import Interrupted
from ssdkd_jax.training.loop import Plan, distill
from tests.tiny_job import epochs_done


class Student(NamedTuple):
    variables: dict


class State(NamedTuple):
    teacher: dict
    student: Student
    epoch: jax.Array


def counting_method(nan_loss_in=None, nan_parameter_in=None):
    """Its student is the number of epochs done plus noise from the epoch's key."""

    def is_epoch(state, number):
        return state.epoch + 1 == (-1 if number is None else number)

    def make(state, key):
        return state, {"inversion_loss": jax.random.uniform(key)}

    def learn(state, key):
        w = state.student.variables["w"] + 1 + 0.1 * jax.random.uniform(key)
        w = jnp.where(is_epoch(state, nan_parameter_in), jnp.nan, w)
        loss = jnp.where(is_epoch(state, nan_loss_in), jnp.nan, 1.0)
        return state._replace(student=Student({"w": w})), {"student_loss": loss}

    return Method(
        init=lambda key, teacher: State(teacher, Student({"w": jnp.zeros(2)}), jnp.int32(0)),
        synthesis=Phase(lambda state, key: state, make, lambda state, key: (state, {}), 1),
        distillation=Phase(
            lambda state, key: state,
            learn,
            lambda state, key: (state, {}),
            metrics=("student_loss",),
        ),
        distillation_steps=lambda epoch: 1,
        end=lambda state: (state._replace(epoch=state.epoch + 1), {}),
        new_images=lambda epoch: 1,
        batch_sizes=(1, 1),
        held_out=None,
        sharded=lambda state: jax.tree.map(lambda _: False, state),
        buffer=None,
        student=lambda state: state.student,
    )


def run(workdir, method=None, *, interruption=False, scores=None, teacher=1.0, **changes):
    """A run of six epochs; `scores` maps an epoch to its score, 10 times the epoch by default."""

    def score(variables, state):
        epoch = int(state.epoch[0])
        return 10.0 * epoch if scores is None else scores[epoch]

    plan = Plan(
        epochs=6,
        evaluate_every=1,
        checkpoint_every=2,
        seed=0,
        loop="scan",
        score=score,
        score_name="student_accuracy",
        images_per_epoch=lambda epoch: 1,
    )
    return distill(
        method or counting_method(),
        {"params": np.float32([teacher])},
        plan._replace(**changes),
        workdir=workdir,
        devices=jax.local_devices()[:1],
        clock=Clock(),
        interruption=interruption,
    )


class AfterEpoch:
    """True as soon as so many epochs are in metrics.jsonl."""

    def __init__(self, workdir, epoch):
        self._workdir, self._epoch = workdir, epoch

    def __bool__(self):
        return len(epochs_done(self._workdir)) >= self._epoch


def saved(workdir, which):
    return [int(path.name) for path in (workdir / "checkpoints" / which).iterdir()]


@pytest.mark.parametrize("loop", ["scan", "steps"])
def test_runs_to_the_end(tmp_path, loop):
    result = run(tmp_path, loop=loop)
    w = result.state.student.variables["w"]
    assert np.all((w > 6) & (w < 6.6))
    assert int(result.state.epoch) == 6
    assert (result.score, result.best_score, result.best_epoch) == (60.0, 60.0, 6)
    assert epochs_done(tmp_path) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("epoch", [1, 3, 5])
def test_interrupted_run_goes_on_bit_by_bit(tmp_path, epoch):
    whole = run(tmp_path / "whole")
    with pytest.raises(Interrupted, match=f"stopped after epoch {epoch} of 6, everything is saved"):
        run(tmp_path / "parts", interruption=AfterEpoch(tmp_path / "parts", epoch))
    parts = run(tmp_path / "parts")
    np.testing.assert_array_equal(whole.state.student.variables["w"], parts.state.student.variables["w"])
    assert epochs_done(tmp_path / "parts") == [1, 2, 3, 4, 5, 6]


def test_going_on_with_another_teacher_is_refused(tmp_path):
    with pytest.raises(Interrupted):
        run(tmp_path, interruption=AfterEpoch(tmp_path, 3))
    with pytest.raises(UserError, match="was made with another teacher"):
        run(tmp_path, teacher=2.0)
    assert run(tmp_path).score == 60.0


def test_request_before_the_first_epoch(tmp_path):
    with pytest.raises(Interrupted, match="stopped before epoch 1 of 6"):
        run(tmp_path, interruption=True)
    assert epochs_done(tmp_path) == []


def test_request_in_the_last_epoch_changes_nothing(tmp_path):
    assert run(tmp_path, interruption=AfterEpoch(tmp_path, 6)).score == 60.0


def test_best_checkpoint_is_the_first_of_the_highest_score(tmp_path):
    result = run(tmp_path, scores={1: 10.0, 2: 30.0, 3: 70.0, 4: 50.0, 5: 70.0, 6: 20.0})
    assert (result.score, result.best_score, result.best_epoch) == (20.0, 70.0, 3)
    assert (saved(tmp_path, "best"), saved(tmp_path, "latest")) == ([3], [6])


def test_run_killed_after_a_better_score_than_its_checkpoint_knows(tmp_path):
    """The latest checkpoint is of epoch 2, the best of epoch 3: going on reaches epoch 3 again."""
    with pytest.raises(Interrupted):
        run(tmp_path, interruption=AfterEpoch(tmp_path, 2))
    shutil.copytree(tmp_path / "checkpoints/latest", tmp_path / "kept")
    with pytest.raises(Interrupted):
        run(tmp_path, interruption=AfterEpoch(tmp_path, 3))
    shutil.rmtree(tmp_path / "checkpoints/latest")
    (tmp_path / "kept").rename(tmp_path / "checkpoints/latest")
    assert saved(tmp_path, "best") == [3]
    assert run(tmp_path).best_epoch == 6
    assert epochs_done(tmp_path) == [1, 2, 3, 4, 5, 6]


def test_finished_loop_gives_its_result_again(tmp_path):
    first, again = run(tmp_path), run(tmp_path)
    np.testing.assert_array_equal(first.state.student.variables["w"], again.state.student.variables["w"])
    assert again.best_epoch == first.best_epoch


def test_loss_that_is_not_finite_stops_and_keeps_the_checkpoint_before(tmp_path):
    with pytest.raises(Diverged, match="student_loss is nan in epoch 5: stopped; the last checkpoint before stays"):
        run(tmp_path, counting_method(nan_loss_in=5))
    assert saved(tmp_path, "latest") == [4]
    assert epochs_done(tmp_path) == [1, 2, 3, 4]


def test_parameter_that_is_not_finite_is_never_saved(tmp_path):
    with pytest.raises(Diverged, match=r"\.student\.variables\['w'\] is not finite after epoch 4: stopped"):
        run(tmp_path, counting_method(nan_parameter_in=4), scores=dict.fromkeys(range(1, 7), 5.0))
    assert saved(tmp_path, "latest") == [2]
    assert np.isfinite(last_student(tmp_path)).all()


def last_student(workdir):
    manager = Checkpoints(workdir / "checkpoints/latest")
    state, _ = manager.restore(State({}, Student({"w": jnp.zeros(2)}), jnp.int32(0)))
    manager.close()
    return state.student.variables["w"]


def test_full_disk_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    with pytest.raises(Interrupted):
        run(tmp_path, interruption=AfterEpoch(tmp_path, 3))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6, 0))
    with pytest.raises(UserError, match="the disk is full"):
        run(tmp_path)
    monkeypatch.undo()
    assert saved(tmp_path, "latest") == [3]
    assert run(tmp_path).score == 60.0


def test_seconds_go_on_and_leave_the_interruption_out(tmp_path):
    with pytest.raises(Interrupted):
        run(tmp_path, interruption=AfterEpoch(tmp_path, 3))
    (step,) = (tmp_path / "checkpoints/latest").iterdir()
    assert '"seconds"' in (step / "info" / "metadata").read_text()
    run(tmp_path)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    seconds = [float(line.rsplit(": ", 1)[1].rstrip("}")) for line in lines]
    assert seconds == sorted(seconds)

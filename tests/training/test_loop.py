"""The loop around a method, with a method so small that it compiles at once: a number that grows by one an epoch."""

import dataclasses
import json
import shutil
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssdkd_jax.errors import Diverged, UserError
from ssdkd_jax.methods.base import Method
from ssdkd_jax.training import memory
from ssdkd_jax.training.checkpoints import Checkpoints
from ssdkd_jax.training.clock import Clock
from ssdkd_jax.training.interruption import Interrupted
from ssdkd_jax.training.loop import Plan, distill
from tests.saved_arrays import flip_a_byte
from tests.tiny_job import epochs_done


class Student(NamedTuple):
    variables: dict


class State(NamedTuple):
    student: Student
    epoch: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Counting(Method):
    """Its student is the number of epochs done plus noise from the epoch's key."""

    nan_loss_in: int = 0
    nan_parameter_in: int = 0
    warmup: int = 0

    def init(self, key, teacher):
        return State(Student({"w": jnp.zeros(2)}), jnp.int32(0))

    def synthesize(self, state, teacher, key):
        return state, {"inversion_loss": jax.random.uniform(key)}

    def train_student(self, state, teacher, key):
        w = state.student.variables["w"] + 1 + 0.1 * jax.random.uniform(key)
        w = jnp.where(state.epoch + 1 == self.nan_parameter_in, jnp.nan, w)
        loss = jnp.where(state.epoch + 1 == self.nan_loss_in, jnp.nan, 1.0)
        return State(Student({"w": w}), state.epoch + 1), {"student_loss": loss}

    def student_steps(self, epoch):
        return 0 if epoch < self.warmup else 1

    def images_processed(self, epoch):
        return 1


def run(folder, *, interruption=False, scores=None, teacher=1.0, given=None, method=None, **changes):
    """A run of six epochs; `scores` maps an epoch to its score, 10 times the epoch by default."""

    def score(variables, state, teacher):
        epoch = int(state.epoch[0])
        return 10.0 * epoch if scores is None else scores[epoch]

    plan = Plan(epochs=6, evaluate_every=1, checkpoint_every=2, seed=0, score=score, score_name="student_accuracy")
    return distill(
        method or Counting(problem=None),
        {"params": np.float32([teacher])} | ({} if given is None else {"given": {"images": np.uint8([given])}}),
        plan._replace(**changes),
        folder=folder,
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
    return sorted(int(path.name) for path in (workdir / "checkpoints" / which).iterdir())


def test_runs_to_the_end(tmp_path):
    result = run(tmp_path)
    w = result.state.student.variables["w"]
    assert np.all((w > 6) & (w < 6.6))
    assert int(result.state.epoch) == 6
    assert (result.score, result.best_score, result.best_epoch) == (60.0, 60.0, 6)
    assert epochs_done(tmp_path) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("epoch", [1, 3, 5])
def test_interrupted_run_resumes_bit_by_bit(tmp_path, epoch):
    whole = run(tmp_path / "whole")
    with pytest.raises(Interrupted, match=f"stopped after epoch {epoch} of 6; progress saved"):
        run(tmp_path / "parts", interruption=AfterEpoch(tmp_path / "parts", epoch))
    parts = run(tmp_path / "parts")
    np.testing.assert_array_equal(whole.state.student.variables["w"], parts.state.student.variables["w"])
    assert epochs_done(tmp_path / "parts") == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(("alone", "scored"), [(True, [1, 4, 5, 6]), (False, [1, 2, 3, 4, 5, 6])])
@pytest.mark.parametrize("epoch", [None, 2])
def test_a_student_that_rests_is_scored_once(tmp_path, alone, scored, epoch):
    found = []

    def score(variables, state, teacher):
        found.append(int(state.epoch[0]))
        return float(found[-1])

    options = {"method": Counting(problem=None, warmup=3), "score": score, "of_student_alone": alone}
    if epoch:
        with pytest.raises(Interrupted):
            run(tmp_path, interruption=AfterEpoch(tmp_path, epoch), **options)
    assert run(tmp_path, **options).score == 6 and found == scored
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["student_accuracy"] for row in rows] == ([1, 1, 1, 4, 5, 6] if alone else scored)
    assert [row["student_steps"] for row in rows] == [0, 0, 0, 1, 2, 3]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Worried(Counting):
    """Finds something wrong in its second epoch."""

    def concern(self, epoch, metrics):
        return "this looks bad" if epoch == 1 else ""


def test_concerns_are_kept_also_over_a_stop(tmp_path, capsys):
    with pytest.raises(Interrupted):
        run(tmp_path, method=Worried(problem=None), interruption=AfterEpoch(tmp_path, 3))
    assert "\nepoch 2: this looks bad\n" in f"\n{capsys.readouterr().out}"
    assert run(tmp_path, method=Worried(problem=None)).concerns == ["epoch 2: this looks bad"]


def test_resuming_with_another_teacher_is_refused(tmp_path):
    with pytest.raises(Interrupted):
        run(tmp_path, interruption=AfterEpoch(tmp_path, 3))
    with pytest.raises(UserError, match="was made with another teacher"):
        run(tmp_path, teacher=2.0)
    assert run(tmp_path).score == 60.0


def test_resuming_with_other_given_images_is_refused(tmp_path):
    with pytest.raises(Interrupted):
        run(tmp_path, given=1, interruption=AfterEpoch(tmp_path, 3))
    with pytest.raises(UserError, match="was made with other given images"):
        run(tmp_path, given=2)
    with pytest.raises(UserError, match="was made with another teacher"):
        run(tmp_path, given=1, teacher=2.0)
    assert run(tmp_path, given=1).score == 60.0


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    with pytest.raises(Interrupted):
        run(tmp_path, experiment="one", interruption=AfterEpoch(tmp_path, 3))
    with pytest.raises(UserError, match="is of a run with other settings than"):
        run(tmp_path, experiment="another")
    assert run(tmp_path, experiment="one").score == 60.0


def test_request_before_the_first_epoch(tmp_path):
    with pytest.raises(Interrupted, match="stopped before epoch 1 of 6"):
        run(tmp_path, interruption=True)
    assert epochs_done(tmp_path) == []


def test_request_in_the_last_epoch_changes_nothing(tmp_path):
    assert run(tmp_path, interruption=AfterEpoch(tmp_path, 6)).score == 60.0


def test_best_checkpoint_is_the_first_of_the_highest_score(tmp_path):
    result = run(tmp_path, scores={1: 10.0, 2: 30.0, 3: 70.0, 4: 50.0, 5: 70.0, 6: 20.0})
    assert (result.score, result.best_score, result.best_epoch) == (20.0, 70.0, 3)
    assert (saved(tmp_path, "best"), saved(tmp_path, "latest")) == ([3], [4, 6])
    student, info = Checkpoints(tmp_path / "checkpoints/best").restore(result.state.student.variables)
    assert info["epoch"] == 3
    assert np.all(student["w"] < result.state.student.variables["w"])  # it grows from epoch to epoch


def test_run_killed_after_a_better_score_than_its_checkpoint_knows(tmp_path):
    """The latest checkpoint is of epoch 2, the best of epoch 3: resuming reaches epoch 3 again."""
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


def test_a_flipped_byte_in_the_latest_checkpoint_costs_its_epochs_and_nothing_else(tmp_path, capsys):
    whole = run(tmp_path / "whole")
    with pytest.raises(Interrupted):
        run(tmp_path / "parts", interruption=AfterEpoch(tmp_path / "parts", 4))
    flip_a_byte(tmp_path / "parts/checkpoints/latest/4/state")
    parts = run(tmp_path / "parts")
    out = capsys.readouterr().out
    assert "that of epoch 4 cannot be read" in out and "using the one of epoch 2" in out
    np.testing.assert_array_equal(whole.state.student.variables["w"], parts.state.student.variables["w"])
    assert epochs_done(tmp_path / "parts") == [1, 2, 3, 4, 5, 6]


def test_loss_that_is_not_finite_stops_and_keeps_the_checkpoint_before(tmp_path):
    with pytest.raises(Diverged, match=r"student_loss is nan in epoch 5: stopped; the checkpoint of epoch 4 stays"):
        run(tmp_path, method=Counting(problem=None, nan_loss_in=5))
    assert saved(tmp_path, "latest") == [2, 4]
    assert epochs_done(tmp_path) == [1, 2, 3, 4]


def test_nothing_is_said_to_stay_where_there_is_nothing(tmp_path):
    with pytest.raises(Diverged, match="student_loss is nan in epoch 1: stopped; start from scratch"):
        run(tmp_path, method=Counting(problem=None, nan_loss_in=1))


def test_parameter_that_is_not_finite_is_never_saved(tmp_path):
    with pytest.raises(Diverged, match=r"\.student\.variables\['w'\] is not finite after epoch 4: stopped"):
        run(
            tmp_path,
            method=Counting(problem=None, nan_parameter_in=4),
            scores=dict.fromkeys(range(1, 7), 5.0),
        )
    assert saved(tmp_path, "latest") == [2]
    assert np.isfinite(last_student(tmp_path)).all()


def last_student(workdir):
    manager = Checkpoints(workdir / "checkpoints/latest")
    state, _ = manager.restore(State(Student({"w": jnp.zeros(2)}), jnp.int32(0)))
    manager.close()
    return state.student.variables["w"]


def test_full_disk_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    with pytest.raises(Interrupted):
        run(tmp_path, interruption=AfterEpoch(tmp_path, 3))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6, 0))
    with pytest.raises(UserError, match="the disk is full"):
        run(tmp_path)
    monkeypatch.undo()
    assert saved(tmp_path, "latest") == [2, 3]
    assert run(tmp_path).score == 60.0


def test_seconds_continue_and_leave_the_interruption_out(tmp_path):
    with pytest.raises(Interrupted):
        run(tmp_path, interruption=AfterEpoch(tmp_path, 3))
    newest = tmp_path / "checkpoints/latest/3/info/metadata"
    assert '"seconds"' in newest.read_text()
    run(tmp_path)
    seconds = [record["training_seconds"] for record in metrics(tmp_path)]
    assert seconds == sorted(seconds) and len(seconds) == 6


def test_a_checkpoint_knows_the_log_of_its_run(tmp_path, capsys):
    with pytest.raises(Interrupted):
        run(tmp_path, interruption=AfterEpoch(tmp_path, 3))
    log = tmp_path / "metrics.jsonl"
    log.write_text(log.read_text().replace('"student_accuracy": ', '"student_accuracy": 1'))
    run(tmp_path)
    assert f"{log} is not the log of this run, by its checkpoint" in capsys.readouterr().out
    assert [record["epoch"] for record in metrics(tmp_path)] == [4, 5, 6]


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_synthesis_and_student_are_on_the_clock_directly(tmp_path):
    clock = Clock()
    plan = Plan(2, 1, 1, 0, lambda *_: 1.0, "student_accuracy")
    teacher = {"params": np.zeros(1)}
    distill(
        Counting(problem=None), teacher, plan, folder=tmp_path, devices=jax.local_devices()[:1], clock=clock,
        interruption=False,
    )  # fmt: skip
    seconds = clock.report()
    assert seconds["synthesis"] > 0 and seconds["student"] > 0
    assert sum(value for name, value in seconds.items() if name != "total") == pytest.approx(seconds["total"], rel=1e-6)


def test_a_warmup_has_no_metrics_of_the_student(tmp_path):
    run(tmp_path, method=Counting(problem=None, warmup=2))
    found = metrics(tmp_path)
    assert ["student_loss" in record for record in found] == [False, False, True, True, True, True]
    assert all("inversion_loss" in record for record in found)


def test_nothing_is_synthesized_by_a_method_that_makes_no_images(tmp_path):
    class Given(Counting):
        makes_images = False

        def synthesize(self, state, teacher, key):
            raise AssertionError("there is nothing to synthesize")

    run(tmp_path, method=Given(problem=None))
    assert "inversion_loss" not in metrics(tmp_path)[-1] and "student_loss" in metrics(tmp_path)[-1]


def test_programs_without_room_end_the_run_before_its_first_epoch(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "memory_of", lambda device: 1)
    with pytest.raises(UserError, match=r"^the arrays of a synthesis take at least .*; choose smaller batches$"):
        run(tmp_path)
    assert epochs_done(tmp_path) == []

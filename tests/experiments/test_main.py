"""The whole job through its real command line: what it leaves behind, and that interruptions change nothing."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ssdkd_jax import data, models
from ssdkd_jax.training import checkpoints, saved_network
from tests import tiny_job
from tests.programs import ROOT
from tests.tiny_job import SIGNALS, arguments, command_line, epochs_done, start, stop_when, summary

EPOCHS = tiny_job.FIELDS["epochs"]
# With the number of devices that these tests choose.
COMMAND = f"XLA_FLAGS='{tiny_job.xla_flags()}' python -m experiments.main"


def accuracy_of(folder):
    """Percent of the real test digits that a saved network gets right, computed apart from the job."""
    variables, metadata = saved_network.load_network(folder)
    model = models.create_model(metadata["architecture"], metadata["num_classes"])
    test = data.load_split("digits", "test")
    images = (test.images / 255.0 - np.array(metadata["mean"])) / np.array(metadata["std"])
    predicted = jax.jit(model.apply)(variables, images.astype(np.float32)).argmax(-1)
    return 100 * np.mean(predicted == test.labels), checkpoints.sha256(variables)


@pytest.mark.parametrize("program", ["main", "study"])
def test_a_run_begins_without_what_it_may_not_need(program):
    """Each of these takes a tenth of a second to two seconds."""
    slow = ["matplotlib", "torch", "tensorflow", "tensorflow_datasets", "sklearn", "scipy.stats", "onnx"]
    code = f"import sys, experiments.{program}; print([name for name in {slow} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "[]\n"


def test_summary(finished):
    found = summary(finished)
    assert found["method"] == "ssdkd"
    assert found["dataset"] == "digits"
    assert (found["teacher"], found["student"]) == ("convnet_8", "convnet_8")
    assert 0 < found["student_accuracy"] <= found["best_student_accuracy"] <= 100
    assert found["images_kept"] == 44  # which is the buffer's size
    assert (found["epochs"], found["seed"], found["devices"]) == (EPOCHS, 0, 1)
    assert {"jax", "flax", "optax", "orbax-checkpoint", "python"} <= found["versions"].keys()
    parts = ("teacher", "compile", "synthesis", "student", "evaluation")
    assert all(found["seconds"][part] > 0 for part in parts)
    assert sum(found["seconds"][part] for part in parts) <= found["seconds"]["total"]


def test_saved_student_gives_the_reported_accuracy(finished):
    accuracy, sha256 = accuracy_of(finished / "student")
    assert accuracy == pytest.approx(summary(finished)["student_accuracy"])
    assert sha256 == summary(finished)["student_sha256"]


def test_kept_teacher_gives_the_reported_accuracy(finished, teacher):
    accuracy, sha256 = accuracy_of(teacher)
    assert accuracy == pytest.approx(summary(finished)["teacher_accuracy"])
    assert sha256 == summary(finished)["teacher_sha256"]
    assert accuracy > 30  # it was trained; chance is 10


def test_metrics_have_a_line_for_every_epoch(finished):
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, EPOCHS + 1))
    assert all(np.isfinite(value) for line in lines for value in line.values())
    assert "student_loss" not in lines[0], "the first epoch is a warm-up"
    assert "student_loss" in lines[1]
    assert lines[-1]["student_accuracy"] == summary(finished)["student_accuracy"]


def test_tensorboard_reads_the_same_numbers(finished):
    events = EventAccumulator(str(finished / "tensorboard")).Reload()
    losses = {event.step: event.value for event in events.Scalars("inversion_loss")}
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert losses == pytest.approx({line["epoch"]: line["inversion_loss"] for line in lines})


def test_report_is_a_page_about_this_run(finished):
    page = (finished / "report.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert summary(finished)["student_sha256"] in page


@pytest.mark.parametrize("which", ["latest", "best"])
def test_checkpoints_are_orbax_folders(finished, which):
    steps = sorted((finished / "checkpoints" / which).iterdir())
    if which == "latest":  # the last one, and the one before in case that is damaged
        assert [int(step.name) for step in steps] == [6, EPOCHS]
    else:
        assert len(steps) == 1 and int(steps[0].name) in (2, 4, 6, 8)
    assert all((step / "_CHECKPOINT_METADATA").exists() for step in steps)


def test_what_the_user_sees(finished, shared):
    """Lines about the teacher, the epochs and the result; nothing on stderr."""
    out = (shared / "finished.out").read_text()
    assert (shared / "finished.err").read_text() == ""
    assert f"teacher convnet_8: {summary(finished)['teacher_accuracy']:.2f} % on real test images" in out
    assert f"finished: epoch {EPOCHS}/{EPOCHS}" in out
    assert f"student {summary(finished)['student_accuracy']:.2f} % from 44 synthetic images" in out.splitlines()[-1]


def test_rerun_of_a_finished_job_does_nothing(finished, cache_dir):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.name != ".lock"}
    status, out, err = command_line(arguments(finished, cache_dir))
    assert (status, err) == (0, "")
    assert len(out.splitlines()) == 1
    assert "is finished" in out
    after = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.name != ".lock"}
    # The folder itself is touched by the check that it can be written.
    assert {p: t for p, t in before.items() if p.is_file()} == {p: t for p, t in after.items() if p.is_file()}


def test_interrupted_job_resumes_and_ends_with_the_same_student(finished, cache_dir, tmp_path):
    """SIGTERM after epoch 1, SIGINT after 3, SIGKILL after 5 (one after a checkpoint and one not), then to the end."""
    command, workdir = arguments(tmp_path / "job", cache_dir), tmp_path / "job"
    for name, epoch in (("SIGTERM", 1), ("SIGINT", 3), ("SIGKILL", 5)):
        process = start(command)
        status, out, err = stop_when(process, SIGNALS[name], lambda epoch=epoch: len(epochs_done(workdir)) >= epoch)
        done = len(epochs_done(workdir))
        assert epoch <= done < EPOCHS
        assert err == ""
        if name == "SIGKILL":
            assert status == -9
        else:
            assert status == 128 + SIGNALS[name], "so that `command && next` does not run what comes next"
            assert "finishing the epoch and saving it" in out
            assert f"stopped after epoch {done} of {EPOCHS}; progress saved; to resume: {COMMAND}" in out
            assert "--workdir=" in out.splitlines()[-1]
        assert not (workdir / "summary.json").exists()

    status, out, err = command_line(command)
    assert (status, err) == (0, "")
    assert "resuming after epoch" in out
    assert epochs_done(workdir) == list(range(1, EPOCHS + 1))
    assert summary(workdir)["student_sha256"] == summary(finished)["student_sha256"]
    assert summary(workdir)["best_student_accuracy"] == summary(finished)["best_student_accuracy"]
    events = EventAccumulator(str(workdir / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("inversion_loss")] == list(range(1, EPOCHS + 1))


@pytest.mark.slow
def test_interrupted_teacher_training_resumes_and_ends_with_the_same_teacher(finished, tmp_path):
    """SIGKILL and SIGTERM in the training of a teacher; `epochs=0` evaluates it and stops."""
    only_teacher = {"epochs": 0, "teacher__epochs": 30}

    def sha256(folder):
        status, _, err = command_line(arguments(folder / "job", folder / "teachers", **only_teacher))
        assert (status, err) == (0, "")
        found = summary(folder / "job")
        assert found["epochs"] == 0
        assert found["student_accuracy"] is None
        assert found["teacher_accuracy"] > 30
        assert not (folder / "job" / "checkpoints").exists()
        return found["teacher_sha256"]

    folder = tmp_path / "interrupted"
    command = arguments(folder / "job", folder / "teachers", **only_teacher)

    def saved_epochs():
        """Epochs with a complete checkpoint."""
        return [int(path.name) for path in folder.glob("teachers/*.training/*") if path.name.isdigit()]

    status, _, _ = stop_when(start(command), SIGNALS["SIGKILL"], lambda: max(saved_epochs(), default=0) >= 3)
    assert status == -9
    first = max(saved_epochs())
    status, out, err = stop_when(start(command), SIGNALS["SIGTERM"], lambda: max(saved_epochs(), default=0) > first)
    assert (status, err) == (143, "")
    assert f"its checkpoint is kept; to resume: {COMMAND}" in out
    assert max(saved_epochs()) < 30
    assert sha256(folder) == sha256(tmp_path / "uninterrupted")


def test_signal_before_the_first_epoch(cache_dir, finished, tmp_path):
    """While it starts or compiles: it stops without a traceback and the command works again."""
    process = start(arguments(tmp_path / "job", cache_dir), SSDKD_JAX_KEEP_PROGRAMS="0")
    # The teacher is found; compiling comes next.
    status, out, err = stop_when(process, SIGNALS["SIGTERM"], lambda: "teacher" in process.out.read_text())
    assert (status, err) == (143, "")
    assert f"to resume: {COMMAND}" in out
    assert len(epochs_done(tmp_path / "job")) <= 1

"""One job in two processes of two devices each, to its end, and until a process is lost."""

import signal
import time

import pytest

from tests import programs
from tests.tiny_job import (
    SHORT,
    arguments,
    assert_same_student,
    epochs_done,
    finish,
    job,
    stop_when,
    summary,
)
from tests.two_processes import start_two, unoptimized

FIELDS = {**SHORT, "checkpoint_every": 1}


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_two_processes_end_with_the_student_of_one_process(cache_dir, tmp_path, devices):
    """Of as many devices in all; of two in the same bits, of four but for the order of sums."""
    fields = arguments(tmp_path / "two", cache_dir, **FIELDS)
    processes = start_two("experiments.main", *fields, devices=devices)
    (status, out, err), others = finish(processes[0]), finish(processes[1])
    assert (status, err) == (0, "") and "student" in out
    said = [line for line in others[1].splitlines() if not line.startswith("[Gloo]")]
    assert (others[0], said, others[2]) == (0, [], ""), "the first process writes for both"
    one, two = job(tmp_path / "one", cache_dir, **FIELDS, devices=2 * devices), summary(tmp_path / "two")
    assert one["devices"] == two["devices"] == 2 * devices
    assert_same_student(tmp_path / "one", tmp_path / "two", 1e-3)
    assert devices > 1 or one["student_sha256"] == two["student_sha256"]


def lose(number, workdir, cache_dir):
    """Begins in two processes of two devices each, kills one after an epoch of student steps, and looks at the other.

    The first process is the one that the other connects to, and that writes for both.
    """
    processes = start_two("experiments.main", *arguments(workdir, cache_dir, **FIELDS))
    killed = stop_when(processes[number], signal.SIGKILL, (workdir / "checkpoints/latest/2").exists)
    lost = time.monotonic()
    left = finish(processes[1 - number])
    assert time.monotonic() - lost < 60
    assert killed[0] == -signal.SIGKILL and left[0] in (1, -signal.SIGABRT)
    out = {number: killed[1], 1 - number: left[1]}
    assert "teacher" in out[0] and "teacher" not in out[1]
    assert epochs_done(workdir)[:2] == [1, 2] and not (workdir / "summary.json").exists()
    return killed[2], left[2]


def check_message(err, number):
    """Fails unless a process says, in one line, that the job is lost, and how it goes on."""
    (said,) = (line for line in err.splitlines() if line.startswith("error:"))
    lost = f"process {number} of 2 ends, because it or another process of the job was lost; to resume from the last"
    assert lost in said
    assert "start all processes again: XLA_FLAGS=" in said and "python -m experiments.main --config=" in said


def test_a_lost_process_ends_the_job_which_resumes_in_one(one_device, cache_dir, tmp_path):
    """Warm-up and an epoch of student steps in two processes of two devices, the rest in one of four: as one device."""
    killed, left = lose(1, tmp_path, cache_dir)
    assert killed.splitlines()[-1].startswith("error: process 1 of 2 ends, because it or another process of the job")
    check_message(left, 0)
    assert job(tmp_path, cache_dir, **FIELDS, devices=4)["devices"] == 4
    assert epochs_done(tmp_path) == [1, 2, 3]
    assert_same_student(one_device, tmp_path, 1e-3)


@pytest.mark.slow
def test_the_first_process_lost_ends_the_job_which_resumes_in_two(one_device, cache_dir, tmp_path):
    _, left = lose(0, tmp_path, cache_dir)
    check_message(left, 1)
    again = start_two("experiments.main", *arguments(tmp_path, cache_dir, **FIELDS))
    assert [finish(process)[0] for process in again] == [0, 0]
    assert epochs_done(tmp_path) == [1, 2, 3]
    assert_same_student(one_device, tmp_path, 1e-3)


@pytest.mark.slow
def test_a_run_of_one_process_resumes_in_two_with_the_same_bits(cache_dir, tmp_path):
    """As many devices in all."""
    fields = {**FIELDS, "epochs": 8, "ssdkd__kd_steps": 50}  # so that it is not done before it is stopped
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    one = programs.Program("experiments.main", arguments(parts, cache_dir, **fields), XLA_FLAGS=unoptimized(2))
    status, _, _ = stop_when(one, signal.SIGTERM, (parts / "checkpoints/latest/1").exists)
    assert status == 128 + signal.SIGTERM and not (parts / "summary.json").exists()
    two = start_two("experiments.main", *arguments(parts, cache_dir, **fields), devices=1)
    (first, out, _), (second, _, _) = (finish(process) for process in two)
    assert (first, second) == (0, 0) and "resuming after epoch " in out
    assert epochs_done(parts) == list(range(1, 9))
    assert job(whole, cache_dir, **fields, devices=2)["student_sha256"] == summary(parts)["student_sha256"]

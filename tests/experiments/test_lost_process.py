"""One job in two processes of two devices each: a process is lost, and the job resumes in one process."""

import signal

from tests.tiny_job import SHORT, arguments, assert_same_student, epochs_done, finish, job, stop_when
from tests.two_processes import start_two

FIELDS = {**SHORT, "checkpoint_every": 1}


def test_a_lost_process_ends_the_job_which_resumes_in_one(one_device, cache_dir, tmp_path):
    """Epoch 1 in two processes of two devices, the rest in one of four: the student of one device."""
    workdir = tmp_path / "parts"
    first, second = start_two("experiments.main", *arguments(workdir, cache_dir, **FIELDS))
    status, out, err = stop_when(second, signal.SIGKILL, (workdir / "checkpoints/latest/1").exists)
    assert status == -signal.SIGKILL and "teacher" not in out, "the first process writes for both"
    assert err.splitlines()[-1].startswith("error: process 1 of 2 ends, because it or another process of the job was")
    status, out, err = finish(first)
    assert status in (1, -signal.SIGABRT) and "teacher" in out
    (said,) = (line for line in err.splitlines() if line.startswith("error:"))
    assert "process 0 of 2 ends, because it or another process of the job was lost; to resume from the last" in said
    assert "start all processes again: XLA_FLAGS=" in said and "python -m experiments.main --config=" in said
    assert epochs_done(workdir)[0] == 1 and not (workdir / "summary.json").exists()

    assert job(workdir, cache_dir, **FIELDS, devices=4)["devices"] == 4
    assert epochs_done(workdir) == [1, 2, 3]
    assert_same_student(one_device, workdir, 1e-3)

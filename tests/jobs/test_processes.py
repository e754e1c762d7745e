"""Processes of their own: their shares of the machine, their ends, and what they say of them."""

import os
import pathlib
import signal
import time
from typing import NamedTuple

import pytest

from ssdkd_jax.errors import Diverged, UserError
from ssdkd_jax.jobs import processes
from ssdkd_jax.jobs.processes import Child, Share, call, shares
from ssdkd_jax.training.interruption import Interrupted
from tests.tiny_job import wait_until


class Device(NamedTuple):
    platform: str


# What children do


def surroundings(*, interruption):
    print("said in the log", flush=True)
    return sorted(os.sched_getaffinity(0)), os.environ.get("CUDA_VISIBLE_DEVICES"), os.getpid()


def diverge(*, interruption):
    raise Diverged("student_loss is nan")


def fail(*, interruption):
    raise RuntimeError("out of luck")


def wait_for_the_signal(path, *, interruption):
    pathlib.Path(path).touch()
    while not interruption:
        time.sleep(0.01)
    raise Interrupted("saved")


# The tests


def test_cores_are_divided_equally(monkeypatch):
    monkeypatch.setattr(processes, "usable_cores", lambda: [0, 1, 2, 5, 6])
    assert [share.cores for share in shares(2, [Device("cpu")])] == [(0, 1), (2, 5)]
    with pytest.raises(UserError, match=r"^--jobs is 6, but there are 5 cores: --jobs=5$"):
        shares(6, [Device("cpu")])


def test_each_has_an_accelerator(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert shares(2, [Device("gpu")] * 3) == [Share((), {"CUDA_VISIBLE_DEVICES": name}) for name in "01"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert [share.environment["CUDA_VISIBLE_DEVICES"] for share in shares(2, [Device("gpu")] * 2)] == ["4", "6"]
    (one, _) = shares(2, [Device("tpu")] * 2)
    assert one.environment["TPU_VISIBLE_CHIPS"] == "0" and one.environment["TPU_PROCESS_BOUNDS"] == "1,1,1"
    with pytest.raises(UserError, match=r"^--jobs is 3, but there are 2 devices \(gpu\): --jobs=2$"):
        shares(3, [Device("gpu")] * 2)
    with pytest.raises(UserError, match="how to divide devices of the kind metal is not known: --jobs=1"):
        shares(2, [Device("metal")] * 2)


def test_a_child_has_its_share_and_its_log(tmp_path):
    core, log = min(os.sched_getaffinity(0)), tmp_path / "run.log"
    child = Child("one", surroundings, (), share=Share((core,), {"CUDA_VISIBLE_DEVICES": "7"}), log=log)
    cores, visible, process = child.outcome()
    assert (cores, visible) == ([core], "7") and process != os.getpid()
    assert os.environ.get("CUDA_VISIBLE_DEVICES") != "7"
    assert log.read_text() == "said in the log\n"


def test_what_goes_wrong_in_a_child(tmp_path):
    """A run that diverges is handed on, all else ends in one line that names the log."""
    children = [Child(str(number), one, (), log=tmp_path / "log") for number, one in enumerate((diverge, fail))]
    assert isinstance(children[0].outcome(), Diverged)
    expected = f"1 died (exit status 1: RuntimeError: out of luck; see {tmp_path}/log); what is finished is kept"
    with pytest.raises(UserError) as caught:
        children[1].outcome()
    assert str(caught.value) == expected


def test_a_child_saves_when_it_is_stopped_and_dies_when_it_is_killed(tmp_path):
    children = [Child(name, wait_for_the_signal, (tmp_path / name,)) for name in ("stopped", "killed")]
    wait_until(lambda: all((tmp_path / name).exists() for name in ("stopped", "killed")))
    assert not any(child.ended() for child in children)
    children[0].stop()
    os.kill(children[1]._process.pid, signal.SIGKILL)
    assert str(children[0].outcome()) == "saved"
    with pytest.raises(UserError, match=r"^killed died \(signal 9\); what is finished is kept$"):
        children[1].outcome()


def test_a_call_is_stopped_on_request(tmp_path):
    class WhenItWaits:
        def __bool__(self):
            return (tmp_path / "waits").exists()

    with pytest.raises(Interrupted, match="saved"):
        call("the call", wait_for_the_signal, (tmp_path / "waits",), WhenItWaits())

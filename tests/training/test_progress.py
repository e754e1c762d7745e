"""Lines that tell how far a run is."""

import sys
import time

import pytest

from ssdkd_jax.training.progress import Progress, RunCounter


@pytest.fixture
def no_terminal(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)


def test_plain_lines_are_few_and_end_with_the_last_epoch(no_terminal, capsys):
    with Progress("run: epoch", 100) as progress:
        for epoch in range(1, 101):
            progress.update(epoch, {"loss": 0.5})
    out = capsys.readouterr().out
    first, last = out.splitlines()
    assert first == "run: epoch 1/100 compiling" and last == "run: epoch 100/100 loss=0.5 left=0s"


def test_plain_lines_tell_the_time_left(no_terminal, capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    progress = Progress("run: epoch", 10, done=4)
    now[0] = 100.0
    progress.update(5, {})
    assert "5/10" in (out := capsys.readouterr().out)
    assert "left" not in out, "the first epoch compiles"
    now[0] = 120.0
    progress.update(7, {})
    assert "left=30s" in capsys.readouterr().out, "two epochs took 20 s, three are left"


def test_the_time_left_is_that_of_recent_epochs(no_terminal, capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    progress = Progress("run: epoch", 60)
    for epoch in range(1, 51):
        now[0] += 1.0 if epoch <= 40 else 5.0  # a warm-up, and student steps
        progress.update(epoch, {})
    assert capsys.readouterr().out.splitlines()[-1].endswith("50/60  left=50s")


def test_bar_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    with Progress("run: epoch", 3, done=1) as progress:
        progress.update(2, {"loss": 0.5})
        progress.update(3, {"loss": 0.25})
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "3/3" in captured.err
    assert "compiling" in captured.err and "loss=0.25" in captured.err


def test_runs_are_counted_and_the_rest_is_estimated(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    counter = RunCounter(5, finished=1)
    assert counter.next() == "run 2 of 5"
    now[0] = 20.0
    assert counter.next() == "run 3 of 5, about 60 s left"
    now[0] = 400.0
    assert counter.next() == "run 4 of 5, about 7 min left"


def test_runs_at_once_are_done_when_another_takes_their_place(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    counter = RunCounter(6, finished=1, at_once=2)
    assert (counter.next(), counter.next()) == ("run 2 of 6", "run 3 of 6")
    now[0] = 10.0
    assert counter.next() == "run 4 of 6, about 40 s left"

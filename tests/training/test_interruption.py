"""The first signal is a request, a second Ctrl-C is obeyed at once."""

import os
import pty
import signal
import subprocess
import sys

import pytest

from ssdkd_jax.training.interruption import Interruption, epochs_under_way
from tests.tiny_job import ROOT


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_first_signal_is_only_noted(number):
    with Interruption() as interruption:
        assert not interruption
        signal.raise_signal(number)
        assert interruption


def test_what_is_waited_for_is_said(capfd):
    with Interruption(), epochs_under_way():
        signal.raise_signal(signal.SIGINT)
    assert capfd.readouterr().out == "finishing the epoch and saving it; Ctrl-C stops at once, without this epoch\n"
    with Interruption():  # in a set-up, or after an epoch
        signal.raise_signal(signal.SIGINT)
    assert capfd.readouterr().out == (
        "no epoch is under way, so nothing is lost: stopping before the next one; Ctrl-C stops at once\n"
    )


def test_second_interrupt_stops_at_once():
    with pytest.raises(KeyboardInterrupt), Interruption():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)


def test_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM)
    with Interruption():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_closed_terminal_means_nothing_under_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGHUP)
        assert not interruption
    signal.signal(signal.SIGHUP, before)


SAVES = """
import time
from ssdkd_jax.training.interruption import Interruption

with Interruption() as interruption:
    print("ready", flush=True)
    while not interruption:
        time.sleep(0.01)
print("into the void", flush=True)
open("saved", "w").close()
"""


def test_after_a_closed_terminal_nothing_is_printed_to_it(tmp_path):
    ours, theirs = pty.openpty()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", SAVES], cwd=tmp_path, stdout=theirs, env=environment)
    os.close(theirs)
    with open(ours, "rb") as terminal:
        # The whole line: a terminal that is closed in the middle of it fails the program before the signal comes.
        assert terminal.readline() == b"ready\r\n"
    process.send_signal(signal.SIGHUP)
    assert process.wait(60) == 0
    assert (tmp_path / "saved").exists()

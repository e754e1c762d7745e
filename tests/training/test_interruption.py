"""The first signal is a request, a second Ctrl-C is obeyed at once."""

import signal

import pytest

from ssdkd_jax.training.interruption import Interruption


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_first_signal_is_only_noted(number):
    with Interruption() as interruption:
        assert not interruption
        signal.raise_signal(number)
        assert interruption


def test_second_interrupt_stops_at_once():
    with pytest.raises(KeyboardInterrupt), Interruption():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)


def test_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM)
    with Interruption():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before

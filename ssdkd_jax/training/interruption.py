"""SIGTERM, Ctrl-C and a closed terminal as a request to finish the epoch, save and stop."""

import contextlib
import os
import signal
import stat
from collections.abc import Iterator

# What is said at once of a request, while an epoch is under way and otherwise.
IN_AN_EPOCH = "finishing the epoch and saving it; Ctrl-C stops at once, without this epoch"
BETWEEN_EPOCHS = "no epoch is under way, so nothing is lost: stopping before the next one; Ctrl-C stops at once"
# An entry for each `epochs_under_way` that is entered.
_UNDER_WAY: list[None] = []


@contextlib.contextmanager
def epochs_under_way() -> Iterator[None]:
    """A context in which there is always an epoch that a request to stop waits for."""
    _UNDER_WAY.append(None)
    try:
        yield
    finally:
        _UNDER_WAY.pop()


class Interruption:
    """A context in which the first SIGTERM, SIGINT or SIGHUP is only noted: `if interruption: save and stop`.

    It says at once what it waits for, unless `quiet`.  A second Ctrl-C stops at once.  Under `nohup`, a closed terminal
    means nothing.

    number: of the signal that came; SIGINT's before any came.
    """

    def __init__(self, *, quiet=False):
        self._requested, self._quiet, self.number = False, quiet, int(signal.SIGINT)

    def __bool__(self):
        return self._requested

    def hear(self, number):
        """A signal of this number came, here or to another process of the job."""
        self._requested, self.number = True, number

    def __enter__(self):
        heard = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            heard.append(signal.SIGHUP)
        self._before = {number: signal.signal(number, self._note) for number in heard}
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, _):
        if self._requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        if number == signal.SIGHUP:
            _leave_terminal()
        if not (self._requested or self._quiet):
            # Not by `print`, which a signal may have interrupted.
            os.write(1, f"{IN_AN_EPOCH if _UNDER_WAY else BETWEEN_EPOCHS}\n".encode())
        self.hear(number)


def _leave_terminal():
    """What is printed to a terminal that was closed would end the program before it has saved."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        if stat.S_ISCHR(os.fstat(stream).st_mode):
            os.dup2(nowhere, stream)
    os.close(nowhere)


class Interrupted(Exception):
    """The work was saved and stopped on request; the message says how to resume."""

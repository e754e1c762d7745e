"""SIGTERM and Ctrl-C as a request to finish the epoch, save and stop."""

import os
import signal


class Interruption:
    """A context in which the first SIGTERM or SIGINT is only noted: `if interruption: save and stop`.

    It says at once what it waits for, unless `quiet`.  A second Ctrl-C stops at once.

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
        self._before = {s: signal.signal(s, self._note) for s in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, _):
        if self._requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not (self._requested or self._quiet):
            # Not by `print`, which a signal may have interrupted.
            os.write(1, b"finishing the epoch and saving it; Ctrl-C stops at once, without this epoch\n")
        self.hear(number)


class Interrupted(Exception):
    """The work was saved and stopped on request; the message says how to resume."""

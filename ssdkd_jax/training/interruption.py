"""SIGTERM and Ctrl-C as a request to finish the epoch, save and stop."""

import signal


class Interruption:
    """A context in which the first SIGTERM or SIGINT is only noted: `if interruption: save and stop`.

    A second Ctrl-C stops at once.
    """

    def __init__(self):
        self._requested = False

    def __bool__(self):
        return self._requested

    def __enter__(self):
        self._before = {s: signal.signal(s, self._note) for s in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, _):
        if self._requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._requested = True


class Interrupted(Exception):
    """The work was saved and stopped on request; the message says how to resume."""

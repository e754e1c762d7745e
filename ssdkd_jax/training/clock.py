"""Where the time goes."""

import contextlib
import time

# Purposes that are no part of a student's training: an interrupted run pays for some of them twice.
AROUND_TRAINING = ("teacher", "setup", "compile", "probe", "evaluation", "report", "baselines")


def training_seconds(seconds):
    """Seconds of the whole training in a clock's `report`: synthesis, student, checkpoints and the host's work."""
    return max(0.0, seconds["total"] - sum(seconds.get(purpose, 0.0) for purpose in AROUND_TRAINING))


class Clock:
    """Seconds by purpose."""

    def __init__(self):
        self.seconds = {}
        self._start = time.perf_counter()
        self._inside = 0.0

    def add_earlier(self, seconds):
        """Adds another clock's `report`, of the same job before it was interrupted."""
        self._start -= seconds["total"]
        for purpose in seconds.keys() - {"host", "total"}:
            self.add(purpose, seconds[purpose])

    @contextlib.contextmanager
    def measure(self, purpose):
        """Adds the time of the block to `purpose`, without that of blocks measured inside of it."""
        start, outer, self._inside = time.perf_counter(), self._inside, 0.0
        try:
            yield
        finally:
            elapsed = time.perf_counter() - start
            self.add(purpose, elapsed - self._inside)
            self._inside = outer + elapsed

    def add(self, purpose, seconds):
        """Adds seconds to a purpose."""
        self.seconds[purpose] = self.seconds.get(purpose, 0.0) + seconds

    def total(self):
        """Seconds since the start, interruptions left out."""
        return time.perf_counter() - self._start

    def report(self):
        """Seconds by purpose; `host` is what no purpose accounts for."""
        total = self.total()
        return {**self.seconds, "host": max(0.0, total - sum(self.seconds.values())), "total": total}

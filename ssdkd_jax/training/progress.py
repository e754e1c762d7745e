"""A progress bar on a terminal, plain lines elsewhere."""

import collections
import shutil
import sys
import time

import tqdm

from ssdkd_jax.training import multiprocess

# Plain lines, when the output is no terminal, come at most this often.
SECONDS_BETWEEN_LINES = 10.0
# Whose time tells the time left.
RECENT_EPOCHS = 10


class Progress:
    """A bar on a terminal, plain lines elsewhere: epoch, numbers and time left."""

    def __init__(self, title, total, done=0):
        self._title, self._total = title, total
        self._last_line = time.perf_counter()
        # (epoch, when it was done) of the last few, since epochs of a warm-up are shorter than later ones.  The first
        # begins the list when it is done, so that the time of its compilation counts nowhere.
        self._done = collections.deque(maxlen=RECENT_EPOCHS + 1)
        self._numbers = ""
        self._bar = None
        # Terminals of containers and CI may have no width, where a bar would be empty lines.
        if multiprocess.is_first() and sys.stderr.isatty() and shutil.get_terminal_size((0, 0)).columns:
            self._bar = tqdm.tqdm(total=total, initial=done, desc=title, unit="epoch", dynamic_ncols=True)
            if done < total:
                self._bar.set_postfix_str("compiling")
        elif done < total:
            print(f"{title} {done + 1}/{total} compiling", flush=True)

    def update(self, epoch, numbers):
        """`epoch` epochs are done; `numbers` maps short names to floats."""
        self._numbers = " ".join(f"{name}={value:.4g}" for name, value in numbers.items())
        if self._bar is not None:
            self._bar.set_postfix_str(self._numbers, refresh=False)
            self._bar.update(epoch - self._bar.n)
            return
        now = time.perf_counter()
        self._done.append((epoch, now))
        if epoch == self._total or now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = now
            print(f"{self._title} {epoch}/{self._total} {self._numbers}{self._left()}", flush=True)

    def _left(self):
        (first, then), (epoch, now) = self._done[0], self._done[-1]
        return f" left={(now - then) / (epoch - first) * (self._total - epoch):.0f}s" if epoch > first else ""

    def close(self):
        """Leaves the bar as it stands."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class RunCounter:
    """Which of several runs comes, and how long the rest will take."""

    def __init__(self, total, finished=0, at_once=1):
        """`finished`: how many are done already; `at_once`: how many run at the same time."""
        self._total, self._finished, self._at_once, self._number = total, finished, at_once, finished
        self._start = time.perf_counter()

    def next(self):
        """The coming run in words: "run 3 of 12, about 5 min left"."""
        self._number += 1
        done = self._number - self._finished - self._at_once
        words = f"run {self._number} of {self._total}"
        if done <= 0:
            self._start = time.perf_counter()
            return words
        left = (time.perf_counter() - self._start) / done * (self._total - self._finished - done)
        return f"{words}, about {left:.0f} s left" if left < 90 else f"{words}, about {left / 60:.0f} min left"

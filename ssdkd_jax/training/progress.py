"""What a run tells while it goes: a progress bar, `metrics.jsonl` and TensorBoard event files."""

import json
import math
import pathlib
import shutil
import sys
import time

import tqdm
from tensorboardX import SummaryWriter

# Plain lines, when the output is no terminal, come at most this often.
SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """A bar on a terminal, plain lines elsewhere: epoch, numbers and time left."""

    def __init__(self, title, total, done=0):
        self._title, self._total = title, total
        self._last_line = time.perf_counter()
        self._first = None  # (epoch, when it was done); what comes before it compiles, and says nothing about the rest
        self._numbers = ""
        self._bar = None
        # Terminals of containers and CI may have no width, where a bar would be empty lines.
        if sys.stderr.isatty() and shutil.get_terminal_size((0, 0)).columns:
            self._bar = tqdm.tqdm(total=total, initial=done, desc=title, unit="epoch", dynamic_ncols=True)
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
        self._first = self._first or (epoch, now)
        if epoch == self._total or now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = now
            print(f"{self._title} {epoch}/{self._total} {self._numbers}{self._left(now, epoch)}", flush=True)

    def _left(self, now, epoch):
        first, then = self._first
        return f" left={(now - then) / (epoch - first) * (self._total - epoch):.0f}s" if epoch > first else ""

    def close(self):
        """Leaves the bar as it stands."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class MetricsLog:
    """`metrics.jsonl`, one object an epoch, and the same numbers as TensorBoard scalars under `tensorboard/`."""

    def __init__(self, workdir, done=0):
        """`done`: epochs of the checkpoint that a run goes on from; later lines of an interrupted run are dropped."""
        path = pathlib.Path(workdir) / "metrics.jsonl"
        kept = [line for line in _lines(path) if _epoch(line) <= done]
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text("".join(line + "\n" for line in kept))
        unfinished.replace(path)
        self._file = path.open("a")
        # The suffix keeps a run that goes on within the same second from overwriting the file of the run before.
        self._writer = SummaryWriter(
            str(pathlib.Path(workdir) / "tensorboard"), purge_step=done + 1, filename_suffix=f".after_epoch_{done}"
        )

    def write(self, epoch, metrics):
        """`metrics`: names to floats."""
        self._file.write(json.dumps({"epoch": epoch, **metrics}) + "\n")
        self._file.flush()
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, epoch)

    def close(self):
        """Writes what is left."""
        self._file.close()
        self._writer.close()


def _lines(path):
    return path.read_text(errors="replace").splitlines() if path.exists() else []


def _epoch(line):
    """A line's epoch; infinity for what a killed run wrote half."""
    try:
        return int(json.loads(line)["epoch"])
    except (ValueError, KeyError, TypeError):
        return math.inf

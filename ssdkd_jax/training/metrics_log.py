"""The metrics of every epoch: `metrics.jsonl` and TensorBoard event files."""

import json
import math
import pathlib

from tensorboardX import SummaryWriter


class MetricsLog:
    """`metrics.jsonl`, one object an epoch, and the same numbers as TensorBoard scalars under `tensorboard/`."""

    def __init__(self, workdir, done=0):
        """`done`: epochs of the checkpoint that a run resumes from; later lines of an interrupted run are dropped."""
        path = pathlib.Path(workdir) / "metrics.jsonl"
        kept = [line for line in _lines(path) if _epoch(line) <= done]
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text("".join(line + "\n" for line in kept))
        unfinished.replace(path)
        self._file = path.open("a")
        # The suffix keeps a run that resumes within the same second from overwriting the file of the run before.
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

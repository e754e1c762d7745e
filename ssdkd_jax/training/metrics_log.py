"""The metrics of every epoch: `metrics.jsonl` and TensorBoard event files."""

import hashlib
import itertools
import json
import math
import pathlib
import socket
import time

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from ssdkd_jax.files import write_at_once
from ssdkd_jax.training import multiprocess


class MetricsLog:
    """`metrics.jsonl`, one object an epoch, and the same numbers as TensorBoard scalars under `tensorboard/`."""

    def __init__(self, workdir, done=0, sha256=None):
        """Opens the log of a run that goes on after `done` epochs, those of its checkpoint.

        Later lines of an interrupted run are dropped.  A damaged log is kept as `metrics.jsonl.damaged`, and what can
        be read of it goes on; of another run's, nothing does.

        Args:
          workdir: the run's folder.
          done: number of epochs.
          sha256: of the log up to there, as `sha256` gave it; None of checkpoints that do not say.
        """
        self._file = None
        if not multiprocess.is_first():
            return
        path = pathlib.Path(workdir) / "metrics.jsonl"
        lines = _lines(path)
        kept = [line for line in lines if _epoch(line) <= done]
        missing = sorted(set(range(1, done + 1)) - {_epoch(line) for line in kept})
        if missing:
            where = f"{path} lacks {len(missing)} of the epochs so far, the first is {missing[0]}"
            print(f"{where}{_set_aside(path)}; the run goes on, its curves will have a gap", flush=True)
        elif sha256 not in (None, _hash(kept).hexdigest()):
            where = f"{path} is not the log of this run, by its checkpoint"
            print(f"{where}{_set_aside(path)}; the run goes on, its curves begin at epoch {done + 1}", flush=True)
            kept = []
        if lines and not done:
            print(f"{path} has {len(lines)} epochs, but there is no checkpoint: they are computed again", flush=True)
        write_at_once(path, "".join(line + "\n" for line in kept))
        self._hash = _hash(kept)
        self._file = path.open("a")
        self._events = _EventFile(pathlib.Path(workdir) / "tensorboard", done)

    def write(self, epoch, metrics):
        """`metrics`: names to floats; nothing is written but by the first process."""
        if self._file is None:
            return
        line = json.dumps({"epoch": epoch, **metrics})
        self._file.write(line + "\n")
        self._file.flush()
        self._hash.update(f"{line}\n".encode())
        self._events.write(epoch, metrics)

    def sha256(self):
        """Digest of all lines so far, by which a checkpoint knows its log; None but in the first process."""
        return None if self._file is None else self._hash.hexdigest()

    def close(self):
        """Writes what is left."""
        if self._file is None:
            return
        self._file.close()
        self._events.close()


class _EventFile:
    """A TensorBoard event file of scalars.

    TensorBoard's own writers of whole files import TensorFlow where it is installed, and other packages' PyTorch, which
    takes a run seconds to start.
    """

    def __init__(self, folder, done):
        folder.mkdir(parents=True, exist_ok=True)
        # The end keeps a run that resumes within the same second from overwriting the file of the run before.
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.after_epoch_{done}"
        self._file = (folder / name).open("wb")
        self._records = RecordWriter(self._file)
        self._add(file_version="brain.Event:2")
        # Has TensorBoard drop what earlier files hold of later epochs.
        self._add(step=done + 1, session_log=SessionLog(status=SessionLog.START))

    def write(self, epoch, metrics):
        values = [Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()]
        self._add(step=epoch, summary=Summary(value=values))

    def _add(self, **fields):
        self._records.write(Event(wall_time=time.time(), **fields).SerializeToString())
        self._file.flush()

    def close(self):
        self._file.close()


def _hash(lines):
    return hashlib.sha256("".join(line + "\n" for line in lines).encode())


def _set_aside(path):
    """Renames a log that the run's own takes the place of; says so in words, "" where there is none."""
    if not path.exists():
        return ""
    names = (f"{path.name}.damaged{number or ''}" for number in itertools.count())
    damaged = next(path.with_name(name) for name in names if not path.with_name(name).exists())
    path.replace(damaged)
    return f"; as it was it is kept as {damaged.name}"


def _lines(path):
    return path.read_text(errors="replace").splitlines() if path.exists() else []


def _epoch(line):
    """A line's epoch; infinity for what a killed run wrote half, or nobody of ours wrote."""
    try:
        return int(json.loads(line)["epoch"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return math.inf

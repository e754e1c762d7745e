"""Functions called in processes of their own, each on its share of the machine."""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

from ssdkd_jax.errors import UserError
from ssdkd_jax.jobs.provenance import usable_cores
from ssdkd_jax.terminal import escape_names, silence_libraries
from ssdkd_jax.training.interruption import Interrupted, Interruption

# Imported once, by the process that all others are copies of: JAX alone takes seconds.
_PRELOADED = ["ssdkd_jax.jobs.run"]
# What the command line sets in JAX, which another process does not know.
_JAX_SETTINGS = (
    "jax_enable_compilation_cache",
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
)
# What Python's own process for shared resources is to keep to itself.
_NO_COMPLAINT = "ignore:resource_tracker:UserWarning"
# Which devices of a kind a process sees, by JAX's names of the kinds.
_VISIBLE = {"gpu": "CUDA_VISIBLE_DEVICES", "tpu": "TPU_VISIBLE_CHIPS"}
# A TPU's process with one chip must know that it has no neighbors.
_ALONE = {"tpu": {"TPU_PROCESS_BOUNDS": "1,1,1", "TPU_CHIPS_PER_PROCESS_BOUNDS": "1,1,1"}}


class Share(NamedTuple):
    """What of the machine a process has.

    cores: numbers of the CPU cores that it may use; () for all.
    environment: variables that show it its device; {} on CPU.
    """

    cores: tuple[int, ...] = ()
    environment: dict[str, str] = {}  # noqa: RUF012 (never changed)


def shares(count: int, devices: Sequence[Any]) -> list[Share]:
    """Divides the machine: as many cores for each on CPU, so that all round alike, or one device each.

    Args:
      count: how many processes.
      devices: all local ones.

    Raises:
      UserError: there are fewer cores, or devices.
    """
    kind = devices[0].platform
    if kind == "cpu":
        cores = usable_cores()
        if count > len(cores):
            raise UserError(f"--jobs is {count}, but there are {len(cores)} cores: --jobs={len(cores)}")
        size = len(cores) // count
        return [Share(tuple(cores[index * size : (index + 1) * size])) for index in range(count)]
    if kind not in _VISIBLE:
        raise UserError(f"--jobs is {count}, but how to divide devices of the kind {kind} is not known: --jobs=1")
    if count > len(devices):
        raise UserError(f"--jobs is {count}, but there are {len(devices)} devices ({kind}): --jobs={len(devices)}")
    visible = [name for name in os.environ.get(_VISIBLE[kind], "").split(",") if name]
    names = visible or list(map(str, range(len(devices))))
    return [Share((), {_VISIBLE[kind]: name, **_ALONE.get(kind, {})}) for name in names[:count]]


class Child:
    """A call `function(*arguments, interruption=...)` in a process of its own, which is already running.

    The process gets a copy of this one's environment. When this one ends, however it does, it saves and stops.

    Attributes:
      name: for messages.
      log: file to which its output is appended; None leaves it where this process's output goes.
    """

    def __init__(self, name: str, function: Callable, arguments: Sequence, *, share=None, log=None):
        """`function` is one of a module; `share` is a Share, or None for the whole machine."""
        self.name, self.log = name, log and pathlib.Path(log)
        context = multiprocessing.get_context("forkserver")
        # Of programs that are stopped at once, another process of Python's own would complain in two lines.
        if _NO_COMPLAINT not in sys.warnoptions:
            sys.warnoptions.append(_NO_COMPLAINT)
        context.set_forkserver_preload(_PRELOADED)
        self._answers, answers = context.Pipe(duplex=False)
        settings = {name: getattr(jax.config, name) for name in _JAX_SETTINGS}
        surroundings = (share or Share(), dict(os.environ), settings)
        self._process = context.Process(
            target=_serve, args=(answers, self.log, surroundings, function, arguments), name=name
        )
        self._process.start()
        answers.close()
        self._stopped = False

    def ended(self) -> bool:
        """True when `outcome` need not wait."""
        return self._answers.poll()

    def outcome(self) -> Any:
        """Waits for the end: what the function returned, or the UserError or Interrupted that it raised.

        Raises:
          UserError: the process died.
        """
        try:
            outcome = self._answers.recv()
        except EOFError:
            outcome = None
            self._process.join()
        else:
            self._process.join()
            return outcome
        # Before it listened to signals.
        if self._stopped and self._process.exitcode == -signal.SIGTERM:
            return Interrupted("stopped before it began")
        raise UserError(f"{self.name} died ({self._last_words()}); what is finished is kept")

    def _last_words(self):
        status = self._process.exitcode
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        lines = self.log.read_text(errors="replace").strip().splitlines() if self.log else []
        return f"{how}: {lines[-1][:200]}; see {self.log}" if lines else how

    def stop(self) -> None:
        """Asks it to save and stop."""
        if not self._stopped:
            self._stopped = True
            self._process.terminate()

    def kill(self) -> None:
        """Ends it at once; its last checkpoint stays."""
        self._process.kill()
        self._process.join()


def wait(children: Sequence[Child], seconds: float) -> None:
    """Waits until one of them has ended, for so many seconds at most."""
    multiprocessing.connection.wait([child._answers for child in children], seconds)


@contextlib.contextmanager
def stopped_at_the_end(children):
    """No child outlives the block: an error stops them, all saving what they have; Ctrl-C pressed twice ends them.

    `children` is a collection that the block changes.
    """
    try:
        yield
    except KeyboardInterrupt:
        for child in list(children):
            child.kill()
        raise
    finally:
        for child in list(children):
            child.stop()
        for child in list(children):
            with contextlib.suppress(UserError):
                child.outcome()


def call(name: str, function: Callable, arguments: Sequence, interruption: Any) -> Any:
    """What `function(*arguments, interruption=...)` returns, run in a process of its own that is gone afterwards.

    Args:
      name: of the call, for messages.
      function, arguments: as of Child.
      interruption: becomes true when the call should save and stop.

    Raises:
      UserError, Interrupted: the function raised it, or the process died.
    """
    children = [Child(name, function, arguments)]
    with stopped_at_the_end(children):
        while not children[0].ended():
            wait(children, 0.2)
            if interruption:
                children[0].stop()
        outcome = children.pop().outcome()
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _serve(answers, log, surroundings, function, arguments):
    """What the process does."""
    # Without a log its words would be where the first process has said the same.
    with Interruption(quiet=log is None) as interruption:
        try:
            _settle(log, *surroundings)
            outcome = function(*arguments, interruption=interruption)
        except (UserError, Interrupted) as error:
            outcome = error
        except KeyboardInterrupt:
            os._exit(128 + signal.SIGINT)
        with contextlib.suppress(BrokenPipeError):  # nobody is left to ask
            answers.send(outcome)


def _settle(log, share, environment, settings):
    """Makes the process what it should be, which must come before JAX looks for devices."""
    threading.Thread(target=_follow_the_parent, daemon=True).start()
    os.environ.clear()
    os.environ.update(environment | share.environment)
    if share.cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, share.cores)
    silence_libraries()
    escape_names()
    for name, value in settings.items():
        jax.config.update(name, value)
    if log:
        sys.stdout.flush()
        with open(log, "ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)


def _follow_the_parent():
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os.kill(os.getpid(), signal.SIGTERM)

"""One job in several processes, such as one on every host of a TPU slice: who writes, and what all agree on.

All processes run the same program on the same config, and each feeds its own devices.  Only the first one touches the
folder of the run: what it reads it tells the others (`from_first`), so that no file system has to be shared.
"""

import atexit
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from ssdkd_jax.errors import UserError
from ssdkd_jax.training.environment import Launch

# Seconds without a sign of life after which a process counts as lost, and all others end.
HEARTBEAT_SECONDS = 30
# Seconds that a process which is done waits for the others.
SHUTDOWN_SECONDS = 60
# Seconds by which the first process ends later than the others where the job fails: JAX aborts them when it is gone.
LAST_SECONDS = 2
# What JAX says in an exception where another process is gone.
_SIGNS_OF_LOSS = ("gloo", "coordination", "connection closed", "socket closed", "heartbeat", "unavailable:")
# Says its last argument when its standard input ends without a byte: the process that holds it was killed or aborted.
_LAST_WORD = "import sys; sys.stdin.buffer.read(1) or print(sys.argv[1], file=sys.stderr, flush=True)"


def start(launch: Launch | None, command: str) -> None:
    """Joins the other processes of the job; before anything else is asked of JAX.

    Args:
      launch: `environment.asked_for`; nothing happens for None.
      command: the command line, for the last words of a process that is killed, or that JAX aborts where another is.

    Raises:
      UserError: they do not come together.
    """
    if launch is None:
        return
    _leave_last_word(f"error: {_lost(launch.words)}: {command}")
    # It would take SIGTERM for itself, which all processes are to hear of by `anywhere`.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            **launch.arguments,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=SHUTDOWN_SECONDS,
        )
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"the processes do not come together ({reason}); expected {launch.words}") from error


def count() -> int:
    """How many processes the job has."""
    return jax.process_count() if jax.distributed.is_initialized() else 1


def is_first() -> bool:
    """Whether this is the process that writes."""
    return count() == 1 or jax.process_index() == 0


# Whether the first process does what the others wait for, and so must not ask them anything.
_first_works = False


def from_first(make: Callable[[], Any]) -> Any:
    """What `make()` returns in the first process, in all of them; the others do not call it.

    All processes must come here in the same order.  What it returns is pickled, and an exception is raised everywhere:
    as itself where it is one of this package, else as UserError in the other processes.
    """
    global _first_works
    if count() == 1 or _first_works:
        return make()
    failure, message = None, b""
    if is_first():
        _first_works = True
        try:
            message = pickle.dumps((True, make()))
        except Exception as error:
            failure, message = error, _pickled_failure(error)
        finally:
            _first_works = False
    fine, value = pickle.loads(_broadcast(message))
    if failure:
        raise failure
    if not fine:
        raise value
    return value


def _pickled_failure(error):
    if type(error).__module__.startswith("ssdkd_jax."):
        return pickle.dumps((False, error))
    return pickle.dumps((False, UserError(f"the first process failed ({type(error).__name__}: {error}); see there")))


def _broadcast(message: bytes) -> bytes:
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(message))))
    # One compiled program for all messages of about a length.
    padded = np.zeros(1 << (size - 1).bit_length(), np.uint8)
    if is_first():
        padded[:size] = np.frombuffer(message, np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(padded))[:size].tobytes()


def anywhere(interruption: Any) -> bool:
    """Whether the work should stop in any process; an `Interruption` then takes over the signal's number.

    All processes must come here in the same order.
    """
    if count() == 1 or _first_works:
        return bool(interruption)
    here = int(getattr(interruption, "number", 1)) if interruption else 0
    number = int(np.max(multihost_utils.process_allgather(np.int32(here))))
    if number and hasattr(interruption, "hear"):
        interruption.hear(number)
    return number > 0


def whole(array: jax.Array) -> np.ndarray:
    """A pmapped array as NumPy array with all devices' parts, those of other processes too."""
    return np.array(array if count() == 1 else multihost_utils.process_allgather(array, tiled=True))


def trouble(error: BaseException, command: str) -> str | None:
    """In words: another process is gone, which this exception is about; None where it is about something else."""
    if count() == 1 or not isinstance(error, jax.errors.JaxRuntimeError):
        return None
    if not any(sign in str(error).lower() for sign in _SIGNS_OF_LOSS):
        return None
    return f"{_lost(f'process {jax.process_index()} of {count()}')}: {command}"


def _lost(words):
    return (
        f"{words} ends, because it or another process of the job was lost; to resume from the last checkpoint, "
        "start all processes again"
    )


def leave(status: int) -> None:
    """Ends a process that has said why, at once: a regular exit waits for threads, and processes that may be gone."""
    _leave_no_word()
    sys.stdout.flush()
    sys.stderr.flush()
    if count() > 1 and is_first():
        time.sleep(LAST_SECONDS)
    os._exit(status)


def _leave_no_word():
    if _watchers:
        _watchers.pop().communicate(b".")


_watchers: list[subprocess.Popen] = []


def _leave_last_word(text):
    """JAX ends a process from C++, where no handler of Python's runs; a child sees that, and has the last word."""
    # A session of its own, or Ctrl-C would end it too.
    child = [sys.executable, "-S", "-c", _LAST_WORD, text]
    _watchers.append(subprocess.Popen(child, stdin=subprocess.PIPE, start_new_session=True))
    atexit.register(_leave_no_word)

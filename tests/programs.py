"""The command-line programs, without the seconds of imports: each run is a fork of one process that has imported them.

    python -m tests.programs < REQUESTS

`Program` and `run` are for tests; a request is a line of JSON, and so is its answer.
"""

import atexit
import json
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# What the programs import; nothing of it starts a thread or looks for devices.
IMPORTS = (
    *("ssdkd_jax.jobs.comparison", "ssdkd_jax.interop.torch_export", "experiments.command_line"),
    *("sklearn.datasets", "sklearn.model_selection"),
)
_LOCK, _SERVERS = threading.Lock(), []


class Program:
    """A running `python -m MODULE ARGUMENTS`, with the names of `subprocess.Popen`.

    Args:
      module: "experiments.main", for example.
      arguments: turned into text.
      cwd: where it runs.
      environment: variables that differ from this process's.

    Attributes:
      pid: number of the process.
      out, err: files of what it has written.
      returncode: None while it runs, as far as `poll` knows.
    """

    def __init__(self, module, arguments, cwd=ROOT, **environment):
        self._folder = tempfile.TemporaryDirectory()
        self.out, self.err = (pathlib.Path(self._folder.name, name) for name in ("out", "err"))
        self.out.touch()
        self.err.touch()
        self.returncode = None
        self.pid = _ask(
            module=module,
            arguments=[str(argument) for argument in arguments],
            cwd=str(cwd),
            environment={**os.environ, "SSDKD_JAX_KEEP_PROGRAMS": "1", **environment},
            out=str(self.out),
            err=str(self.err),
        )

    def poll(self):
        if self.returncode is None:
            self.returncode = _ask(poll=self.pid)
        return self.returncode

    def send_signal(self, number):
        os.kill(self.pid, number)

    def communicate(self, timeout=600.0):
        """(stdout, stderr) when it has ended."""
        give_up = time.monotonic() + timeout
        while self.poll() is None:
            assert time.monotonic() < give_up, f"runs longer than {timeout} seconds"
            time.sleep(0.1)  # each look takes two processes' time from the program
        return self.out.read_text(), self.err.read_text()


def run(program, *arguments, cwd=ROOT, **environment):
    """(exit status, stdout, stderr) of the whole `python -m experiments.PROGRAM ARGUMENTS`."""
    running = Program(f"experiments.{program}", arguments, cwd, **environment)
    out, err = running.communicate()
    return running.returncode, out, err


def _ask(**request):
    with _LOCK:
        if not _SERVERS:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            _SERVERS.append(subprocess.Popen([sys.executable, "-m", "tests.programs"], cwd=ROOT, **pipes))
            atexit.register(_SERVERS[0].communicate)
        server = _SERVERS[0]
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        return json.loads(server.stdout.readline())


def _serve():
    for name in IMPORTS:
        __import__(name)
    for line in sys.stdin:
        request = json.loads(line)
        if "poll" in request:
            pid, status = os.waitpid(request["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if answer == 0:
                _become(request)
        print(json.dumps(answer), flush=True)


def _become(request):
    """The program itself, in the child; does not return."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for name, number in (("out", 1), ("err", 2)):
        os.dup2(os.open(request[name], os.O_WRONLY), number)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["-m", *request["arguments"]]
    status = 0
    try:
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _serve()

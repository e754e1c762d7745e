"""The command-line programs, without the seconds of imports: each run is a fork of one process that has imported them.

    python -m tests.programs < REQUESTS

`run` is for tests; a request is a line of JSON, and so is its answer.
"""

import atexit
import json
import os
import runpy
import subprocess
import sys
import tempfile
import threading

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# What the programs import; nothing of it starts a thread or looks for devices.
IMPORTS = ("ssdkd_jax.jobs.comparison", "ssdkd_jax.interop.torch_export", "experiments.command_line")
_LOCK, _SERVERS = threading.Lock(), []


def run(program, *arguments, cwd=ROOT, **environment):
    """(exit status, stdout, stderr) of `python -m experiments.PROGRAM ARGUMENTS`.

    Args:
      program: "main", for example.
      arguments: turned into text.
      cwd: where it runs.
      environment: variables that differ from this process's.
    """
    with _LOCK:
        if not _SERVERS:
            _SERVERS.append(_start())
        server = _SERVERS[0]
        request = {
            "module": f"experiments.{program}",
            "arguments": [str(argument) for argument in arguments],
            "cwd": str(cwd),
            "environment": {**os.environ, **environment},
        }
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        return tuple(json.loads(server.stdout.readline()))


def _start():
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    server = subprocess.Popen([sys.executable, "-m", "tests.programs"], cwd=ROOT, **pipes)
    atexit.register(server.communicate)
    return server


def _serve():
    for name in IMPORTS:
        __import__(name)
    for line in sys.stdin:
        request = json.loads(line)
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            child = os.fork()
            if child == 0:
                _become(request, out, err)
            _, status = os.waitpid(child, 0)
            texts = [file.seek(0) or file.read() for file in (out, err)]
        print(json.dumps([os.waitstatus_to_exitcode(status), *texts]), flush=True)


def _become(request, out, err):
    """The program itself, in the child; does not return."""
    for file, number in ((out, 1), (err, 2)):
        os.dup2(file.fileno(), number)
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

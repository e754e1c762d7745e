"""Results files of the programs here: what was found, in words, with the command and the machine."""

import shlex
import sys

import jax

from ssdkd_jax.files import write_at_once
from ssdkd_jax.jobs.provenance import made_with
from ssdkd_jax.outputs import check_results_file

KIND = "facts"


def check(path):
    """The path, which may be None, where such a file can be written; UserError where another result is."""
    return path and check_results_file(path, KIND)


def write(path, module, facts):
    """Writes {what: found} and the command of `python -m module` with this process's arguments."""
    source = {"kind": KIND, "command": shlex.join(["python", "-m", module, *sys.argv[1:]])}
    write_at_once(path, {**source, **made_with(jax.devices()), "facts": facts})

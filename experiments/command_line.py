"""What all command-line programs share: flags, one-line errors, interruption, exit status."""

import os
import shlex
import sys
import warnings

from absl import flags

from ssdkd_jax.errors import UserError
from ssdkd_jax.runtime.interruption import Interrupted, Interruption

# Compiled programs are kept here, so that the next run of a config starts in seconds.
COMPILATION_CACHE = "~/.cache/ssdkd_jax/compiled"


def launch(main, *, required, example):
    """Parses the flags, runs `main(command, interruption)` and exits.

    Status 0: done, or saved and stopped on request; 2: the user's mistake, told in one line.
    """
    program = f"python -m experiments.{os.path.basename(sys.argv[0]).removesuffix('.py')}"
    command = shlex.join([*program.split(), *sys.argv[1:]])
    try:
        _parse_flags(required, f"{program} {example}")
        _keep_compiled_programs()
        with Interruption() as interruption:
            main(command, interruption)
    except UserError as error:
        _fail(error)
    except Interrupted as stop:
        print(f"{stop}; to go on: {command}", flush=True)
    except KeyboardInterrupt:
        print(f"stopped at once; to go on from the last checkpoint: {command}", file=sys.stderr)
        sys.exit(130)


def _parse_flags(required, example):
    sys.path.insert(0, os.getcwd())
    try:
        rest = flags.FLAGS(sys.argv)[1:]
    except flags.Error as error:
        raise UserError(f"{_first_line(error)}; for example: {example}") from error
    except (AttributeError, KeyError, ValueError, TypeError, OSError) as error:
        raise UserError(f"the config cannot be read: {_first_line(error)}; for example: {example}") from error
    missing = [f"--{name}" for name in required if not getattr(flags.FLAGS, name)]
    if rest or missing:
        problem = f"unexpected arguments {' '.join(rest)}" if rest else f"{' and '.join(missing)} missing"
        raise UserError(f"{problem}; for example: {example}")


def _first_line(error):
    text = str(error.args[0]) if error.args else str(error)
    return " ".join(text.split("\n")[0].split()) or type(error).__name__


def _keep_compiled_programs():
    import jax

    if not jax.config.jax_compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", os.path.expanduser(COMPILATION_CACHE))
    warnings.filterwarnings("ignore", category=DeprecationWarning)


def _fail(error):
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
    sys.exit(2)

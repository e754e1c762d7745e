"""What all command-line programs share: flags, one-line errors, interruption, exit status."""

import errno
import logging
import os
import shlex
import sys
import warnings

from absl import flags
from ml_collections import config_flags

from ssdkd_jax.errors import UserError
from ssdkd_jax.training.interruption import Interrupted, Interruption

# Compiled programs are kept here, so that the next run of a config starts in seconds.
COMPILATION_CACHE = "~/.cache/ssdkd_jax/compiled"
# The system's numbers for a disk or a quota without room.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def launch(main, *, required, example, arguments=()):
    """Parses the flags, runs `main(command, interruption, *arguments)` and exits.

    `required` are names of flags, `arguments` names of what stands on the command line without a flag.

    Status 0: done, or saved and stopped on request; 2: the user's mistake, reported in one line.  Every program knows
    `--help`, which lists the fields of the config that is named, and `--version`.
    """
    program = f"python -m experiments.{os.path.basename(sys.argv[0]).removesuffix('.py')}"
    command = shlex.join([*program.split(), *sys.argv[1:]])
    if os.environ.get("XLA_FLAGS"):  # which may say how many devices there are
        command = f"XLA_FLAGS={shlex.quote(os.environ['XLA_FLAGS'])} {command}"
    _be_quiet()
    if "--version" in sys.argv[1:]:
        print(_version())
        return
    try:
        if {"--help", "-h"} & set(sys.argv[1:]):
            print(_help(f"{program} {example}"))
            return
        with Interruption() as interruption:
            values = _parse_flags(required, arguments, f"{program} {example}")
            _keep_compiled_programs()
            main(command, interruption, *values)
    except UserError as error:
        _fail(error)
    except Interrupted as stop:
        print(f"{stop}; to resume: {command}", flush=True)
    except KeyboardInterrupt:
        print(f"stopped at once; to resume from the last checkpoint: {command}", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        trouble = _trouble_with_files(error)
        if trouble is None:
            raise
        # At once, since writers would try again and complain when Python exits.
        _fail(f"{trouble}; then run the same command again: {command}", leave=os._exit)


def _trouble_with_files(error):
    """What to fix where an exception, or one behind it, is about the disk and not about the program; else None."""
    while error is not None:
        # Orbax and TensorStore hand the system's words on in exceptions of their own.
        if getattr(error, "errno", None) in NO_ROOM or any(os.strerror(number) in str(error) for number in NO_ROOM):
            return f"the disk is full{_named(error)}; make room"
        if isinstance(error, OSError) and error.filename:
            return f"{error.strerror or 'cannot be used'}{_named(error)}; fix that"
        error = error.__cause__ or error.__context__
    return None


def _named(error):
    return f" ({error.filename})" if getattr(error, "filename", None) else ""


def _version():
    """Package, Python, jax and devices in one line each."""
    import jax

    import ssdkd_jax
    from ssdkd_jax.jobs.run_folder import versions
    from ssdkd_jax.training.devices import local_devices

    devices = local_devices()
    packages = ", ".join(f"{name} {version}" for name, version in versions().items())
    return (
        f"ssdkd_jax {ssdkd_jax.__version__}\n{packages}\n"
        f"{len(devices)} x {devices[0].device_kind} ({jax.default_backend()})"
    )


def _help(example):
    """The program's own words, its flags, and where it takes a config, every field of that."""
    text = f"{sys.modules['__main__'].__doc__}\n{flags.FLAGS.main_module_help()}"
    if "config" not in flags.FLAGS:
        return text
    from ssdkd_jax.jobs.help_text import describe_fields

    argv = [argument for argument in sys.argv if argument not in ("--help", "-h")]
    config = None
    if any(argument.startswith(("--config=", "-config=")) or argument in ("--config", "-config") for argument in argv):
        _read_flags(argv, example)
        config = flags.FLAGS.config
    return f"{text}\n{describe_fields(config)}"


def overridden_fields():
    """Names of the config's fields that the command line set, such as "ssdkd.alpha"."""
    return list(config_flags.get_override_values(flags.FLAGS["config"]))


def _parse_flags(required, arguments, example):
    rest = _read_flags(sys.argv, example)
    missing = [*arguments[len(rest) :], *(f"--{name}" for name in required if not getattr(flags.FLAGS, name))]
    unexpected = rest[len(arguments) :]
    if unexpected or missing:
        problem = f"unexpected arguments {' '.join(unexpected)}" if unexpected else f"{' and '.join(missing)} missing"
        raise UserError(f"{problem}; for example: {example}")
    return rest


def _read_flags(argv, example):
    """What stands on the command line without a flag."""
    sys.path.insert(0, os.getcwd())
    _check_config_file(argv, example)
    _register_methods(argv)
    try:
        return flags.FLAGS(argv)[1:]
    except UserError:
        raise
    except flags.UnrecognizedFlagError as error:
        raise UserError(f"{_reason(error).rstrip('?').strip()}; for example: {example}") from error
    except (AttributeError, KeyError) as error:
        raise UserError(f"{_unknown_field(error)}; configs/common.py lists the fields") from error
    except flags.Error as error:
        raise UserError(f"{_reason(error)}; for example: {example}") from error
    except Exception as error:
        raise UserError(f"the config cannot be read: {type(error).__name__}: {_reason(error)}") from error


def _register_methods(argv):
    """A user's own methods have their sections in the config before it is read."""
    from ssdkd_jax import methods
    from ssdkd_jax.user_code import is_user_code

    for argument in argv:
        flag, _, value = argument.partition("=")
        if flag.lstrip("-") in ("config.method", "methods"):
            for name in filter(is_user_code, value.split(",")):
                methods.register(name)


def _check_config_file(argv, example):
    for argument, following in zip(argv, [*argv[1:], ""], strict=True):
        name, equals, value = argument.partition("=")
        if name.lstrip("-") == "config" and argument.startswith("-"):
            path = (value if equals else following).partition(":")[0]
            if not os.path.isfile(path):
                raise UserError(f"there is no config file {path!r}; for example: {example}")


def _unknown_field(error):
    """The argument that names the field an error is about, or the error's own words."""
    name = str(error.args[0] if error.args else error).strip("'\"")
    for argument in sys.argv[1:]:
        field = argument.partition("=")[0]
        if field.endswith(f".{name}"):
            return f"unknown config field {field}"
    return f"the config cannot be read: {_reason(error)}"


def _reason(error):
    """The first line of what an exception says; the last one where it quotes a whole traceback."""
    lines = [line for line in str(error.args[0] if error.args else error).split("\n") if line.strip()]
    if not lines:
        return type(error).__name__
    return " ".join(lines[-1 if "Traceback (most recent call last):" in lines else 0].split())


def _keep_compiled_programs():
    import jax

    if not jax.config.jax_compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", os.path.expanduser(COMPILATION_CACHE))


def _be_quiet():
    """Keeps off the terminal what libraries log about their own work; what goes wrong comes as exceptions."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", message="Some donated buffers were not usable")


def _fail(error, leave=sys.exit):
    sys.stdout.flush()
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
    leave(2)

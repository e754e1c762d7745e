"""What all command-line programs share: flags, one-line errors, interruption, exit status."""

import contextlib
import errno
import gc
import os
import pathlib
import re
import shlex
import signal
import sys
import traceback

from absl import flags

from experiments import config_flag, flag_mistakes, measuring
from ssdkd_jax import user_code
from ssdkd_jax.errors import UserError
from ssdkd_jax.limits import allow_open_files
from ssdkd_jax.outputs import make_folder
from ssdkd_jax.terminal import escape_names, open_closed_streams, silence_libraries
from ssdkd_jax.training import multiprocess
from ssdkd_jax.training.interruption import Interrupted, Interruption

# Compiled programs are kept here, so that the next run of a config starts in seconds.
COMPILATION_CACHE = "~/.cache/ssdkd_jax/compiled"
# Objects made between two rounds of Python's garbage collector.  Tracing makes millions that stay, through which it
# looks in vain every 700 by default: a fifth of the time that "compile" takes.
OBJECTS_BETWEEN_COLLECTIONS = 100_000
# The system's numbers for a full disk or quota.
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
# And where no more files may be open.
TOO_MANY_FILES = (errno.EMFILE, errno.ENFILE)
# Variables without which the same command gives other numbers: the first two may say how many devices there are.
OF_THE_COMMAND = (
    *("XLA_FLAGS", "JAX_NUM_CPU_DEVICES", "JAX_DEFAULT_PRNG_IMPL", "JAX_THREEFRY_PARTITIONABLE"),
    *("JAX_DEFAULT_MATMUL_PRECISION", "JAX_DISABLE_MOST_OPTIMIZATIONS"),
)
# Flags that every program knows, and that do nothing but print.
COMMON_FLAGS = """every program:
  --help: Print this text and every field of the config that --config names.
  --version: Print the versions of the package, Python and JAX, and the devices.
  --list: methods, networks or configs: list the available names."""


def launch(main, *, required, example, arguments=(), resumes=False):
    """Parses the flags, runs `main(command, interruption, *arguments)` and exits.

    Exit status 0: done; 2: the user's mistake, reported in one line; 1: another process of the job was lost; 128 + the
    signal's number: saved and stopped on request; 141: stopped since nobody reads the output, as under `| head`.

    Args:
      main: the program's work; the docstring of its module is the program's help.
      required: names of flags that must be given.
      example: arguments that work.
      arguments: names of the positional arguments.
      resumes: whether it saves and stops when `interruption` becomes true; else a signal ends it at once.
    """
    open_closed_streams()
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    silence_libraries()
    escape_names()
    program, command = _commands()
    interruption = Interruption()
    again = "to resume from the last checkpoint, if there is one" if resumes else "to start again"
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sys.path.insert(0, _current_folder())
        if _print_and_leave(main, f"{program} {example}"):
            return
        with interruption if resumes else contextlib.nullcontext():
            values = _parse_flags(required, arguments, f"{program} {example}")
            allow_open_files()
            _keep_compiled_programs()
            _check_jax()
            main(command, interruption, *values)
        if interruption:  # in the last epoch: what comes next on the command line is not wanted
            print("finished all the same", flush=True)
            _stop(interruption)
    except UserError as error:
        _fail(error)
    except Interrupted as stop:
        print(f"{stop}; to resume: {command}", flush=True)
        _stop(interruption)
    except KeyboardInterrupt:
        print(f"stopped at once; {again}: {command}", file=sys.stderr, flush=True)
        multiprocess.leave(130)  # without waiting for compilers and writers in other threads
    except BrokenPipeError:
        _drop_output()
        print(f"stopped, since nobody reads the output any more; {again}: {command}", file=sys.stderr, flush=True)
        multiprocess.leave(128 + signal.SIGPIPE)
    except Exception as error:
        _fail_unexpectedly(error, command)


def _commands():
    """(the program without arguments, the whole command line), as one types them."""
    name = os.path.basename(sys.argv[0])
    program = f"python -m experiments.{name.removesuffix('.py')}" if name.endswith(".py") else name
    settings = [f"{name}={shlex.quote(os.environ[name])}" for name in OF_THE_COMMAND if os.environ.get(name)]
    return program, " ".join([*settings, shlex.join([*program.split(), *sys.argv[1:]])])


def _fail_unexpectedly(error, command):
    """Ends the program: with a line where another process, the machine or the user's code is to blame."""
    lost = multiprocess.trouble(error, command)
    if lost:
        _fail(lost, status=1)
    trouble, in_user_code = _trouble_with_the_machine(error, command), user_code.described(error)
    if trouble:
        # At once, since writers would try again and complain when Python exits.
        _fail(trouble, leave=os._exit)
    if not in_user_code or os.environ.get("JAX_TRACEBACK_FILTERING") == "off":
        if multiprocess.count() == 1:
            raise error
        traceback.print_exception(error)
        multiprocess.leave(1)
    _fail(in_user_code)


def _current_folder():
    try:
        return os.getcwd()
    except FileNotFoundError as error:
        raise UserError("the current folder was deleted; change to one that is there: cd FOLDER") from error


def _print_and_leave(main, example):
    """True if the command line only asks for help, versions or names, which are then printed."""
    asked = [argument.partition("=") for argument in sys.argv[1:]]
    flags_asked = {flag for flag, _, _ in asked}
    for flag, equals, _ in asked:
        if equals and flag in ("--help", "-h", "--version"):
            raise UserError(f"{flag} takes no value: {flag}")
    if "--version" in flags_asked:
        text = _version()
    elif "--list" in flags_asked:
        text = "\n".join(name for flag, _, kind in asked if flag == "--list" for name in config_flag.names_of(kind))
    elif {"--help", "-h"} & flags_asked:
        text = _help(main, example)
    else:
        return False
    try:
        print(text, flush=True)
    except BrokenPipeError:  # `... --help | head`
        _drop_output()
    return True


def _drop_output():
    """What nobody reads goes nowhere from now on, also what Python writes at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _version():
    """Package, Python, JAX and devices in one line each."""
    import jax

    from ssdkd_jax.jobs.provenance import versions
    from ssdkd_jax.training.devices import local_devices

    devices = local_devices()
    own, *packages = (f"{name} {version}" for name, version in versions().items())
    return f"{own}\n{', '.join(packages)}\n{len(devices)} x {devices[0].device_kind} ({jax.default_backend()})"


def _help(main, example):
    """The program's own words, its flags, and where it takes a config, every field of that."""
    module = sys.argv[0] if main.__module__ == "__main__" else main.__module__
    by_module = flags.FLAGS.flags_by_module_dict()
    own = "\n".join(
        f"  --{flag.name}: {flag.help} (default: {flag.default!r})"
        for name in (config_flag.__name__, measuring.__name__, module)
        for flag in by_module.get(name, [])
    )
    text = f"{sys.modules[main.__module__].__doc__}\nflags:\n{own}\n\n{COMMON_FLAGS}\n"
    return f"{text}\n{config_flag.describe_fields(example)}" if "config" in flags.FLAGS else text


def _parse_flags(required, arguments, example):
    _check_text(sys.argv[1:])
    rest = config_flag.read_flags(sys.argv, example)
    missing = [*arguments[len(rest) :], *(f"--{name}" for name in required if not getattr(flags.FLAGS, name))]
    unexpected = rest[len(arguments) :]
    if unexpected or missing:
        problem = f"unexpected arguments {' '.join(unexpected)}" if unexpected else f"{' and '.join(missing)} missing"
        problem += flag_mistakes.meant_field(unexpected) or config_flag.in_place_of_a_field(missing)
        raise UserError(f"{problem}; for example: {example}")
    return rest


def _check_text(arguments):
    """Raises UserError for a path that is not UTF-8, which only Orbax refuses, long after a teacher was trained."""
    for argument in arguments:
        shown = argument.encode(errors="backslashreplace").decode()
        if shown != argument:
            raise UserError(
                f"{shown} has bytes that are not text, expected UTF-8, which checkpoints need; if it is, "
                "set PYTHONUTF8=1, and else rename the file or folder"
            )


def _stop(interruption):
    # What is left is Python's own end, of which one more Ctrl-C would print a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(128 + interruption.number)


def _trouble_with_the_machine(error, command):
    """What to fix where an exception, or one behind it, is about disk or memory, not about the program; else None."""
    again = f"then run the same command again: {command}"
    while error is not None:
        if getattr(error, "errno", None) == errno.ENAMETOOLONG:
            longest = max(str(error.filename).split("/"), key=len)
            return f"a name has {len(longest)} letters, expected one that the disk takes, mostly at most 255: {longest}"
        if _says(error, *NO_SPACE):
            return f"the disk is full{_named(error)}; make room; {again}"
        if _says(error, errno.EFBIG):
            fix = "raise the limit (ulimit -f unlimited), or choose another disk"
            return f"a file would be larger than the shell or the disk allows{_named(error)}; {fix}; {again}"
        if _says(error, *TOO_MANY_FILES):
            return f"the shell or the system allows too few open files; raise the limit (ulimit -n 1024); {again}"
        if isinstance(error, MemoryError) or "Out of memory" in str(error):
            asked = re.search(r"allocating (\d+) bytes", str(error))
            size = f" ({int(asked[1]) / 1e9:,.1f} GB more were asked for)" if asked else ""
            return f"there is too little memory{size}; choose smaller batches, images or networks"
        if isinstance(error, OSError) and error.filename:
            return f"{error.strerror or 'cannot be used'}{_named(error)}; fix that, {again}"
        error = error.__cause__ or error.__context__
    return None


def _says(error, *numbers):
    """Whether an exception is one of the system's errors; Orbax and TensorStore hand its words on in their own."""
    return getattr(error, "errno", None) in numbers or any(os.strerror(number) in str(error) for number in numbers)


def _named(error):
    return f" ({error.filename})" if getattr(error, "filename", None) else ""


def _keep_compiled_programs():
    """Compiled programs are read from, and kept in, a folder, those of runs whole (`KEEP_PROGRAMS`).

    Where the folder cannot be used, that is told, and nothing is kept.
    """
    import jax

    from ssdkd_jax.training.kept_programs import KEEP_PROGRAMS

    os.environ.setdefault(KEEP_PROGRAMS, "1")
    folder = jax.config.jax_compilation_cache_dir
    if not folder:
        folder = os.path.expanduser(COMPILATION_CACHE)
        jax.config.update("jax_compilation_cache_dir", folder)
        # Of a short run, the many small programs take the compiler longer than the few large ones.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    if "://" in folder:
        return
    try:
        make_folder(pathlib.Path(folder), "JAX_COMPILATION_CACHE_DIR")
    except UserError as error:
        print(f"compiled programs are not kept: {error}", flush=True)
        jax.config.update("jax_enable_compilation_cache", False)


def _check_jax():
    """Raises UserError where JAX is set to something with which no program works, or none as it is tested."""
    import jax

    refused = {
        "JAX_DISABLE_JIT": (jax.config.jax_disable_jit, "all steps are compiled"),
        "JAX_ENABLE_X64": (jax.config.jax_enable_x64, "all numbers are of 32 bits or fewer"),
        "JAX_NUMPY_DTYPE_PROMOTION": (jax.config.jax_numpy_dtype_promotion == "strict", "types are mixed"),
        "JAX_NUMPY_RANK_PROMOTION": (jax.config.jax_numpy_rank_promotion == "raise", "shapes are broadcast"),
        "JAX_TRANSFER_GUARD": (str(jax.config.jax_transfer_guard).startswith("disallow"), "images come from the host"),
    }
    for name, (is_set, reason) in refused.items():
        if is_set:
            raise UserError(f"{name} is set, expected not to be, since {reason}: unset {name}")


def _fail(error, leave=sys.exit, status=2):
    sys.stdout.flush()
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
    (multiprocess.leave if multiprocess.count() > 1 else leave)(status)

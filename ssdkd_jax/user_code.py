"""A user's own Python: functions and classes that are named as `path/to/file.py:Name`."""

import contextlib
import functools
import importlib.util
import os
import pathlib
import sys
import traceback
import zlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from ssdkd_jax.errors import UserError, closest

# Paths of the user's files that were imported.
_FILES: set[str] = set()


def is_user_code(text: str) -> bool:
    """Tells whether a name of a network or data set is one of a user's own, `path/to/file.py:Name`."""
    return ".py:" in str(text)


def load_object(text: str) -> Any:
    """Imports a Python file and returns what it calls `Name`.

    A file is imported once per process, whatever happens to it afterwards, so that its classes stay the same. Its
    folder is put at the end of `sys.path`, so that it can import its neighbors.

    Args:
      text: `path/to/file.py:Name`; a relative path starts at the current directory.

    Returns:
      the object, of any type.

    Raises:
      UserError: not of that form, no such file, no such name in it, or importing it fails.
    """
    path, name = _path_and_name(text)
    if not os.path.isfile(path):
        raise UserError(f"there is no file {path}; expected path/to/file.py:Name, such as net.py:make")
    with reported_errors(text):
        module = _imported(path)
    if not hasattr(module, name):
        known = [known for known in vars(module) if not known.startswith("_")]
        close = closest(name, known)
        hint = f"; did you mean {close!r}?" if close else f", which defines {', '.join(known) or 'nothing'}"
        raise UserError(f"there is no {name!r} in {path}{hint}")
    return getattr(module, name)


def absolute(text: str) -> str:
    """Completes the path of `path/to/file.py:Name`, so that equal texts mean the same object in every directory."""
    return ":".join(_path_and_name(text))


@contextlib.contextmanager
def reported_errors(text: str) -> Iterator[None]:
    """Turns what the user's code raises into a UserError of one line: the exception, the file and the line.

    Args:
      text: `path/to/file.py:Name` of the code that runs; errors of anything else pass unchanged.
    """
    if not is_user_code(text):
        yield
        return
    try:
        yield
    except UserError:
        raise
    except SyntaxError as error:
        raise UserError(f"{text} is not valid Python: {error.filename}, line {error.lineno}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        path = _path_and_name(text)[0]
        raise UserError(f"{text} fails with {_in_words(error)}{_place(error, {path}) or _anywhere(error)}") from error


def described(error: BaseException) -> str | None:
    """What went wrong in a user's file, in one line; None where the error passed through none that was imported.

    Args:
      error: as it was raised; what it was raised from counts too.
    """
    while error is not None:
        place = _place(error, _FILES)
        if place:
            path = place[2:].rpartition(", line ")[0]
            return f"{path} fails with {_in_words(error)}{place}; JAX_TRACEBACK_FILTERING=off shows the whole traceback"
        error = error.__cause__ or error.__context__
    return None


def _in_words(error):
    message = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _path_and_name(text):
    path, _, name = text.rpartition(":")
    if not path.endswith(".py") or not name.isidentifier():
        raise UserError(f"{text!r} does not name an object of a Python file; expected path/to/file.py:Name")
    return os.path.abspath(os.path.expanduser(path)), name


@functools.cache
def _imported(path) -> ModuleType:
    # Two files of one name in different folders are different modules.
    name = f"{pathlib.Path(path).stem}_{zlib.crc32(path.encode()):08x}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    folder = os.path.dirname(path)
    if folder not in sys.path:
        sys.path.append(folder)
    # Dataclasses, and so Linen modules, look their own module up there.
    sys.modules[name] = module
    _FILES.add(path)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _place(error, paths):
    """The innermost line of the user's files that the error passed through, or "" if there is none."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in paths]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""


def _anywhere(error):
    """The innermost function of this package that the error passed through below what reports it, or ""."""
    package = os.path.dirname(__file__)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__)[1:] if frame.filename.startswith(package)]
    frames = [frame for frame in frames if frame.filename != __file__]
    return f" ({os.path.basename(frames[-1].filename)}, in {frames[-1].name})" if frames else ""

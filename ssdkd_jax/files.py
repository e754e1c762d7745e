"""Writing files atomically and alone, and reading JSON that a program of ours wrote."""

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple

from ssdkd_jax.errors import UserError


class Layout(NamedTuple):
    """What a folder of ours holds, and nothing else.

    names: regular expression of the names in it.
    inner: regular expression of the names in its folders, however deep.
    words: what that is, for messages.
    """

    names: str
    inner: str
    words: str


@contextlib.contextmanager
def replaced_file(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Writes a file atomically: yields a path next to it, whose file takes its place at the end.

    A block that fails, on a full disk for example, leaves the file as it was and nothing else behind.

    Raises:
      UserError: the path is a folder, a pipe or a device.
      OSError: as the block raised it, with the file's name where it had none.
    """
    path = pathlib.Path(path)
    if found := in_place_of_a_file(path):
        raise UserError(f"{path} is {found}, expected the name of a file to write")
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with _named(path):
            yield unfinished
            unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def in_place_of_a_file(path: pathlib.Path) -> str:
    """What has the name of a file, in words: "a directory", or "a pipe or a device"; "" for a file, or nothing.

    Who opened a pipe would wait until somebody opens its other end.
    """
    return "" if path.is_file() or not path.exists() else kind_of(path)


def kind_of(path: pathlib.Path) -> str:
    """What is at a path, in words; there is something."""
    if path.is_dir():
        return "a directory"
    return "a file" if path.is_file() else "a pipe or a device"


def try_lock(path: pathlib.Path) -> IO | None:
    """An open file as exclusive lock, or None where another program holds it; freed when closed or when killed.

    Raises:
      UserError: something that is no file has its name.
    """
    if found := in_place_of_a_file(path):
        raise UserError(f"{path} is {found}, expected a file or nothing; move it elsewhere")
    while True:
        file = path.open("a")  # which leaves a file of somebody else's as it is
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                return file
        except BlockingIOError:
            file.close()
            return None
        except FileNotFoundError:
            pass
        file.close()  # its holder has removed it in between


def write_if_possible(path: pathlib.Path, write: Callable[[IO[bytes]], None]) -> None:
    """Writes a file that only saves time, and its folders, atomically; where that fails, all stays as it was.

    Args:
      path: of the file; while another program is writing it, that is left to it.
      write: (open binary file) writes the content.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if lock := try_lock(path.with_suffix(".lock")):
            with lock:
                try:
                    with replaced_file(path) as unfinished, unfinished.open("wb") as file:
                        write(file)
                finally:
                    path.with_suffix(".lock").unlink()
    except (OSError, UserError):
        pass


def file_sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file's content, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(values: Any) -> str:
    """SHA-256 of plain values as JSON with sorted keys, in hexadecimal digits."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def write_at_once(path: pathlib.Path, content: Any) -> None:
    """Writes a file atomically: bytes and text unchanged, anything else as JSON."""
    write_together({path: content})


def write_together(contents: dict[pathlib.Path, Any]) -> None:
    """Writes several files as `write_at_once` does, and begins to replace them only once all are written."""
    with contextlib.ExitStack() as stack:
        unfinished = {path: stack.enter_context(replaced_file(path)) for path in contents}
        for path, content in contents.items():
            if not isinstance(content, bytes):
                text = content if isinstance(content, str) else json.dumps(content, indent=1) + "\n"
                content = text.encode("utf-8", errors="replace")
            with _named(path):
                unfinished[path].write_bytes(content)


@contextlib.contextmanager
def _named(path):
    """Puts a file's name into an OSError that has none, as of a failed write."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


@contextlib.contextmanager
def replaced_folder(folder: pathlib.Path, own: Layout) -> Iterator[pathlib.Path]:
    """Writes a folder atomically: yields an empty one next to it, which takes its place at the end.

    A block that fails, on a full disk for example, leaves the folder as it was.  What the block has written should be
    verified within it.

    Args:
      folder: becomes the folder; an earlier one is replaced.
      own: Layout of such a folder; one that holds anything else is somebody else's.

    Raises:
      UserError: the folder is a file, or holds something that is not ours.
    """
    folder = pathlib.Path(folder).absolute()
    unfinished, replaced = (folder.with_name(f".{folder.name}.{what}") for what in ("unfinished", "replaced"))
    for path in (folder, unfinished, replaced):
        check_ours(path, own)
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        recover_folder(folder, own)
        if folder.exists():
            folder.rename(replaced)
        unfinished.rename(folder)
        shutil.rmtree(replaced, ignore_errors=True)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def recover_folder(folder: pathlib.Path, own: Layout) -> None:
    """Puts a folder back that a program was killed while replacing.

    Raises:
      UserError: what is in its place is not ours: it holds something that `own` does not say.
    """
    folder = pathlib.Path(folder).absolute()
    replaced = folder.with_name(f".{folder.name}.replaced")
    check_ours(replaced, own)
    if replaced.exists() and not folder.exists():
        replaced.rename(folder)
    shutil.rmtree(replaced, ignore_errors=True)


def check_ours(folder: pathlib.Path, own: Layout, what_to_do: str = "move that elsewhere, or choose another folder"):
    """Raises UserError where a folder that is to be replaced is a file, or holds something that is not ours."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file, expected the name of a folder to write; {what_to_do}")
    foreign = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not _is_ours(path, folder, own))
    if foreign:
        raise UserError(
            f"{folder} holds {', '.join(foreign[:3])}, expected nothing but {own.words}; "
            f"nothing was written: {what_to_do}"
        )


def _is_ours(path: pathlib.Path, folder: pathlib.Path, own: Layout) -> bool:
    pattern = own.names if path.parent == folder else own.inner
    return re.fullmatch(pattern, path.name) is not None


def ending(path: pathlib.Path) -> str:
    """How a file's name ends, in words: "ends in '.txt'", or "has no suffix"."""
    return f"ends in {path.suffix!r}" if path.suffix else "has no suffix"


def read_object(path: pathlib.Path, fix: str = "move it elsewhere and run the same command again") -> dict:
    """The object that a JSON file holds; `fix` ends the message where there is none.

    Raises:
      UserError: the file is damaged, or no file.
    """
    if found := in_place_of_a_file(pathlib.Path(path)):
        raise UserError(f"{path} is {found}, expected a JSON file; {fix}")
    try:
        content = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is damaged, it is not JSON ({reason}): expected a JSON object; {fix}") from error
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise UserError(f"{path} is damaged, it holds a {kind}: expected a JSON object; {fix}")
    return content


def expand(path: str | pathlib.Path) -> pathlib.Path:
    """The path with `~` and `~name` replaced.

    Raises:
      UserError: there is no such user, or none has a home; what is given is no path.
    """
    try:
        return pathlib.Path(path).expanduser()
    except TypeError as error:
        raise UserError(f"{path!r} is no path, expected a str or pathlib.Path") from error
    except RuntimeError as error:
        raise UserError(
            f"{path} begins with a home directory that is unknown, expected that of a user; write the path in full"
        ) from error

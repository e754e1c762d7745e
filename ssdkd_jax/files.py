"""Writing files wholly or not at all, and reading JSON that a program of ours wrote."""

import json
import pathlib
import shutil
from typing import Any

from ssdkd_jax.errors import UserError


def write_at_once(path: pathlib.Path, content: Any) -> None:
    """Writes a file wholly or not at all: bytes and text as they stand, anything else as JSON."""
    path = pathlib.Path(path)
    if not isinstance(content, bytes):
        text = content if isinstance(content, str) else json.dumps(content, indent=1) + "\n"
        content = text.encode("utf-8", errors="replace")
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_bytes(content)
    unfinished.replace(path)


def read_object(path: pathlib.Path) -> dict:
    """The object that a JSON file holds.

    Raises:
      UserError: the file is damaged.
    """
    try:
        content = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); delete it and run the same command again") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged (no JSON object); delete it and run the same command again")
    return content


def check_room(folder: pathlib.Path, room: int, flag: str = "--workdir") -> None:
    """Raises UserError unless `room` bytes are free where the folder is; `flag` is what chooses the folder."""
    free = shutil.disk_usage(folder).free
    if free < room:
        raise UserError(
            f"the disk of {folder} has {free / 1e6:.1f} MB free, expected {room / 1e6:.1f} MB for checkpoints; "
            f"make room, or choose another folder: {flag}=DIR"
        )


def make_folder(folder: pathlib.Path, flag: str = "--workdir") -> pathlib.Path:
    """Creates a folder and makes sure that it can be written; `flag` is what chooses it, for the message.

    Raises:
      UserError: it cannot.
    """
    folder = pathlib.Path(folder).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.write_bytes(b"\0" * 4096)
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"the folder {folder} cannot be written ({error.strerror or error}); choose another: {flag}=DIR"
        ) from error
    return folder

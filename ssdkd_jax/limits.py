"""What the system allows this process: room on the disk, the size of a file, how many files are open."""

import pathlib
import resource
import shutil

from ssdkd_jax.errors import UserError

# Files that a program has open at the same time, twice over.
OPEN_FILES = 64


def check_room(folder: pathlib.Path, room: int, flag: str = "--workdir") -> None:
    """Raises UserError unless `room` bytes are free where the folder is; `flag` is what chooses the folder."""
    free = shutil.disk_usage(folder).free
    if free < room:
        raise UserError(
            f"the disk of {folder} has {free / 1e6:.1f} MB free, expected {room / 1e6:.1f} MB for checkpoints; "
            f"make room, or choose another folder: {flag}=DIR"
        )


def check_file_size(size: int, what: str) -> None:
    """Raises UserError where a file of so many bytes is larger than this process may write; `what` it is, in words."""
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit != resource.RLIM_INFINITY and limit < size:
        raise UserError(
            f"files may have {limit / 1e6:.1f} MB here (ulimit -f), expected {size / 1e6:.1f} MB for {what}; raise the "
            "limit: ulimit -f unlimited"
        )


def allow_open_files() -> None:
    """Lets this process have OPEN_FILES files open at the same time, where its limit is lower and may be raised.

    Raises:
      UserError: it may not be raised.
    """
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    is_enough, can_be = (limit == resource.RLIM_INFINITY or limit >= OPEN_FILES for limit in limits)
    if is_enough:
        return
    if not can_be:
        raise UserError(
            f"only {limits[1]} files may be open at the same time here (ulimit -n), expected {OPEN_FILES} at least; "
            "raise the limit where it was lowered, or in a new shell: ulimit -n 1024"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, limits[1]))

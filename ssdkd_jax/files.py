"""Writing files atomically, and reading JSON that a program of ours wrote."""

import contextlib
import hashlib
import json
import os
import pathlib
import re
import resource
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from ssdkd_jax.errors import UserError

# File and folder of which the folder of a saved network consists (`training.saved_network`).
NETWORK = ("network.json", "variables")
# What names the folder of a run, and those in it that hold nothing else than the run's own.
EXPERIMENT, RUN_FOLDERS = "experiment.json", ("checkpoints", "tensorboard")

# Files that a program has open at the same time, twice over.
OPEN_FILES = 64


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
    return "" if path.is_file() or not path.exists() else _kind(path)


def _kind(path: pathlib.Path) -> str:
    if path.is_dir():
        return "a directory"
    return "a file" if path.is_file() else "a pipe or a device"


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


@contextlib.contextmanager
def removed_if_refused(folder: pathlib.Path) -> Iterator[None]:
    """Removes a folder, and those that it is in, which a block has made before its UserError and left empty."""
    folder = pathlib.Path(folder)
    made = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        yield
    except UserError:
        for path in made:
            with contextlib.suppress(OSError):  # not empty, or never made
                path.rmdir()
        raise


def check_results_file(path: str | pathlib.Path, kind: str) -> pathlib.Path:
    """The path of a JSON file for results, chosen by --out, in a folder that exists then and can be written.

    Args:
      path: where the results are to be written.
      kind: entry "kind" of what will be written; an earlier file of the same kind may be replaced.

    Raises:
      UserError: as of `check_output` and `check_replaces`.
    """
    path = check_output(path, (".json",), overwrite=True)
    check_replaces(path, kind, "choose another file: --out=FILE.json")
    return path


def check_replaces(path: pathlib.Path, kind: str, fix: str) -> None:
    """Raises UserError where a file is there already and holds no results of this kind; `fix` ends the message."""
    found = read_object(path, fix).get("kind") if path.exists() else kind
    if found != kind:
        raise UserError(f"{path} holds {found or 'something else'}, expected {kind} to replace; {fix}")


def check_measures_the_same(path: pathlib.Path, about: dict) -> None:
    """Makes sure that results that are to be measured anew are of the same work as those that they replace.

    Args:
      path: of a JSON file, which need not be there.
      about: what the new results are of: {entry: value}, with values that JSON takes.

    Raises:
      UserError: the file holds another value, or none; the first such entry is named.
    """
    if not path.exists():
        return
    fix = "choose another file: --out=FILE.json"
    found = _without_sections(read_object(path, fix))
    for name, value in _without_sections(json.loads(json.dumps(about))).items():
        if found.get(name) != value:
            raise UserError(f"{path} holds results of {name}={found.get(name)}, and these are of {value}; {fix}")


def _without_sections(entries: dict) -> dict:
    """The entries, and instead of an object those in it."""
    sections = [value if isinstance(value, dict) else {name: value} for name, value in entries.items()]
    return {name: value for section in sections for name, value in section.items()}


def check_written_by_us(folder: pathlib.Path, beginnings: dict[str, str]) -> None:
    """Makes sure that files which a program is to replace are those that it has written before.

    Args:
      folder: of the files, which need not be there.
      beginnings: name -> regular expression of the beginning of what the program writes into it.

    Raises:
      UserError: one of them begins otherwise, or is no file.
    """
    for name, pattern in beginnings.items():
        path = folder / name
        if found := in_place_of_a_file(path):
            raise UserError(f"{path} is {found}, expected a file or nothing; choose another --workdir=DIR")
        if path.exists() and not re.match(pattern, _beginning(path), re.DOTALL):
            raise UserError(
                f"{path} is not what this program writes, and would be replaced; nothing was written: move it "
                "elsewhere, or choose another --workdir=DIR"
            )


def _beginning(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return file.read(4096).decode("utf-8", errors="replace")


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


def make_folder(folder: pathlib.Path, flag: str = "--workdir", value: str = "DIR") -> pathlib.Path:
    """Creates a folder and makes sure that it can be written; `flag` and its `value` choose it, for the message.

    Raises:
      UserError: it cannot, or it is a file or in one, in the folder of a saved network, in a run's checkpoints, or
        behind a link to nothing.
    """
    if not str(folder):  # which would be the current one
        raise UserError(f"{flag} names no folder, expected one: {flag}={value}")
    _check_is_no_address(folder, "folder", flag)
    folder = expand(folder)
    check_not_inside(folder, f"{flag}={value}")
    broken = next((path for path in (folder, *folder.parents) if os.path.islink(path) and not os.path.exists(path)), "")
    if broken:
        raise UserError(
            f"{broken} is a link to {os.readlink(broken)}, which is not there; make that, or choose another: "
            f"{flag}={value}"
        )
    file = next((path for path in (folder, *folder.parents) if os.path.exists(path) and not os.path.isdir(path)), None)
    if file:
        inside = "" if file == folder else f", so {folder} cannot be in it"
        raise UserError(f"{file} is no folder, but {_kind(file)}{inside}; choose another: {flag}={value}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0" * 4096)
    except OSError as error:
        raise UserError(
            f"the folder {folder} cannot be written ({error.strerror or error}); choose another: {flag}={value}"
        ) from error
    return folder


def _check_is_no_address(path, expected, flag):
    if "://" in str(path):
        raise UserError(
            f"{path} is an address, expected a {expected} of this machine's file system: {flag}={expected.upper()}; to "
            "keep a run in a bucket too: --mirror=gs://BUCKET/DIR; anything else: gcloud storage rsync (docs/tpu.md)"
        )


def address_advice(path: str | pathlib.Path) -> str:
    """What to add where a file to read is not there: "" but for an address, also one with a slash less as a path."""
    is_address = re.match(r"[a-z]\w+:/", str(path), re.IGNORECASE)
    return " (addresses are not read: download it, and give the path of the file)" if is_address else ""


def check_not_inside(folder: pathlib.Path, fix: str) -> None:
    """Raises UserError where files in a folder would be foreign ones in that of a saved network, or in a run's.

    Args:
      folder: which need not be there.
      fix: what to choose instead, such as "--workdir=DIR"; ends the message.
    """
    real = pathlib.Path(os.path.realpath(folder))
    for path in (real, *real.parents):
        if os.path.isfile(path / NETWORK[0]) and os.path.isdir(path / NETWORK[1]):
            what = "the folder of a saved network"
        elif path.name in RUN_FOLDERS and os.path.isfile(path.parent / EXPERIMENT):
            what = "a folder of a run's own"
        else:
            continue
        raise UserError(f"{folder} is in or at {what}, {path}, which holds nothing else; choose another: {fix}")


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


def check_output(
    path: str | pathlib.Path, suffixes: Iterable[str] = (), *, overwrite: bool = False, flag: str = "--out"
) -> pathlib.Path:
    """The real path, behind links, of what --out names, in a folder that exists then and can be written.

    Args:
      path: what the user named.
      suffixes: of the file, one of these; none for a folder.
      overwrite: whether what is there may be replaced (--overwrite).
      flag: what names it; only --out has an --overwrite beside it.

    Raises:
      UserError: an address, another suffix, a directory or a pipe in place of a file, a file in place of a folder,
        something that is there already, a folder that cannot be written.
    """
    suffixes = tuple(suffixes)
    expected = "file" if suffixes else "folder"
    _check_is_no_address(path, expected, flag)
    path = pathlib.Path(os.path.realpath(expand(path)))
    if suffixes and path.suffix not in suffixes:
        raise UserError(f"{flag}={path} {ending(path)}, expected a file that ends in {' or '.join(suffixes)}")
    found = in_place_of_a_file(path) if suffixes else "a file" if path.exists() and not path.is_dir() else ""
    if found:
        raise UserError(f"{path} is {found}, expected the name of a {expected} to write: {flag}={expected.upper()}")
    if path.exists() and not overwrite:
        replaced = ", or replace it with --overwrite" if flag == "--out" else ""
        raise UserError(f"{path} exists already; choose another name with {flag}{replaced}")
    make_folder(path.parent, flag, f"FILE{suffixes[0]}" if suffixes else "DIR")
    return path

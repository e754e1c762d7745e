"""Where output may go: files and folders that a user names, checked before any work is done for them."""

import contextlib
import json
import os
import pathlib
import re
import tempfile
from collections.abc import Iterable, Iterator

from ssdkd_jax.errors import UserError
from ssdkd_jax.files import ending, expand, in_place_of_a_file, kind_of, read_object

# File and folder of which the folder of a saved network consists (`training.saved_network`).
NETWORK = ("network.json", "variables")
# What names the folder of a run, and those in it that hold nothing else than the run's own.
EXPERIMENT, RUN_FOLDERS = "experiment.json", ("checkpoints", "tensorboard")


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
        raise UserError(f"{file} is no folder, but {kind_of(file)}{inside}; choose another: {flag}={value}")
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

"""A run's folder kept in a bucket too, for machines that lose their disk when they are taken away."""

import contextlib
import os
import pathlib
import tempfile
import threading
from collections.abc import Callable, Iterator

import fsspec

from ssdkd_jax.errors import UserError, first_few
from ssdkd_jax.outputs import EXPERIMENT
from ssdkd_jax.reports.run_files import METRICS_FILE, SUMMARY

# Between two looks for what has changed.
SECONDS = 60
# The package that knows a kind of address.
PACKAGES = {"gs": "gcsfs", "gcs": "gcsfs", "s3": "s3fs", "az": "adlfs", "abfs": "adlfs"}
_CHECKPOINTS = "checkpoints/"
_NEWEST = "checkpoints/latest/"
_EXPECTED = "expected a folder in a bucket: --mirror=gs://BUCKET/FOLDER"


class Mirror:
    """The copy of a run's folder at an address that fsspec knows, such as gs://BUCKET/FOLDER.

    A copy that was stopped halfway is as good as the one before it: the log is sent before the checkpoint that it leads
    to, the older checkpoint is deleted after the newer one is there, and a checkpoint knows its own digest.
    """

    def __init__(self, address: str):
        """Looks for the address, and tries to write there.

        Raises:
          UserError: it is none, its package is not installed, or nothing can be written there.
        """
        self.address = address.rstrip("/")
        self._bucket, self._root = _open(address)
        self._sent: dict[str, tuple[int, int]] = {}
        # Which takes up to a minute where the network is to blame.
        print(f"looking for {self.address}", flush=True)
        with self._reachable("written"):
            probe = f"{self._root}/.probe"
            self._bucket.pipe_file(probe, b"ssdkd_jax")
            self._bucket.rm_file(probe)

    def fetch(self, folder: pathlib.Path, check: Callable[[pathlib.Path], None]) -> None:
        """Copies the run from the bucket where it is further there than in the folder.

        Args:
          folder: of the run; it is there, and may be empty.
          check: raises UserError for a folder whose experiment.json, the only file in it, is of another run.

        Raises:
          UserError: as of `check`, there is something else in the bucket, or nothing can be read.
        """
        there = self._names_there()
        if not there:
            return
        if EXPERIMENT not in there:  # whose checkpoints would be deleted as old ones of ours
            raise UserError(
                f"{self.address} holds {first_few(sorted(there))}, but no {EXPERIMENT} that says of which run; "
                "nothing was changed; choose another --mirror"
            )
        with self._reachable("read"):
            self._check(check)
            here = _files_in(folder)
            stopped = EXPERIMENT not in here and here.keys() <= set(there)
            if _progress(there) <= _progress(() if stopped else here):
                return
            print(f"{folder}: going on with the run in {self.address}", flush=True)
            # The experiment comes last: by that a fetch that was stopped is known, and begins again.
            for name in sorted(there, key=lambda name: name == EXPERIMENT):
                self._fetch_file(folder, name)

    def _fetch_file(self, folder, name):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        self._bucket.get_file(f"{self._root}/{name}", str(part))
        part.replace(path)
        self._sent[name] = _version(path)

    def _check(self, check):
        with tempfile.TemporaryDirectory() as copy:
            self._bucket.get_file(f"{self._root}/{EXPERIMENT}", f"{copy}/{EXPERIMENT}")
            try:
                check(pathlib.Path(copy))
            except UserError as error:
                line = str(error).replace(f"the workdir {copy}", self.address).replace(copy, self.address)
                raise UserError(line.replace("--workdir=DIR", "--mirror=gs://BUCKET/FOLDER")) from error

    def send(self, folder: pathlib.Path) -> None:
        """Copies what has changed in the folder since the last time to the bucket, once a run has begun there.

        Raises:
          UserError: nothing can be written there.
        """
        files = _files_in(folder)
        if EXPERIMENT not in files:
            return
        changed = [name for name in sorted(files, key=_order) if self._sent.get(name) != files[name]]
        if not changed:
            return
        replaced = False
        with self._reachable("written"):
            for name in changed:
                try:
                    self._send_file(folder, name)
                    self._sent[name] = files[name]
                except FileNotFoundError:
                    if (folder / name).exists():  # it is the bucket that is not there
                        raise
                    replaced = True  # a checkpoint, by a newer one
        if replaced:  # the older checkpoint there may be the only whole one
            return
        for name in self._names_there():
            if name.startswith(_CHECKPOINTS) and name not in files:
                with self._reachable("written"):
                    self._bucket.rm_file(f"{self._root}/{name}")

    def _send_file(self, folder, name):
        there = f"{self._root}/{name}"
        if name.startswith(_CHECKPOINTS):
            self._bucket.put_file(str(folder / name), there)
        else:  # which may grow while it is sent
            self._bucket.pipe_file(there, (folder / name).read_bytes())

    @contextlib.contextmanager
    def following(self, folder: pathlib.Path) -> Iterator[None]:
        """Sends what changes in the folder, every SECONDS in a thread, and at the end of the block.

        Raises:
          UserError: the last time failed, in a block that did not.
        """
        stop = threading.Event()
        thread = threading.Thread(target=self._follow, args=(folder, stop), daemon=True)
        thread.start()
        try:
            yield
        except KeyboardInterrupt:  # at once
            raise
        except BaseException:
            _finish(thread, stop)
            self._send_or_tell(folder, "run the same command again to send the rest")
            raise
        _finish(thread, stop)
        self.send(folder)

    def _follow(self, folder, stop):
        while not stop.wait(SECONDS):
            self._send_or_tell(folder, f"the run goes on, and tries again every {SECONDS} seconds")

    def _send_or_tell(self, folder, then):
        try:
            self.send(folder)
        except (UserError, OSError) as error:
            print(f"{str(error).split('; ')[0]}; {then}", flush=True)

    def _names_there(self):
        """Names of the files in the bucket, relative to the folder there."""
        with self._reachable("read"):
            root = self._root.strip("/") + "/"
            paths = (path.lstrip("/") for path in self._bucket.find(self._root))
            return [path.removeprefix(root) for path in paths if path.startswith(root) and "/../" not in path]

    @contextlib.contextmanager
    def _reachable(self, done):
        """Raises UserError where the bucket raises anything; `done` is what cannot be done to it."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            reason = (str(error).splitlines() or [""])[0][:200] or type(error).__name__
            raise UserError(
                f"{self.address} cannot be {done} ({reason}); {_EXPECTED}, which this machine may read and write (for "
                "Google's: gcloud auth application-default login)"
            ) from error


def _open(address):
    """(file system, path in it) of an address."""
    protocol, separator, path = address.partition("://")
    if not separator or not path.strip("/"):
        raise UserError(f"--mirror={address} is no address, {_EXPECTED}")
    try:
        return fsspec.core.url_to_fs(address, use_listings_cache=False, skip_instance_cache=True)
    except ImportError as error:
        package = PACKAGES.get(protocol)
        fix = f"pip install {package}" if package else str(error)
        raise UserError(f"--mirror={address} needs a package that is not installed: {fix}") from error
    except ValueError as error:
        raise UserError(f"--mirror={address} is of an unknown kind ({error}); {_EXPECTED}") from error


def _finish(thread, stop):
    stop.set()
    thread.join()


def _files_in(folder):
    """{name relative to the folder: version} of its files, but for locks and what is being written."""
    found = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            path = pathlib.Path(parent, name)
            relative = path.relative_to(folder).as_posix()
            unfinished = (
                ".orbax-checkpoint-tmp" in relative or name.startswith(".") or name.endswith((".part", ".__lock"))
            )
            if not unfinished:
                with contextlib.suppress(FileNotFoundError):
                    found[relative] = _version(path)
    return found


def _version(path):
    """What changes when a file does."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _progress(names):
    """What is larger the further a run has come: whether it has a summary, and its last checkpoint."""
    steps = (name.removeprefix(_NEWEST).partition("/")[0] for name in names if name.startswith(_NEWEST))
    return SUMMARY in names, max((int(step) for step in steps if step.isdigit()), default=-1)


def _order(name):
    """Where a file comes in a copy: before what needs it."""
    if name in (EXPERIMENT, METRICS_FILE):
        return 0
    if name.startswith(_CHECKPOINTS):
        return 1
    return 3 if name == SUMMARY else 2

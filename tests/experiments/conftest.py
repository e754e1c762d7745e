"""One trained teacher and one finished job for all tests of the job."""

import pathlib
import shutil
import time

import pytest

from ssdkd_jax.jobs.run_folder import try_lock
from tests import tiny_job


@pytest.fixture(scope="session")
def cache_dir(shared):
    """Folder of kept teachers; the first job trains, the others wait and find."""
    return shared / "teachers"


@pytest.fixture(scope="session")
def finished(shared, cache_dir):
    """Workdir of a job that the real command line ran without interruption; read it only."""
    workdir = shared / "finished"
    with waited_lock(shared / "finished.lock"):
        if not (workdir / "summary.json").exists():
            status, out, err = tiny_job.command_line(tiny_job.arguments(workdir, cache_dir))
            (shared / "finished.out").write_text(out)
            (shared / "finished.err").write_text(err)
            assert status == 0, err
    return workdir


@pytest.fixture
def teacher(finished, cache_dir, tmp_path):
    """Folder of a trained teacher, a copy to be damaged at will."""
    (found,) = [path for path in cache_dir.iterdir() if (path / "network.json").exists()]
    return pathlib.Path(shutil.copytree(found, tmp_path / "teacher"))


def waited_lock(path):
    """An exclusive lock among the test processes."""
    while (lock := try_lock(path)) is None:
        time.sleep(0.1)
    return lock

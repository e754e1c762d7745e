"""One trained teacher and one finished job for all tests of the job."""

import pathlib
import shutil

import pytest

from tests import tiny_job


@pytest.fixture(scope="session")
def cache_dir(shared):
    """Folder of kept teachers; the first job trains, the others wait and find."""
    return shared / "teachers"


@pytest.fixture(scope="session")
def finished(shared, cache_dir, made_once):
    """Workdir of a job that the real command line ran without interruption; read it only."""

    def run(workdir):
        status, out, err = tiny_job.command_line(tiny_job.arguments(workdir, cache_dir))
        (shared / "finished.out").write_text(out)
        (shared / "finished.err").write_text(err)
        assert status == 0, err

    return made_once("finished", run)


@pytest.fixture
def teacher(finished, cache_dir, tmp_path):
    """Folder of a trained teacher, a copy to be damaged at will."""
    (found,) = [path for path in cache_dir.iterdir() if (path / "network.json").exists()]
    return pathlib.Path(shutil.copytree(found, tmp_path / "teacher"))

"""One trained teacher and one finished job for all tests of the job."""

import json
import pathlib
import shutil

import jax
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


@pytest.fixture(scope="session")
def one_device(finished, cache_dir, made_once):
    """Workdir of the short job on one device; compilations.json has the epochs that were done at each compilation."""

    def run(workdir):
        compilations = []

        def listen(event, _, **__):
            if event == "/jax/core/compile/backend_compile_duration":
                compilations.append(len(tiny_job.epochs_done(workdir)))

        jax.monitoring.register_event_duration_secs_listener(listen)
        tiny_job.job(workdir, cache_dir, **tiny_job.SHORT)
        jax.monitoring.unregister_event_duration_listener(listen)
        (workdir / "compilations.json").write_text(json.dumps(compilations))

    return made_once("one_device", run)


@pytest.fixture
def teacher(finished, cache_dir, tmp_path):
    """Folder of a trained teacher, a copy to be damaged at will."""
    (found,) = [path for path in cache_dir.iterdir() if (path / "network.json").exists()]
    return pathlib.Path(shutil.copytree(found, tmp_path / "teacher"))

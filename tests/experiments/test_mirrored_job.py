"""A job whose machine is taken away with its disk, and what it left in a bucket of an emulated Google Cloud Storage."""

import shutil

import pytest
from gcp_storage_emulator.server import create_server

from tests import tiny_job


@pytest.fixture
def bucket(monkeypatch):
    """Address of an empty bucket, which gcsfs finds by an environment variable."""
    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket="bucket")
    server.start()
    host, port = server._api._httpd.server_address[:2]
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://{host}:{port}")
    yield "gs://bucket"
    server.stop()


def test_a_lost_disk_costs_nothing_after_sigterm(finished, cache_dir, bucket, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    mirror = f"--mirror={bucket}/runs/tiny"
    process = tiny_job.start([*tiny_job.arguments(first, cache_dir), mirror])
    status, out, err = tiny_job.stop_when(
        process, tiny_job.SIGNALS["SIGTERM"], lambda: len(tiny_job.epochs_done(first)) >= 2
    )
    assert (status, err) == (143, ""), out
    done = tiny_job.epochs_done(first)
    shutil.rmtree(first)

    status, out, err = tiny_job.command_line([*tiny_job.arguments(second, cache_dir), mirror])
    assert (status, err) == (0, "")
    assert f"going on with the run in {bucket}/runs/tiny" in out
    assert f"resuming after epoch {done[-1]}" in out
    assert tiny_job.epochs_done(second) == list(range(1, tiny_job.FIELDS["epochs"] + 1))
    assert tiny_job.summary(second)["student_sha256"] == tiny_job.summary(finished)["student_sha256"]

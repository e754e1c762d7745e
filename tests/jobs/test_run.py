"""What a run finds in its folder, without running."""

import errno

import jax
import pytest

from ssdkd_jax.jobs import run
from tests import tiny_job
from tests.finished_run import a_summary


@pytest.mark.parametrize(("chosen", "expected"), [("high", "high"), ("default", "highest")])
def test_a_runs_precision_is_its_own(tmp_path, monkeypatch, chosen, expected):
    monkeypatch.setattr(run, "_run", lambda *_: jax.config.jax_default_matmul_precision)
    with jax.default_matmul_precision("highest"):  # as the environment may say
        assert run.run_job(tiny_job.config("", matmul_precision=chosen), tmp_path / "run") == expected
        assert jax.config.jax_default_matmul_precision == "highest"


@pytest.mark.parametrize(
    ("number", "message"), [(errno.EROFS, "Read-only file system"), (errno.EACCES, "Permission denied")]
)
def test_a_folder_that_cannot_be_written_needs_no_report(tmp_path, monkeypatch, capsys, number, message):
    def read_only(folder):
        raise OSError(number, message, str(folder))

    monkeypatch.setattr(run, "write_page", read_only)
    assert not run._make_report(tmp_path)
    expected = f"report.html is missing and cannot be made: the folder cannot be written ({message})\n"
    assert capsys.readouterr().out == f"{tmp_path}/{expected}"


def test_a_full_disk_is_not_taken_for_one_that_cannot_be_written(tmp_path, monkeypatch):
    def full(folder):
        raise OSError(errno.ENOSPC, "No space left on device", str(folder))

    monkeypatch.setattr(run, "write_page", full)
    with pytest.raises(OSError, match="No space left"):
        run._make_report(tmp_path)


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        (2, "ends at epoch 2 of 3, so its curves do too"),
        (4, "has 4 epochs, and the run has 3: it is another's"),
        (3, ""),
    ],
)
def test_a_log_of_other_epochs_is_told_without_a_digest_too(tmp_path, capsys, epochs, expected):
    (tmp_path / "metrics.jsonl").write_text("".join(f'{{"epoch": {epoch + 1}}}\n' for epoch in range(epochs)))
    run._tell_damaged_log(tmp_path, a_summary(epochs=3))
    assert capsys.readouterr().out == (f"{tmp_path}/metrics.jsonl {expected}\n" if expected else "")

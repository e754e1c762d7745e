"""What a run finds in its folder, without running."""

import errno

import pytest

from ssdkd_jax.errors import UserError
from ssdkd_jax.jobs import run
from tests import tiny_job
from tests.jobs.test_run_folder import a_summary


def test_a_flag_that_would_be_refused_is_not_asked_for(tmp_path):
    """That of a training's epochs, of a teacher that is given."""
    given = {"teacher.path": str(tmp_path)}
    run._claim(tiny_job.config(tmp_path, **given), tmp_path)
    run._claim(tiny_job.config(tmp_path, **given, **{"teacher.epochs": 50, "teacher.batch_size": 7}), tmp_path)
    expected = r"teacher\.path is '\S+' there and '' here; .* --config\.teacher\.path=/\S+, without"
    with pytest.raises(UserError, match=expected):
        run._claim(tiny_job.config(tmp_path, **{"teacher.epochs": 50}), tmp_path)


def test_what_baselines_read_has_an_effect(tmp_path):
    fields = {"teacher.path": str(tmp_path), "baselines": (0.1,)}
    run._claim(tiny_job.config(tmp_path, **fields), tmp_path)
    with pytest.raises(UserError, match=r"teacher\.batch_size is 128 there and 7 here"):
        run._claim(tiny_job.config(tmp_path, **fields, **{"teacher.batch_size": 7}), tmp_path)


@pytest.mark.parametrize("epochs", [0, 3])
def test_another_file_of_the_users_network_has_an_effect(tmp_path, epochs):
    code = tmp_path / "net.py"
    config = tiny_job.config(tmp_path, epochs=epochs, **{"teacher.name": f"{code}:make"})
    code.write_text("first = 1")
    run._claim(config, tmp_path)
    code.write_text("second = 2")
    with pytest.raises(UserError, match=r"net\.py:make has changed since"):
        run._claim(config, tmp_path)


@pytest.mark.parametrize(
    ("number", "message"), [(errno.EROFS, "Read-only file system"), (errno.EACCES, "Permission denied")]
)
def test_a_folder_that_cannot_be_written_needs_no_report(tmp_path, monkeypatch, capsys, number, message):
    def read_only(folder):
        raise OSError(number, message, str(folder))

    monkeypatch.setattr(run, "write_report", read_only)
    assert not run._make_report(tmp_path)
    expected = f"report.html is missing and cannot be made: the folder cannot be written ({message})\n"
    assert capsys.readouterr().out == f"{tmp_path}/{expected}"


def test_a_full_disk_is_not_taken_for_one_that_cannot_be_written(tmp_path, monkeypatch):
    def full(folder):
        raise OSError(errno.ENOSPC, "No space left on device", str(folder))

    monkeypatch.setattr(run, "write_report", full)
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

"""Whose folder it is."""

import errno
import json
import math
import os
import re
import shutil

import numpy as np
import pytest

from ssdkd_jax.errors import UserError
from ssdkd_jax.files import try_lock
from ssdkd_jax.jobs import run_folder
from ssdkd_jax.training import saved_network
from ssdkd_jax.training.checkpoints import sha256
from tests import tiny_job
from tests.finished_run import a_summary
from tests.saved_arrays import METADATA, variables

IDENTITY = {"method": "ssdkd", "seed": 0, "ssdkd": {"alpha": 0.6, "targets": "own"}, "baselines": (0.1,)}


@pytest.mark.parametrize(
    ("content", "workdir", "expected"),
    [
        ("digits/experiment.json", ".", "{folder} holds other runs or networks (digits), expected a folder of its own"),
        ("a-convnet/network.json", ".", "{folder} holds other runs or networks (a-convnet), expected a folder of its"),
        ("all/comparison.json", ".", "{folder} holds other runs or networks (all), expected a folder of its own"),
        ("digits/student/network.json", "digits/student", "{folder}/digits/student is the folder of a saved network;"),
        ("digits/experiment.json", "digits/checkpoints", "{folder}/digits/checkpoints is a part of the run {folder}/d"),
        ("digits/experiment.json", "digits/student", "{folder}/digits/student is a part of the run {folder}/digits;"),
    ],
)
@pytest.mark.parametrize("kind", [run_folder.RUN, run_folder.COMPARED, run_folder.STUDIED])
def test_a_folder_that_has_a_use_already(tmp_path, content, workdir, expected, kind):
    (tmp_path / content).parent.mkdir(parents=True)
    (tmp_path / content).write_text("{}")
    with pytest.raises(UserError) as error:
        run_folder.check_kind(tmp_path / workdir, kind)
    assert str(error.value).startswith("the workdir " + expected.format(folder=tmp_path))
    assert "--workdir=" in str(error.value) and "\n" not in str(error.value)


def test_parts_of_a_runs_own_are_no_others(tmp_path):
    for content in ("student/network.json", "default/seed0/experiment.json", "notes/experiment.md"):
        (tmp_path / content).parent.mkdir(parents=True)
        (tmp_path / content).write_text("{}")
    for kind in run_folder.KINDS:
        run_folder.check_kind(tmp_path, kind)
    run_folder.check_kind(tmp_path / "to come", run_folder.RUN)
    (tmp_path / "experiment.json").write_text("{}")
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "experiment.json").write_text("{}")
    run_folder.check_kind(tmp_path, run_folder.RUN)  # which goes on, whatever was put beside it


def test_the_folder_of_trained_teachers_takes_no_run(tmp_path):
    config = tiny_job.config(tmp_path / "teachers")
    for workdir in (tmp_path / "teachers", tmp_path / "x" / ".." / "teachers"):
        with pytest.raises(UserError, match=r"is where trained teachers are kept \(teacher.cache_dir\); choose"):
            run_folder.check_apart(workdir, config)
    run_folder.check_apart(tmp_path, config)
    run_folder.check_apart(tmp_path / "teachers", tiny_job.config(tmp_path / "teachers", teacher__path="x"))


def test_summary_counts_only_after_an_epoch(tmp_path):
    assert run_folder.read_summary(tmp_path) is None
    run_folder.write_summary(tmp_path, a_summary(epochs=0))
    assert run_folder.read_summary(tmp_path) is None
    accuracies = {"teacher_accuracy": 95.0, "student_accuracy": 90.5}
    run_folder.write_summary(tmp_path, a_summary(epochs=3, **accuracies))
    assert run_folder.read_summary(tmp_path) == a_summary(epochs=3, **accuracies)


@pytest.mark.parametrize("content", ['{"epochs": 3, "tea', "[1]", "", '{"epochs": 3}'])
def test_damaged_summary_is_named(tmp_path, content):
    (tmp_path / "summary.json").write_text(content)
    with pytest.raises(UserError, match=r"summary.json is damaged.*move it elsewhere"):
        run_folder.read_summary(tmp_path)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("epochs", "three", "epochs is 'three', expected int"),
        ("student_accuracy", "90", "student_accuracy is '90', expected float or None"),
        ("seconds", [1.0], "seconds is [1.0], expected dict"),
        ("seconds", {"total": "1"}, "seconds is {'total': '1'}, expected numbers by name"),
        ("dataset", None, "dataset is None, expected str"),
        ("seed", True, "seed is True, expected int"),
    ],
)
def test_a_summary_with_a_field_of_another_type_is_damaged(tmp_path, field, value, expected):
    content = {**a_summary(epochs=3).to_dict(), field: value}
    (tmp_path / "summary.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=re.escape(f"summary.json is damaged: {expected}; move it elsewhere")):
        run_folder.read_summary(tmp_path)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"student_accuracy": None}, "it has neither the networks' accuracy nor a student_agreement"),
        ({"teacher_accuracy": None}, "it has neither the networks' accuracy nor a student_agreement"),
        ({"student_accuracy": math.nan}, "student_accuracy is nan, expected finite numbers"),
        ({"seconds": {"host": 1.0}}, "seconds has no total"),
        ({"seconds": {"total": math.inf}}, "seconds is {'total': inf}, expected finite numbers"),
        ({"epochs": 99}, "epochs is 99, but experiment.json says 3"),
        ({"seed": 5}, "seed is 5, but experiment.json says 0"),
    ],
)
def test_a_summary_that_cannot_be_the_runs_is_damaged(tmp_path, changes, expected):
    (tmp_path / "experiment.json").write_text('{"epochs": 3, "seed": 0}')
    summary = a_summary(teacher_accuracy=95.0, student_accuracy=90.0).to_dict() | changes
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(UserError, match=re.escape(f"summary.json is damaged: {expected}; move it elsewhere")):
        run_folder.read_summary(tmp_path)


@pytest.mark.parametrize("name", ["summary.json", "report.html", "images.png", "buffer.npz", "maps.npz"])
def test_a_directory_in_the_place_of_a_result_is_found_before_the_run(tmp_path, name):
    run_folder.check_can_write(tmp_path)
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=rf"{name} is a directory, expected a file or nothing; choose another"):
        run_folder.check_can_write(tmp_path)


@pytest.mark.parametrize("name", ["report.html", "images.png", "buffer.npz", "maps.npz"])
def test_a_file_of_the_users_own_in_the_place_of_a_result_is_found_before_the_run(tmp_path, name):
    a_checkpoint(tmp_path)
    (tmp_path / name).write_text("<!DOCTYPE html><title>My thesis</title>")
    with pytest.raises(UserError, match=rf"{name} is not what this program writes, and would be replaced; nothing was"):
        run_folder.check_can_write(tmp_path)


@pytest.mark.parametrize("name", ["checkpoints", "checkpoints/latest", "checkpoints/best", "tensorboard"])
def test_a_file_in_the_place_of_a_folder_is_found_before_the_run(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match=rf"{name} is a file, expected"):
        run_folder.check_can_write(tmp_path)


def test_foreign_files_in_a_checkpoint_are_found_before_the_run(tmp_path):
    (tmp_path / "checkpoints" / "latest" / "3").mkdir(parents=True)
    (tmp_path / "checkpoints" / "latest" / "3" / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match=r"latest holds 3/thesis.tex, expected nothing but checkpoints"):
        run_folder.check_can_write(tmp_path)


def test_a_summary_that_names_no_teacher_is_damaged(tmp_path):
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(UserError, match=r"summary.json is damaged: it has no teacher_sha256; move it elsewhere"):
        run_folder.check_same_teacher(tmp_path, "0" * 64)


def test_a_file_that_now_holds_another_teacher(tmp_path):
    run_folder.check_same_teacher(tmp_path, "1" * 64)
    run_folder.write_summary(tmp_path, a_summary(epochs=0))
    run_folder.check_same_teacher(tmp_path, "0" * 64)
    with pytest.raises(UserError, match=r"is of another teacher \(sha256 0{12}\) than the one here \(1{12}"):
        run_folder.check_same_teacher(tmp_path, "1" * 64)


def test_locking_leaves_a_file_of_that_name_as_it_is(tmp_path):
    (tmp_path / ".lock").write_text("mine")
    with run_folder.alone(tmp_path):
        assert (tmp_path / ".lock").read_text() == "mine"


def test_a_refused_run_leaves_no_lock(tmp_path):
    with pytest.raises(UserError, match="refused"), run_folder.alone(tmp_path):
        raise UserError("refused")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("make", "what"), [(os.mkfifo, "a pipe or a device"), (os.mkdir, "a directory")])
def test_a_lock_that_is_no_file_is_not_waited_for(tmp_path, make, what):
    make(tmp_path / ".lock")
    expected = rf"/\.lock is {what}, expected a file or nothing; move it elsewhere"
    with pytest.raises(UserError, match=expected), run_folder.alone(tmp_path):
        raise AssertionError("the folder was used")


def test_a_lock_that_its_holder_has_removed_is_none(tmp_path):
    path = tmp_path / ".lock"
    with try_lock(path):
        path.unlink()
        other = try_lock(path)
        with other:
            assert try_lock(path) is None


def test_foreign_files_in_the_students_place_are_found_before_the_run(tmp_path):
    (tmp_path / "student").mkdir()
    (tmp_path / "student" / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match=r"student holds thesis.tex, expected nothing but"):
        run_folder.check_can_write(tmp_path)


def test_alone_is_freed(tmp_path):
    with run_folder.alone(tmp_path), pytest.raises(UserError, match="another run is using"), run_folder.alone(tmp_path):
        pass
    with run_folder.alone(tmp_path):
        pass


@pytest.fixture
def student(tmp_path):
    """Folder of a finished run's student, which `SUMMARY` tells of."""
    saved_network.save_network(tmp_path / "student", variables(1), METADATA)
    return tmp_path / "student"


def a_checkpoint(workdir):
    (workdir / "checkpoints" / "latest" / "3").mkdir(parents=True)


SUMMARY = a_summary(student_sha256=sha256(variables(1)))


@pytest.mark.parametrize("summary", [SUMMARY, a_summary(student_sha256=None)], ids=["", "of an earlier version"])
def test_a_student_that_is_there(student, summary, capsys):
    assert run_folder.has_student(student.parent, summary)
    assert capsys.readouterr().out == ""


def test_a_student_that_is_gone_is_made_again(student, capsys):
    student.rename(student.with_name("elsewhere"))
    a_checkpoint(student.parent)
    assert not run_folder.has_student(student.parent, SUMMARY)
    assert capsys.readouterr().out == (
        f"the student of {student.parent} is missing; it is made again, from the last checkpoint\n"
    )


@pytest.mark.parametrize("left", [[], ["checkpoints/latest"], ["student"]])
def test_a_student_that_cannot_be_made_again_is_not_run_again(tmp_path, left):
    for folder in left:
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(
        UserError, match=f"no checkpoint to make it again from; .* nothing was changed: move {tmp_path} e"
    ):
        run_folder.has_student(tmp_path, SUMMARY)


@pytest.mark.parametrize("damage", ["emptied", "no weights", "another network", "a file"])
def test_a_student_that_is_damaged_is_left_to_the_user(student, damage):
    if damage == "another network":
        saved_network.save_network(student, variables(2), METADATA)
    elif damage != "no weights":
        shutil.rmtree(student)
        student.mkdir() if damage == "emptied" else student.write_text("mine")
    else:
        shutil.rmtree(student / "variables")
    a_checkpoint(student.parent)
    before = sorted(student.parent.rglob("*"))
    with pytest.raises(UserError, match=r"nothing was changed: move \S+/student elsewhere and run the same command ag"):
        run_folder.has_student(student.parent, SUMMARY)
    assert sorted(student.parent.rglob("*")) == before


@pytest.mark.parametrize("name", ["student", "buffer.npz"])
def test_results_whose_record_is_lost_are_not_replaced(tmp_path, name):
    (tmp_path / name).mkdir() if name == "student" else np.savez_compressed(tmp_path / name, images=np.zeros(3))
    with pytest.raises(
        UserError, match=f"holds {name}, but neither summary.json nor a checkpoint; a run would replace"
    ):
        run_folder.check_can_write(tmp_path)
    a_checkpoint(tmp_path)
    run_folder.check_can_write(tmp_path)


def test_a_log_whose_checkpoints_are_gone_is_not_replaced(tmp_path):
    (tmp_path / "metrics.jsonl").touch()  # as of a run that was killed before its first epoch
    run_folder.check_can_write(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 1}\n')
    with pytest.raises(
        UserError, match=r"holds the metrics.jsonl of a run, but no checkpoints/latest .* put \S+/latest b"
    ):
        run_folder.check_can_write(tmp_path)
    (tmp_path / "checkpoints" / "latest").mkdir(parents=True)  # as of one that was killed before its first checkpoint
    run_folder.check_can_write(tmp_path)


def test_a_folder_that_cannot_be_written_needs_no_lock(tmp_path, monkeypatch):
    def read_only(path):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(run_folder, "try_lock", read_only)
    with run_folder.alone(tmp_path):
        assert not list(tmp_path.iterdir())

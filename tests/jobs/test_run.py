"""What a finished run must still have."""

import types

import numpy as np
import pytest

from ssdkd_jax.errors import UserError
from ssdkd_jax.jobs import run
from ssdkd_jax.training import saved_network
from ssdkd_jax.training.checkpoints import sha256

VARIABLES = {"params": {"w": np.ones(3, np.float32)}}
METADATA = {
    "architecture": "lenet5",
    "num_classes": 10,
    "image_shape": (32, 32, 1),
    "mean": (0.5,),
    "std": (0.5,),
    "class_names": tuple("0123456789"),
}
SUMMARY = types.SimpleNamespace(student_sha256=sha256(VARIABLES))


@pytest.fixture
def finished(tmp_path):
    saved_network.save_network(tmp_path / "student", VARIABLES, METADATA)
    return tmp_path


def test_a_student_that_is_there(finished, capsys):
    assert run._has_student(finished, SUMMARY)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("damage", ["gone", "emptied", "no weights"])
def test_a_student_that_is_damaged_is_made_again(finished, damage, capsys):
    student = finished / "student"
    if damage == "gone":
        student.rename(finished / "elsewhere")
    for path in student.rglob("*"):
        if path.is_file() and (damage == "emptied" or "variables" in path.parts):
            path.unlink()
    assert not run._has_student(finished, SUMMARY)
    (line,) = capsys.readouterr().out.splitlines()
    assert "student" in line and line.endswith("; it is made again, from the last checkpoint")


def test_another_network_in_the_students_place_is_left_alone(finished):
    saved_network.save_network(finished / "student", {"params": {"w": np.zeros(3, np.float32)}}, METADATA)
    with pytest.raises(UserError, match=r"student is another network than that of summary.json; nothing was changed"):
        run._has_student(finished, SUMMARY)

"""Saved networks come back, are replaced atomically, and nothing of anybody else's is deleted."""

import json

import numpy as np
import pytest

from ssdkd_jax.errors import UserError
from ssdkd_jax.training import saved_network
from ssdkd_jax.training.checkpoints import sha256
from tests.training.test_checkpoints import a_state, assert_equal

METADATA = {
    "architecture": "convnet_8",
    "num_classes": 2,
    "image_shape": [8, 8, 1],
    "mean": [0.5],
    "std": [0.5],
    "class_names": ["a", "b"],
}


def test_saved_network_comes_back_and_is_replaced(tmp_path):
    for seed in (1, 2):
        saved_network.save_network(tmp_path / "student", a_state(seed).weights, METADATA)
    variables, metadata = saved_network.load_network(tmp_path / "student")
    assert_equal(variables, a_state(2).weights)
    assert metadata == METADATA
    assert [path.name for path in tmp_path.iterdir()] == ["student"]


def test_a_flipped_byte_is_noticed(tmp_path):
    saved_network.save_network(tmp_path / "student", a_state(1).weights, METADATA)
    metadata = json.loads((tmp_path / "student" / "network.json").read_text())
    changed = metadata | {"sha256": sha256(a_state(2).weights)}
    (tmp_path / "student" / "network.json").write_text(json.dumps(changed))
    with pytest.raises(UserError, match=r"student is damaged: its weights are not those that were saved"):
        saved_network.load_network(tmp_path / "student")


def test_networks_of_earlier_versions_have_no_digest(tmp_path):
    saved_network.save_network(tmp_path / "student", a_state(1).weights, METADATA)
    (tmp_path / "student" / "network.json").write_text(json.dumps(METADATA))
    assert_equal(saved_network.load_network(tmp_path / "student")[0], a_state(1).weights)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("architecture", [1]),
        ("num_classes", True),
        ("class_names", ["a", "a"]),
        ("class_names", [None, "a"]),
        ("image_shape", [10**9, 8, 1]),
        ("mean", [float("nan")]),
        ("mean", [5.0]),
        ("std", [float("inf")]),
        ("std", [1e-30]),
        ("class_names", None),
        ("image_shape", [8, 8]),
        ("image_shape", [-8, 8, 1]),
        ("mean", "abc"),
        ("mean", [0.5, 0.5]),
        ("std", [0.0]),
        ("num_classes", 7),
        ("num_classes", "ten"),
    ],
)
def test_impossible_metadata_is_named(tmp_path, field, value):
    metadata = {
        "architecture": "convnet_8",
        "num_classes": 2,
        "image_shape": (8, 8, 1),
        "mean": (0.5,),
        "std": (0.5,),
        "class_names": ("a", "b"),
    }
    saved_network.save_network(tmp_path / "n", {"params": {"w": np.ones(2)}}, metadata)
    (tmp_path / "n" / "network.json").write_text(json.dumps(metadata | {field: value}))
    with pytest.raises(UserError, match=rf"cannot be read as a network \(.*{field}"):
        saved_network.load_network(tmp_path / "n")


@pytest.mark.parametrize(
    "place", ["notes.txt", "variables/notes.txt", "variables/ocdbt.process_0/d/notes.txt", "mine/d"]
)
def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path, place):
    folder = tmp_path / "student"
    saved_network.save_network(folder, a_state(1).weights, METADATA)
    (folder / place).parent.mkdir(exist_ok=True)
    (folder / place).write_text("mine")
    named = place if place != "mine/d" else "mine"
    with pytest.raises(UserError, match=rf"student holds {named}, expected nothing but network\.json, variables"):
        saved_network.save_network(folder, a_state(2).weights, METADATA)
    assert (folder / place).read_text() == "mine"
    assert_equal(saved_network.load_network(folder)[0], a_state(1).weights)


def test_what_a_killed_save_has_left_is_ours(tmp_path):
    left = tmp_path / ".student.unfinished" / "variables.orbax-checkpoint-tmp" / "ocdbt.process_0"
    left.mkdir(parents=True)
    (left / "manifest.ocdbt.__lock").touch()
    saved_network.save_network(tmp_path / "student", a_state(1).weights, METADATA)
    assert [path.name for path in tmp_path.iterdir()] == ["student"]


def test_a_failed_save_leaves_the_network_that_was_there(tmp_path, monkeypatch):
    saved_network.save_network(tmp_path / "student", a_state(1).weights, METADATA)

    def no_space(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saved_network, "write_at_once", no_space)
    with pytest.raises(OSError, match="No space left"):
        saved_network.save_network(tmp_path / "student", a_state(2).weights, METADATA)
    assert_equal(saved_network.load_network(tmp_path / "student")[0], a_state(1).weights)
    assert [path.name for path in tmp_path.iterdir()] == ["student"]


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path):
    saved_network.save_network(tmp_path / "student", a_state(1).weights, METADATA)
    (tmp_path / "student").rename(tmp_path / ".student.replaced")
    assert_equal(saved_network.load_network(tmp_path / "student")[0], a_state(1).weights)
    assert [path.name for path in tmp_path.iterdir()] == ["student"]

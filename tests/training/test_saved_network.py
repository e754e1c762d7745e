"""Saved networks come back, are replaced atomically, and nothing of anybody else's is deleted."""

import json

import numpy as np
import pytest

from ssdkd_jax.errors import UserError
from ssdkd_jax.training import saved_network
from ssdkd_jax.training.checkpoints import sha256
from tests.saved_arrays import METADATA, assert_equal, variables


@pytest.fixture
def saved(tmp_path_factory):
    """The folder of a saved network."""
    folder = tmp_path_factory.mktemp("saved") / "network"
    saved_network.save_network(folder, variables(1), METADATA)
    return folder


def test_saved_network_comes_back_and_is_replaced(tmp_path):
    for seed in (1, 2):
        saved_network.save_network(tmp_path / "student", variables(seed), METADATA)
    loaded, metadata = saved_network.load_network(tmp_path / "student")
    assert_equal(loaded, variables(2))
    assert metadata == METADATA
    assert [path.name for path in tmp_path.iterdir()] == ["student"]


def test_a_flipped_byte_is_noticed(tmp_path):
    saved_network.save_network(tmp_path / "student", variables(1), METADATA)
    metadata = json.loads((tmp_path / "student" / "network.json").read_text())
    changed = metadata | {"sha256": sha256(variables(2))}
    (tmp_path / "student" / "network.json").write_text(json.dumps(changed))
    with pytest.raises(UserError, match=r"student is damaged: its weights are not those that were saved"):
        saved_network.load_network(tmp_path / "student")


def test_networks_of_earlier_versions_have_no_digest(tmp_path):
    saved_network.save_network(tmp_path / "student", variables(1), METADATA)
    (tmp_path / "student" / "network.json").write_text(json.dumps(METADATA))
    assert_equal(saved_network.load_network(tmp_path / "student")[0], variables(1))


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
def test_impossible_metadata_is_named(tmp_path, saved, field, value):
    with pytest.raises(UserError, match=rf"n cannot become a saved network: .*{field}.*; nothing was written$"):
        saved_network.save_network(tmp_path / "n", variables(1), METADATA | {field: value})
    assert not list(tmp_path.iterdir())
    (saved / "network.json").write_text(json.dumps(METADATA | {field: value}))
    with pytest.raises(UserError, match=rf"cannot be read as a network \(.*{field}"):
        saved_network.load_network(saved)


def changed(leaf, value):
    """The variables of a network, of which a bias or a variance has one number replaced."""
    collection, layer, name = leaf
    replaced = variables(1)[collection][layer][name].copy()
    replaced[0] = value
    return variables(1) | {
        collection: variables(1)[collection] | {layer: variables(1)[collection][layer] | {name: replaced}}
    }


@pytest.mark.parametrize(
    ("given", "metadata", "expected"),
    [
        (None, {"architecture": "convnet_16"}, "its variables are no convnet_16 with 2 classes for images (8, 8, 1): "),
        (None, {"num_classes": 3, "class_names": list("abc")}, "fc.bias' has shape (2,), expected (3,)"),
        (
            None,
            {"image_shape": (8, 8, 3), "mean": (0.5,) * 3, "std": (0.5,) * 3},
            "conv1.kernel' has shape (3, 3, 1, 8)",
        ),
        (None, {"architecture": "convnet_9"}, "unknown model 'convnet_9'; did you mean"),
        (None, {"source": object}, "its metadata hold a type, expected text, numbers, and lists of them"),
        (lambda: changed(("params", "fc", "bias"), np.nan), {}, "fc.bias is not finite"),
        (lambda: changed(("batch_stats", "bn1", "var"), -0.5), {}, "bn1.var is negative (-0.5), but is a variance"),
        (lambda: variables(1)["params"], {}, 'its variables are not {"params": ..., "batch_stats": ...}'),
        (lambda: [1.0], {}, 'its variables are not {"params": ..., "batch_stats": ...}'),
        (lambda: {"params": {}}, {}, "tensor 'bn1.bias' of shape (8,) is missing"),
    ],
    ids=["architecture", "classes", "channels", "unknown", "no JSON", "NaN", "variance", "params", "list", "empty"],
)
def test_what_is_no_such_network_is_not_saved(tmp_path, given, metadata, expected):
    with pytest.raises(UserError) as error:
        saved_network.save_network(tmp_path / "n", given() if given else variables(1), METADATA | metadata)
    message = str(error.value)
    assert message.startswith(f"{tmp_path}/n cannot become a saved network: ") and expected in message
    assert message.endswith("; nothing was written") and "\n" not in message
    assert not list(tmp_path.iterdir())


def test_metadata_may_be_numpys(tmp_path):
    numbers = {"mean": np.array([0.5]), "std": np.array([0.5], np.float32), "num_classes": np.int64(2)}
    saved_network.save_network(tmp_path / "n", variables(1), METADATA | numbers | {"image_shape": np.array([8, 8, 1])})
    assert saved_network.load_network(tmp_path / "n")[1] == METADATA


def test_a_users_own_network_is_not_looked_at(tmp_path):
    own = {"params": {"w": np.ones(2, np.float32)}}
    saved_network.save_network(tmp_path / "n", own, METADATA | {"architecture": "gone.py:make"})
    assert_equal(saved_network.load_network(tmp_path / "n")[0], own)


@pytest.mark.parametrize("place", ["inner", "variables/inner", "new/inner"])
def test_nothing_is_saved_inside_of_a_saved_network(saved, place):
    before = sorted(saved.rglob("*"))
    with pytest.raises(
        UserError, match=rf"at the folder of a saved network, {saved}, which holds nothing else; choose"
    ):
        saved_network.save_network(saved / place, variables(2), METADATA)
    assert sorted(saved.rglob("*")) == before


def test_the_variables_of_another_network_than_the_folder_says_are_told(saved):
    (saved / "network.json").write_text(json.dumps(METADATA | {"architecture": "convnet_16"}))
    with pytest.raises(UserError, match=r"\(its variables are no convnet_16 .* more differences\); save or tra"):
        saved_network.load_network(saved)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("run", r"run is the folder of a run, not of a network; expected that of its student, \S+/run/student$"),
        ("run/student/network.json", r"is a file; expected the folder of a saved network, such as <workdir>/student$"),
        ("elsewhere", r"^there is no folder \S+/elsewhere; expected the folder of a saved network"),
        ("run/student/variables", r"not a saved network: there is no network.json in it; expected a folder such as"),
    ],
)
def test_what_is_no_folder_of_a_network(tmp_path, saved, place, expected):
    (tmp_path / "run").mkdir()
    saved.rename(tmp_path / "run" / "student")
    with pytest.raises(UserError, match=expected):
        saved_network.load_network(tmp_path / place)


@pytest.mark.parametrize(
    "place", ["notes.txt", "variables/notes.txt", "variables/ocdbt.process_0/d/notes.txt", "mine/d"]
)
def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path, place):
    folder = tmp_path / "student"
    saved_network.save_network(folder, variables(1), METADATA)
    (folder / place).parent.mkdir(exist_ok=True)
    (folder / place).write_text("mine")
    named = place if place != "mine/d" else "mine"
    with pytest.raises(UserError, match=rf"student holds {named}, expected nothing but network\.json, variables"):
        saved_network.save_network(folder, variables(2), METADATA)
    assert (folder / place).read_text() == "mine"
    assert_equal(saved_network.load_network(folder)[0], variables(1))


def test_what_a_killed_save_has_left_is_ours(tmp_path):
    left = tmp_path / ".student.unfinished" / "variables.orbax-checkpoint-tmp" / "ocdbt.process_0"
    left.mkdir(parents=True)
    (left / "manifest.ocdbt.__lock").touch()
    saved_network.save_network(tmp_path / "student", variables(1), METADATA)
    assert [path.name for path in tmp_path.iterdir()] == ["student"]


def test_a_failed_save_leaves_the_network_that_was_there(tmp_path, monkeypatch):
    saved_network.save_network(tmp_path / "student", variables(1), METADATA)

    def no_space(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saved_network, "write_at_once", no_space)
    with pytest.raises(OSError, match="No space left"):
        saved_network.save_network(tmp_path / "student", variables(2), METADATA)
    assert_equal(saved_network.load_network(tmp_path / "student")[0], variables(1))
    assert [path.name for path in tmp_path.iterdir()] == ["student"]


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path):
    saved_network.save_network(tmp_path / "student", variables(1), METADATA)
    (tmp_path / "student").rename(tmp_path / ".student.replaced")
    assert_equal(saved_network.load_network(tmp_path / "student")[0], variables(1))
    assert [path.name for path in tmp_path.iterdir()] == ["student"]


@pytest.mark.parametrize("content", ["[]", "5", '"x"', "null"])
def test_metadata_of_another_type(tmp_path, content):
    saved_network.save_network(tmp_path / "n", variables(1), METADATA)
    (tmp_path / "n" / "network.json").write_text(content)
    with pytest.raises(UserError, match=r"cannot be read as a network \(network.json holds .*, expected an object\)"):
        saved_network.load_network(tmp_path / "n")

"""What is saved comes back bit by bit, and a half-written checkpoint never counts."""

import shutil
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from ssdkd_jax.errors import UserError
from ssdkd_jax.training import checkpoints, saved_network
from ssdkd_jax.training.checkpoints import Checkpoints


class State(NamedTuple):
    teacher: dict
    images: np.ndarray
    valid: np.ndarray
    step: np.ndarray
    weights: dict


def a_state(seed=0):
    rng = np.random.default_rng(seed)
    return State(
        teacher={},
        images=rng.integers(0, 256, (5, 2, 2, 1), np.uint8),
        valid=rng.random(5) < 0.5,
        step=np.array(3, np.int32),
        weights={"layer1.0": {"kernel": rng.normal(size=(2, 3)).astype(np.float32)}},
    )


def assert_equal(one, two):
    assert jax.tree.structure(one) == jax.tree.structure(two)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        assert_array_equal(a, b)
        assert a.dtype == b.dtype


def save(folder, step, state, info):
    manager = Checkpoints(folder)
    manager.save(step, state, info)
    manager.close()


def restore(folder):
    manager = Checkpoints(folder)
    found = manager.restore(jax.eval_shape(lambda: jax.tree.map(jnp.asarray, a_state())))
    manager.close()
    return found


def test_restores_every_dtype_and_the_info(tmp_path):
    info = {"epoch": 4, "score": None, "best_score": 61.25, "seconds": {"total": 1.5}}
    save(tmp_path, 4, a_state(), info)
    state, found = restore(tmp_path)
    assert_equal(state, a_state())
    assert found == info


def test_nothing_there(tmp_path):
    assert restore(tmp_path / "new") is None


def test_only_the_newest_is_kept(tmp_path):
    save(tmp_path, 1, a_state(1), {"epoch": 1})
    save(tmp_path, 2, a_state(2), {"epoch": 2})
    assert [path.name for path in tmp_path.iterdir()] == ["2"]
    assert_equal(restore(tmp_path)[0], a_state(2))


def test_half_written_checkpoint_is_passed_over(tmp_path):
    """What a killed program leaves: Orbax renames a folder only when it is complete."""
    save(tmp_path, 1, a_state(1), {"epoch": 1})
    shutil.copytree(tmp_path / "1", tmp_path / "2.orbax-checkpoint-tmp")
    state, info = restore(tmp_path)
    assert info == {"epoch": 1}
    assert_equal(state, a_state(1))


@pytest.mark.parametrize("damage", ["arrays", "info"])
def test_damaged_checkpoint_is_named(tmp_path, damage):
    save(tmp_path, 3, a_state(), {"epoch": 3})
    if damage == "info":
        shutil.rmtree(tmp_path / "3" / "info")
    else:
        for path in (tmp_path / "3" / "state").rglob("*"):
            if path.is_file():
                path.write_bytes(path.read_bytes()[:10])
    with pytest.raises(UserError, match=r"the checkpoint in .* cannot be read .*; delete that folder to start"):
        restore(tmp_path)


def test_full_disk_keeps_the_earlier_checkpoint(tmp_path, monkeypatch):
    save(tmp_path, 1, a_state(1), {"epoch": 1})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6, 0))
    with pytest.raises(UserError, match=r"the disk is full: .* make room and run the same command again"):
        save(tmp_path, 2, a_state(2), {"epoch": 2})
    assert restore(tmp_path)[1] == {"epoch": 1}


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


@pytest.mark.parametrize(
    ("field", "value"),
    [
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
    saved_network.save_network(tmp_path / "n", {"params": {"w": np.ones(2)}}, metadata | {field: value})
    with pytest.raises(UserError, match=rf"cannot be read as a network \(.*{field}"):
        saved_network.load_network(tmp_path / "n")


def test_sha256_depends_on_values_names_dtypes_and_shapes_but_not_on_order():
    one = {"a": np.float32([1, 2]), "b": np.float32([3, 4])}
    same = {"b": jnp.float32([3, 4]), "a": jnp.float32([1, 2])}
    assert checkpoints.sha256(one) == checkpoints.sha256(same)
    others = (
        {"a": np.float32([3, 4]), "b": np.float32([1, 2])},
        {"a": np.float32([1, 2]), "c": np.float32([3, 4])},
        {"a": np.float32([[1, 2]]), "b": np.float32([3, 4])},
        {"a": np.float32([1, 2]).view(np.int32), "b": np.float32([3, 4])},
        {"a": np.float32([1, np.nextafter(np.float32(2), np.float32(3))]), "b": np.float32([3, 4])},
    )
    assert len({checkpoints.sha256(tree) for tree in (one, *others)}) == 6


def test_sha256_is_the_same_in_every_version():
    """A fixed value: published digests must stay comparable."""
    tree = {"params": {"conv": {"kernel": np.arange(4, dtype=np.float32).reshape(2, 2)}}}
    assert checkpoints.sha256(tree) == "4ec539a5efbc206eb9956d2e7fcb77f65fc9b8f77ee42aacdf159b7db1e3f8fb"

"""What is saved comes back bit by bit, and a half-written checkpoint never counts."""

import shutil
import sys
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssdkd_jax.errors import UserError
from ssdkd_jax.training import checkpoints
from ssdkd_jax.training.checkpoints import Checkpoints
from tests.saved_arrays import assert_equal, flip_a_byte


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


def save(folder, step, state, info, keep=1):
    manager = Checkpoints(folder, keep)
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
    with pytest.raises(
        UserError,
        match=r"no intact checkpoint in .*: that of epoch 3 cannot be read .*; move what is in it elsewhere to start",
    ):
        restore(tmp_path)


def test_checkpoints_of_another_version_are_no_damaged_ones(tmp_path):
    for step in (1, 2):
        save(tmp_path, step, {"kept": np.ones(3), "dropped": np.ones(2)}, {"epoch": step}, keep=2)
    checkpoints = Checkpoints(tmp_path)
    expected = r"were made by another version of this program \(other arrays, such as added\); finish the run"
    with pytest.raises(UserError, match=expected):
        checkpoints.restore({"kept": np.ones(3), "added": np.ones(2)})
    checkpoints.close()
    assert (tmp_path / "1").exists() and (tmp_path / "2").exists()


def test_arrays_that_are_read_after_the_error_say_nothing(tmp_path, monkeypatch):
    """One line for a damaged checkpoint, not one traceback for each of its other arrays."""
    said = []
    monkeypatch.setattr(sys, "unraisablehook", said.append)
    state = {f"array{number}": np.random.default_rng(number).normal(size=(100, 100)) for number in range(200)}
    with_manager = Checkpoints(tmp_path)
    with_manager.save(1, state, {"epoch": 1})
    with_manager.wait()
    for path in list((tmp_path / "1" / "state").rglob("d/*"))[:3]:
        path.unlink()
    with pytest.raises(UserError, match="no intact checkpoint"):
        with_manager.restore(state)
    with_manager.close()
    time.sleep(0.2)
    assert [str(one.exc_value) for one in said] == []


@pytest.mark.parametrize("damage", ["flipped byte", "truncated", "half deleted", "other arrays", "empty info"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path, capsys, damage):
    for step in (1, 2):
        save(tmp_path, step, a_state(step), {"epoch": step}, keep=2)
    newest = tmp_path / "2"
    if damage == "flipped byte":
        flip_a_byte(newest / "state")
    elif damage == "truncated":
        for path in (newest / "state").rglob("*"):
            if path.is_file():
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif damage == "half deleted":
        shutil.rmtree(newest / "state" / "d", ignore_errors=True)
        shutil.rmtree(newest / "info")
    elif damage == "empty info":
        (newest / "info" / "metadata").write_text("{}")
    else:
        shutil.rmtree(newest / "state")
        shutil.copytree(tmp_path / "1" / "state", newest / "state")
    state, info = restore(tmp_path)
    assert info == {"epoch": 1}
    assert_equal(state, a_state(1))
    assert "that of epoch 2 cannot be read" in capsys.readouterr().out
    assert not newest.exists(), "a damaged checkpoint must not keep its epoch from being saved again"
    save(tmp_path, 2, a_state(2), {"epoch": 2}, keep=2)
    assert restore(tmp_path)[1] == {"epoch": 2}


@pytest.mark.parametrize("place", ["notes.txt", "1/notes.txt", "1/state/d/notes.txt", "99/notes.txt"])
def test_what_is_not_ours_would_be_deleted_with_its_checkpoint(tmp_path, place):
    save(tmp_path, 1, a_state(1), {"epoch": 1})
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("mine")
    with pytest.raises(UserError, match=rf"holds {place}, expected nothing but checkpoints; nothing was written: move"):
        save(tmp_path, 2, a_state(2), {"epoch": 2})
    assert (tmp_path / place).read_text() == "mine"


def test_full_disk_keeps_the_earlier_checkpoint(tmp_path, monkeypatch):
    save(tmp_path, 1, a_state(1), {"epoch": 1})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6, 0))
    with pytest.raises(
        UserError,
        match=r"the disk is full: .*; the checkpoint of epoch 1 stays; make room and run the same command again",
    ):
        save(tmp_path, 2, a_state(2), {"epoch": 2})
    assert restore(tmp_path)[1] == {"epoch": 1}


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

"""A PyTorch file is read by PyTorch once, and its tensors are found again where it has not changed."""

import sys

import numpy as np
import pytest

from ssdkd_jax.errors import UserError
from ssdkd_jax.interop import torch_files
from ssdkd_jax.jobs import kept_tensors as module
from ssdkd_jax.jobs.kept_tensors import kept_tensors
from tests.caches import cache_in

torch = pytest.importorskip("torch")
# One has a name that NumPy's files of arrays have a meaning for.
TENSORS = {"file": torch.arange(6.0).reshape(2, 3), "layer1.0.bn1.num_batches_tracked": torch.tensor(5)}


@pytest.fixture(autouse=True)
def folder(tmp_path):
    with cache_in(tmp_path / "cache"):
        yield tmp_path / "cache" / "tensors"


@pytest.fixture
def path(tmp_path):
    torch.save(TENSORS, tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


def assert_read(found, scale=1.0):
    assert list(found) == list(TENSORS)
    for name, value in TENSORS.items():
        np.testing.assert_array_equal(found[name], scale * value.numpy())
        assert found[name].dtype == value.numpy().dtype


def needs_torch(path):
    """Whether PyTorch is wanted to read a file."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(sys.modules, "torch", None)
        try:
            kept_tensors(path)
        except UserError as error:
            assert "needs torch" in str(error)
            return True
    return False


def test_the_second_time_needs_no_pytorch(path):
    assert needs_torch(path)
    assert_read(kept_tensors(path))
    assert not needs_torch(path)
    assert_read(kept_tensors(path))


def test_a_file_that_has_changed_is_read_anew(path):
    kept_tensors(path)
    torch.save({name: 2 * value for name, value in TENSORS.items()}, path)
    assert needs_torch(path)
    assert_read(kept_tensors(path), 2)


def test_what_is_said_of_a_file_is_said_each_time(path, capsys):
    torch.save({"model": TENSORS, "ema": TENSORS}, path)
    for _ in range(2):
        assert_read(kept_tensors(path))
        assert f"{path}: the weights in ['model'] are taken, not those in ['ema']" in capsys.readouterr().out


def test_what_cannot_be_read_is_read_from_the_file_again(path, folder):
    kept_tensors(path)
    (kept,) = folder.glob("*.npz")
    kept.write_bytes(kept.read_bytes()[:100])
    assert needs_torch(path)
    assert_read(kept_tensors(path))
    assert not needs_torch(path)


def test_nothing_is_kept_of_large_files_or_without_a_folder(path, folder, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(module, "LARGEST_FILE", path.stat().st_size - 1)
        assert_read(kept_tensors(path))
    with cache_in(None):
        assert_read(kept_tensors(path))
    assert not folder.exists()


def test_code_that_reads_otherwise_reads_anew(path, monkeypatch):
    kept_tensors(path)
    monkeypatch.setattr(module, "_READER", "of another version")
    assert needs_torch(path)


def test_a_file_that_is_replaced_while_it_is_read_is_not_kept(path, folder, monkeypatch):
    def replaced(path):
        found = torch_files.read_torch_file(path)
        torch.save({name: 2 * value for name, value in TENSORS.items()}, path)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(module, "read_torch_file", replaced)
        assert_read(kept_tensors(path))
    assert not folder.exists()
    assert_read(kept_tensors(path), 2)


def test_half_precision_is_kept_as_it_is_read(path):
    torch.save({name: value.half() if value.is_floating_point() else value for name, value in TENSORS.items()}, path)
    for _ in range(2):
        assert_read(kept_tensors(path))


def test_a_folder_that_cannot_be_written_costs_nothing(path, folder):
    folder.parent.mkdir()
    folder.write_text("a file where the folder should be")
    for _ in range(2):
        assert_read(kept_tensors(path))


def test_what_is_no_file_of_weights_is_refused_as_ever(path, folder):
    path.write_bytes(b"no weights")
    for wrong in (path, path.parent, path.with_name("missing.pth")):
        with pytest.raises(UserError):
            kept_tensors(wrong)
    assert not folder.exists()

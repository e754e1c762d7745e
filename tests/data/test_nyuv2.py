"""NYUv2's converter on tiny files in the published format."""

import errno

import numpy as np
import pytest
from scipy.io import savemat

from ssdkd_jax.data import load_split, nyuv2
from ssdkd_jax.data.label_maps import IGNORE
from ssdkd_jax.errors import UserError
from tests import programs

h5py = pytest.importorskip("h5py")
COUNT, HEIGHT, WIDTH = 4, 4, 6
# 894 labels -> 40 classes -> 13 classes, all counted from 1.
TO_40 = 1 + np.arange(894) % 40
TO_13 = 1 + np.arange(40) % 13


@pytest.fixture
def published(tmp_path):
    """(folder, images (n, h, w, 3), labels (n, h, w)); the file has all axes in reverse order, as MATLAB."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (COUNT, HEIGHT, WIDTH, 3), np.uint8)
    labels = np.concatenate([np.arange(24), rng.integers(0, 895, 72)]).reshape(COUNT, HEIGHT, WIDTH).astype(np.uint16)
    with h5py.File(tmp_path / "nyu_depth_v2_labeled.mat", "w") as file:
        file["images"], file["labels"] = images.transpose(0, 3, 2, 1), labels.transpose(0, 2, 1)
    savemat(tmp_path / "splits.mat", {"trainNdxs": np.array([[1], [4]]), "testNdxs": np.array([[2], [3]])})
    savemat(tmp_path / "classMapping40.mat", {"mapClass": TO_40[None].astype(np.uint8)})
    savemat(tmp_path / "class13Mapping.mat", {"classMapping13": {"labels13": TO_13[None].astype(np.uint8)}})
    return tmp_path, images, labels


def test_images_labels_and_splits_are_those_of_the_files(published, tmp_path):
    folder, images, labels = published
    assert nyuv2.convert(folder, tmp_path / "out") == {"train": 2, "test": 2}
    expected = np.full(labels.shape, IGNORE)
    known = labels > 0
    expected[known] = TO_13[TO_40[labels[known] - 1] - 1] - 1
    for split, rows in {"train": [0, 3], "test": [1, 2]}.items():
        found = load_split("nyuv2", split, data_dir=tmp_path / "out")
        np.testing.assert_array_equal(found.images, images[rows])
        np.testing.assert_array_equal(found.labels, expected[rows])
    assert found.class_names[0] == "bed" and len(found.class_names) == 13


def test_the_program_says_what_it_wrote(published, tmp_path):
    status, out, err = programs.run("nyuv2", published[0], f"--out={tmp_path}/out")
    assert (status, err) == (0, "")
    assert out == f"{tmp_path}/out: 2 training and 2 test images with 13 classes\n"


def test_an_earlier_conversion_is_replaced_and_foreign_files_are_not(published, tmp_path):
    folder, out = published[0], tmp_path / "out"
    nyuv2.convert(folder, out)
    (out / "classes.json").write_text("changed")
    nyuv2.convert(folder, out)
    assert "bed" in (out / "classes.json").read_text()
    (out / "train" / "notes.txt").touch()
    with pytest.raises(UserError, match=r"holds train/notes\.txt, expected nothing but a conversion of NYUv2"):
        nyuv2.convert(folder, out)


def test_a_full_disk_is_no_damaged_file(published, tmp_path, monkeypatch):
    def full(self, path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(nyuv2.Image.Image, "save", full)
    with pytest.raises(OSError, match="No space left on device"):
        nyuv2.convert(published[0], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_files_that_are_not_as_published(published, tmp_path, monkeypatch):
    folder, out = published[0], tmp_path / "out"
    savemat(folder / "splits.mat", {"trainNdxs": np.array([[1]]), "testNdxs": np.array([[5]])})
    with pytest.raises(UserError, match=r"^splits\.mat has indices of test beyond 1\.\.4; take"):
        nyuv2.convert(folder, out)
    assert not out.exists()
    whole = (folder / nyuv2.TO_40).read_bytes()
    for length in (0, 40, 130, len(whole) // 2):
        (folder / nyuv2.TO_40).write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"is no MATLAB file with .*; take the published file$"):
            nyuv2.convert(folder, out)
    (folder / "splits.mat").unlink()
    with pytest.raises(UserError, match=r"^there is no splits\.mat in .*; expected the published nyu_depth_v2_labeled"):
        nyuv2.convert(folder, out)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs h5py; install it: pip install h5py$"):
        nyuv2.convert(folder, out)

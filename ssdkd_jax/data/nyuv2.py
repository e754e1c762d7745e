"""NYU Depth v2's published files -> a folder of images and label maps with 13 classes.

Published are nyu_depth_v2_labeled.mat (Silberman et al., ECCV 2012; MATLAB 7.3, which is HDF5 with the axes in reverse
order: images (n, 3, w, h) uint8, labels (n, w, h) uint16 with 0 for unlabeled), splits.mat (trainNdxs and testNdxs,
counted from 1), classMapping40.mat (mapClass, 894 numbers in 1..40; Gupta et al., CVPR 2013) and class13Mapping.mat
(classMapping13.labels13, 40 numbers in 1..13; Couprie et al., ICLR 2013).
"""

import importlib.util
import re
from pathlib import Path

import numpy as np
from PIL import Image

from ssdkd_jax.data.label_maps import CLASSES_FILE, IGNORE, NYUV2
from ssdkd_jax.errors import UserError
from ssdkd_jax.files import Layout, replaced_folder, write_at_once

LABELED, SPLITS = "nyu_depth_v2_labeled.mat", "splits.mat"
TO_40, TO_13 = "classMapping40.mat", "class13Mapping.mat"
# All that a converted folder holds.
OWN = Layout(rf"train|test|{re.escape(CLASSES_FILE)}", r"images|labels|\d{4}\.png", "a conversion of NYUv2")


def convert(source: Path, out: Path) -> dict[str, int]:
    """Writes the folder: <out>/{train,test}/{images,labels}/0001.png and so on, and classes.json.

    Args:
      source: folder with the four published files.
      out: becomes the folder; an earlier conversion is replaced.

    Returns:
      {split: number of images}.

    Raises:
      UserError: a file is missing, or is not as published; h5py is not installed; `out` holds something else.
    """
    if importlib.util.find_spec("h5py") is None:
        raise UserError(f"reading {LABELED} needs h5py; install it: pip install h5py")
    for name in (LABELED, SPLITS, TO_40, TO_13):
        if not (source / name).is_file():
            raise UserError(
                f"there is no {name} in {source}; expected the published {LABELED}, {SPLITS}, {TO_40} and {TO_13}"
            )
    numbers = class_numbers(source)
    splits = {
        "train": _array(source / SPLITS, "trainNdxs").ravel() - 1,
        "test": _array(source / SPLITS, "testNdxs").ravel() - 1,
    }
    with replaced_folder(out, OWN) as folder:
        _write(source / LABELED, folder, splits, numbers)
        write_at_once(folder / CLASSES_FILE, {"names": list(NYUV2.class_names), "ignore": IGNORE})
    return {split: len(indices) for split, indices in splits.items()}


def class_numbers(source: Path) -> np.ndarray:
    """For each label of the published file, 0..894, its class in 0..12 or IGNORE: uint8 (895,)."""
    to_40, to_13 = _array(source / TO_40, "mapClass").ravel(), _array(source / TO_13, "classMapping13")
    if to_13.dtype.names:  # a MATLAB struct
        to_13 = np.asarray(to_13["labels13"].ravel()[0])
    to_13 = to_13.ravel().astype(np.int64)
    classes = len(NYUV2.class_names)
    for file, values, largest in ((TO_40, to_40, len(to_13)), (TO_13, to_13, classes)):
        if not values.size or values.min() < 0 or values.max() > largest:
            raise UserError(f"{source / file} has classes beyond 0..{largest}; take the published file")
    of_40 = np.concatenate([[0], to_13])
    of_all = of_40[np.concatenate([[0], to_40.astype(np.int64)])]
    return np.where(of_all == 0, IGNORE, of_all - 1).astype(np.uint8)


def _array(file, name):
    """A variable of a MATLAB file of an older version than 7.3."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        return loadmat(file)[name]
    except (OSError, ValueError, NotImplementedError, LookupError, TypeError, MatReadError) as error:
        raise UserError(f"{file} is no MATLAB file with {name} ({error}); take the published file") from error


def _write(file, folder, splits, numbers):
    for split in splits:
        for kind in ("images", "labels"):
            (folder / split / kind).mkdir(parents=True)
    for split, number, image, labels in _pairs(file, splits):
        if labels.max(initial=0) >= len(numbers):
            raise UserError(f"{file}: image {number} has the label {labels.max()}, beyond {TO_40}")
        name = f"{number:04d}.png"
        Image.fromarray(image).save(folder / split / "images" / name)
        Image.fromarray(numbers[labels]).save(folder / split / "labels" / name)


def _pairs(file, splits):
    """(split, number from 1 on, image (h, w, 3), labels (h, w)) of every pair."""
    import h5py

    def read(function, *arguments):
        try:
            return function(*arguments)
        except (OSError, KeyError) as error:
            reason = f"{file} cannot be read as NYU's MATLAB 7.3 file ({error}); take the published one"
            raise UserError(reason) from error

    with read(h5py.File, file, "r") as content:
        images, labels = (read(content.__getitem__, name) for name in ("images", "labels"))
        _check_shapes(file, images, labels, splits)
        for split, indices in splits.items():
            for index in map(int, indices):
                image, found = (read(array.__getitem__, index) for array in (images, labels))
                yield split, index + 1, image.transpose(2, 1, 0), found.T


def _check_shapes(file, images, labels, splits):
    count = len(images)
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != np.uint8:
        raise UserError(f"{file}: images are {images.dtype} {images.shape}, expected uint8 (n, 3, width, height)")
    if labels.shape != (count, *images.shape[2:]):
        raise UserError(f"{file}: labels are of shape {labels.shape}, expected {(count, *images.shape[2:])}")
    for split, indices in splits.items():
        if not indices.size or indices.min() < 0 or indices.max() >= count:
            raise UserError(f"{SPLITS} has indices of {split} beyond 1..{count}; take the file published with {file}")

"""One name for every source of real images."""

import hashlib
import os
import pathlib

import numpy as np

from ssdkd_jax.data import digits, folder, label_maps, prepared, segmentation_folder, shapes, user_dataset
from ssdkd_jax.data.dataset import Dataset, DatasetInfo
from ssdkd_jax.errors import UserError
from ssdkd_jax.files import expand, file_sha256
from ssdkd_jax.user_code import is_user_code

ImageSize = int | tuple[int, int] | None
# Sets of images with label maps whose classes are known; data_dir is their folder.
SEGMENTATION = {"camvid": label_maps.CAMVID, "nyuv2": label_maps.NYUV2}


def load_split(name: str, split: str, *, data_dir: str | None = None, image_size: ImageSize = None) -> Dataset:
    """Reads one split of a data set into memory.

    Args:
      name: 'digits' (scikit-learn's, comes with the installation); 'folder:/path' for images in
        /path/train/<class>/ and /path/test/<class>/ (or val, validation); 'path/to/file.py:load' for a function of the
        user's that takes the split and returns (images uint8 (n, h, w, c), labels int (n,), class names) or a Dataset;
        or a TFDS name such as 'cifar10' or 'imagenet2012_subset/10pct', prepared beforehand as array_record.
        For segmentation: 'shapes' (made, needs no files), 'segmentation:/path' for images and label maps in
        /path/train/images/, /path/train/labels/ and likewise test (or val), and 'camvid' and 'nyuv2', which are such
        folders at `data_dir`.
      split: 'train' or 'test'; 'test' is the validation split of sets without labeled test images.
      data_dir: where prepared TFDS sets are stored, $TFDS_DATA_DIR or ~/tensorflow_datasets by default; or the folder
        of camvid or nyuv2.
      image_size: None, an int, or (height, width): every image is resized to it, without keeping its aspect.

    Returns:
      a Dataset.

    Raises:
      UserError: everything that the user can fix; nothing is ever fetched from the network.
    """
    if split not in ("train", "test"):
        raise UserError(f"there is no split '{split}'; expected 'train' or 'test'")
    check_named(name)
    size = _height_and_width(image_size)
    if name == "digits":
        return digits.load(split, size)
    if name == "shapes":
        return shapes.load(split, size)
    if is_segmentation_folder(name):
        return segmentation_folder.load(_segmentation_path(name, data_dir), split, size, SEGMENTATION.get(name))
    if name.startswith("folder:"):
        return folder.load(name.removeprefix("folder:"), split, size)
    if is_user_code(name):
        return user_dataset.load(name, split, size)
    return prepared.load(name, split, data_dir, size)


def load_images(name: str, *, data_dir: str | None = None, image_size: ImageSize = None) -> np.ndarray:
    """Reads the training images of a set without their labels, which a TFDS set need not have.

    Args:
      name, data_dir, image_size: as for `load_split`.

    Returns:
      uint8 (n, h, w, c).

    Raises:
      UserError: as `load_split` does.
    """
    if is_prepared(name):
        return prepared.load_images(name, data_dir, _height_and_width(image_size))
    return load_split(name, "train", data_dir=data_dir, image_size=image_size).images


def split_digest(name: str, split: str, *, data_dir: str | None = None, image_size: ImageSize = None) -> str:
    """Tells whether a split is the same as another time: of one image size and the same class names, by this digest.

    Files are read, but not decoded, which would take much longer.

    Args:
      name, split, data_dir, image_size: as for `load_split`.

    Returns:
      SHA-256 in hexadecimal digits: of the files of a TFDS set or of an image folder, of the arrays of any other.

    Raises:
      UserError: as `load_split` does, but for images that cannot be decoded.
    """
    if is_prepared(name):
        return _digest(prepared.files(name, split, data_dir))
    if name.startswith("folder:"):
        return _digest(folder.files(name.removeprefix("folder:"), split))
    dataset = load_split(name, split, data_dir=data_dir, image_size=image_size)
    return _digest({"images": dataset.images, "labels": dataset.labels})


def count_images(name: str, data_dir: str | None = None) -> int:
    """How many images `load_images` reads; UserError as there, but nothing is decoded."""
    if is_prepared(name):
        return prepared.count_images(name, data_dir)
    return dataset_info(name, data_dir, prepared_here=True).sizes.get("train", 0)


def is_prepared(name: str) -> bool:
    """Tells whether a name is that of a TFDS set."""
    check_named(name)
    made_here = name in ("digits", "shapes") or name.startswith("folder:") or is_segmentation_folder(name)
    return not (made_here or is_user_code(name))


def dataset_info(
    name: str, data_dir: str | None = None, *, image_size: ImageSize = None, prepared_here: bool = False
) -> DatasetInfo:
    """Describes a set's shape, classes and sizes without decoding its images (a user's function is called).

    Known for cifar10, cifar100, fashion_mnist, mnist and svhn_cropped even where they are not prepared, and for camvid
    and nyuv2 of a given image size even where there is no folder, so that a data-free job needs no data.

    Args:
      name, data_dir, image_size: as for `load_split`.
      prepared_here: whether these too must be prepared on this machine.

    Returns:
      a DatasetInfo.

    Raises:
      UserError: as `load_split` does.
    """
    check_named(name)
    size = _height_and_width(image_size)
    if name == "digits":
        return digits.info(size)
    if name == "shapes":
        return shapes.info(size)
    if is_segmentation_folder(name):
        known = SEGMENTATION.get(name)
        if known and size and not data_dir and not prepared_here:
            return DatasetInfo((*size, 3), known.class_names, {}, "segmentation", known.colors)
        return segmentation_folder.info(_segmentation_path(name, data_dir), size, known)
    if name.startswith("folder:"):
        return folder.info(name.removeprefix("folder:"), size)
    if is_user_code(name):
        return user_dataset.info(name, size)
    return prepared.info(name, data_dir, size, prepared_here=prepared_here)


def folder_of(name: str) -> pathlib.Path | None:
    """The folder of a set that is named by it, such as 'folder:/path', however its path is written; else None."""
    kind, _, path = name.partition(":")
    return pathlib.Path(os.path.abspath(expand(path))) if kind in ("folder", "segmentation") and path else None


def _digest(parts):
    """Digest of {name: path of a file, or an array}."""
    found = hashlib.sha256()
    for name, part in parts.items():
        if isinstance(part, np.ndarray):
            content = hashlib.sha256(part.tobytes()).hexdigest()
            name = f"{name} {part.dtype} {part.shape}"
        else:
            content = file_sha256(part)
        found.update(os.fsencode(f"{name}\n{content}\n"))
    return found.hexdigest()


def is_segmentation_folder(name: str) -> bool:
    """True for sets that are images and label maps in a folder."""
    return name in SEGMENTATION or name.startswith("segmentation:")


def check_named(name: str) -> None:
    """Raises UserError for what is no text, and for a folder's prefix without its path."""
    if not isinstance(name, str):
        raise UserError(f"the data set is {name!r}, expected its name, such as 'digits', 'cifar10' or 'folder:/path'")
    if name in ("folder:", "segmentation:"):  # as of a variable of the shell that is not set
        raise UserError(f"'{name}' names no folder, expected its path after the colon, such as {name}/path")


def _segmentation_path(name, data_dir):
    if name in SEGMENTATION and not data_dir:
        raise UserError(
            f"{name} is a folder with train/images, train/labels, test/images and test/labels; say where it is: "
            "--config.data_dir=FOLDER"
        )
    return data_dir if name in SEGMENTATION else name.removeprefix("segmentation:")


def _height_and_width(image_size):
    if image_size is None:
        return None
    size = tuple(image_size) if hasattr(image_size, "__len__") else (image_size, image_size)
    whole = all(isinstance(side, int | np.integer) and not isinstance(side, bool) for side in size)
    if not whole or len(size) != 2 or min(size) < 1:
        raise UserError(f"image_size is {image_size!r}, expected a positive integer, or a height and a width")
    return size

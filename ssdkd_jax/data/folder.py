"""Images in folders, one per class: <path>/train/<class>/*.png and <path>/test/<class>/*.png.

Images in folders below that of a class belong to it too.  A line on the terminal says which files are not read.
"""

import os

import numpy as np

from ssdkd_jax.data import image_files, pixels
from ssdkd_jax.data.dataset import Dataset, DatasetInfo
from ssdkd_jax.data.image_files import SPLIT_FOLDERS, split_folder
from ssdkd_jax.errors import UserError
from ssdkd_jax.files import expand


def load(path: str | os.PathLike, split: str, size: tuple[int, int] | None) -> Dataset:
    """Reads one split; classes and files in alphabetical order."""
    root = _root(path)
    by_class = _files(root, split)
    class_names = _class_names(root)
    files = _all(by_class)
    _note_skipped(split_folder(root, split), files)
    channels = _channels(root, [file for s in SPLIT_FOLDERS for file in _all(_files(root, s, required=False))])
    images = pixels.stack((pixels.resize(image_files.decode(file, channels), size) for file in files), files)
    image_files.note_left_out(split_folder(root, split), files)
    labels = [class_names.index(folder.name) for folder, members in by_class.items() for _ in members]
    return Dataset(images, np.array(labels, np.int32), class_names)


def files(path: str | os.PathLike, split: str) -> dict[str, os.PathLike]:
    """The image files of a split, by their place in its folder, which begins with their class."""
    root = _root(path)
    return {str(file.relative_to(split_folder(root, split))): file for file in _all(_files(root, split))}


def info(path: str | os.PathLike, size: tuple[int, int] | None) -> DatasetInfo:
    """Describes the set by the headers of the image files; a UserError where both splits are the same."""
    root = _root(path)
    splits = {split: _all(_files(root, split, required=False)) for split in SPLIT_FOLDERS}
    files = splits["train"] + splits["test"]
    if not files:
        _files(root, "train")
    image_files.check_apart(root, splits)
    size = size or image_files.common_size(files)
    class_names = _class_names(root)
    sizes = {split: len(members) for split, members in splits.items()}
    return DatasetInfo((*size, _channels(root, files)), class_names, sizes)


def _root(path):
    root = expand(path)
    if not root.is_dir():
        raise UserError(f"there is no folder {root}; expected folder:/path with /path/train/<class>/*.png in it")
    return root


def _class_names(root):
    """The class folders of the training split; without one, those of the test split."""
    train, test = ([] if f is None else _class_folders(f) for f in (split_folder(root, s) for s in ("train", "test")))
    names = tuple(folder.name for folder in train or test)
    for folder in test:
        if folder.name not in names:
            raise UserError(f"{folder} has no counterpart under {root / 'train'}; rename it, or add that class there")
    missing = [name for name in names if test and name not in {folder.name for folder in test}]
    if missing:
        raise UserError(
            f"{split_folder(root, 'test')} has no folder of the class {', '.join(missing)}, which the training split "
            "has; add it with images, or move that of the training split elsewhere"
        )
    return names


def _class_folders(folder):
    return sorted(child for child in _visible(folder) if child.is_dir())


def _visible(folder):
    return [child for child in folder.iterdir() if not child.name.startswith(".")]


def _images_in(folder):
    """The image files of a class, sorted, those in folders below it too; links to folders are not followed."""
    images = [file for file in image_files.below(folder) if image_files.is_image_name(file.name)]
    for file in images:
        image_files.check_is_file(file)
    return images


def _note_skipped(folder, read):
    below = [file for class_folder in _class_folders(folder) for file in image_files.below(class_folder)]
    image_files.note_skipped(folder, [*image_files.directly_in(folder), *below], read, "in no class's folder")


def _all(by_class):
    return [file for files in by_class.values() for file in files]


def _files(root, split, required=True):
    """{folder of a class: its image files} of a split; none is a UserError where they are required."""
    folder = split_folder(root, split)
    classes = [] if folder is None else _class_folders(folder)
    by_class = {c: _images_in(c) for c in classes}
    empty = [_with_kinds(c) for c, files in by_class.items() if not files]
    if empty:
        raise UserError(
            f"no images in {', '.join(empty)}; expected PNG, JPEG or WebP files in the folder of every class: "
            "add some, or move folders that are not classes elsewhere"
        )
    if required and not classes:
        wanted = " or ".join(f"{root / name}/<class>/" for name in SPLIT_FOLDERS[split])
        raise UserError(f"no images found for the split '{split}'; expected PNG, JPEG or WebP files in {wanted}")
    return by_class


def _with_kinds(folder):
    """A folder without images, and what it holds instead."""
    kinds = image_files.kinds(image_files.below(folder))
    return f"{folder} ({kinds})" if kinds else str(folder)


def _channels(root, files):
    """1 if every image is gray, else 3."""
    if all(image_files.is_gray(file) for file in files):
        return 1
    image_files.note_odd_colors(root, files)
    return 3

"""Images with label maps in folders: <path>/{train,val,test}/{images,labels}, of the same names but for the suffix.

Where the classes are not those of a known data set, <path>/classes.json names them (`label_maps.read_labeling`);
without that file they are numbered up to the largest label of the training split.  A line on the terminal says which
files are not read.
"""

import functools
import os

import numpy as np

from ssdkd_jax.data import image_files, label_maps, pixels
from ssdkd_jax.data.dataset import Dataset, DatasetInfo
from ssdkd_jax.data.image_files import SPLIT_FOLDERS, split_folder
from ssdkd_jax.data.label_maps import Labeling
from ssdkd_jax.errors import UserError
from ssdkd_jax.files import expand


def load(path: str | os.PathLike, split: str, size: tuple[int, int] | None, known: Labeling | None = None) -> Dataset:
    """Reads one split.

    Args:
      path: the data set's folder.
      split: "train" or "test".
      size: (height, width) that images and labels are resized to, or None.
      known: the classes of the data set, where no file need tell them.

    Returns:
      a Dataset with labels uint8 (n, h, w), classes and IGNORE.

    Raises:
      UserError: an empty split, a file without its counterpart or of another size, a label that is no class, a class
        without a pixel in the training split.
    """
    root = _root(path)
    labeling = _labeling(root, known)
    pairs = _pairs(root, split)
    _note_skipped(split_folder(root, split), pairs)
    images, labels, seen = [], [], set()
    for image_file, label_file in pairs:
        image, numbers = image_files.decode(image_file, 3), label_maps.read_map(label_file)
        _check_same_size(image.shape, image_file, numbers.shape, label_file)
        images.append(pixels.resize(image, size))
        numbers = label_maps.with_ignore(numbers, labeling, label_file)
        seen.update(np.unique(numbers).tolist())
        labels.append(label_maps.resize(numbers, size))
    if not seen - {label_maps.IGNORE}:
        raise UserError(
            f"the label maps of {split_folder(root, split)} have no pixel of a class, only such to ignore; "
            "expected some of each; add other images"
        )
    image_paths = [image_file for image_file, _ in pairs]
    images = pixels.stack(images, image_paths)
    image_files.note_left_out(split_folder(root, split), image_paths)
    labels = np.stack(labels)
    if split == "train":
        label_maps.check_every_class(seen, labels, labeling.class_names, f"{root / 'train' / 'labels'}")
    return Dataset(images, labels, labeling.class_names)


def info(path: str | os.PathLike, size: tuple[int, int] | None, known: Labeling | None = None) -> DatasetInfo:
    """Describes the set by the headers of its image files; a UserError where both splits are the same."""
    root = _root(path)
    splits = {split: _pairs(root, split, required=False) for split in SPLIT_FOLDERS}
    files = [image_file for pairs in splits.values() for image_file, _ in pairs]
    if not files:
        _pairs(root, "train")
    image_files.check_apart(root, {split: [image for image, _ in pairs] for split, pairs in splits.items()})
    size = size or image_files.common_size(files)
    labeling = _labeling(root, known)
    sizes = {split: len(pairs) for split, pairs in splits.items()}
    return DatasetInfo((*size, 3), labeling.class_names, sizes, "segmentation", labeling.colors)


def _root(path):
    root = expand(path)
    if not root.is_dir():
        raise UserError(f"there is no folder {root}; expected one with train/images/*.jpg and train/labels/*.png in it")
    return root


def _labeling(root, known):
    if (root / label_maps.CLASSES_FILE).is_file():
        return label_maps.read_labeling(root / label_maps.CLASSES_FILE)
    return known or _numbered(root)


@functools.cache
def _numbered(root):
    """A Labeling with as many classes as the training split's largest label says."""
    largest = 0
    for _, label_file in _pairs(root, "train"):
        numbers = label_maps.read_map(label_file)
        largest = max(largest, int(numbers[numbers != label_maps.IGNORE].max(initial=0)))
    return Labeling(tuple(map(str, range(largest + 1))))


def _pairs(root, split, required=True):
    """[(image file, label file)] of a split, by name; none is a UserError where they are required."""
    names = SPLIT_FOLDERS[split]
    folder = split_folder(root, split) or root / names[0]
    images, labels = (_by_stem(folder / kind) for kind in ("images", "labels"))
    for stem, file in {**images, **labels}.items():
        if stem not in images or stem not in labels:
            missing = "labels" if stem in images else "images"
            raise UserError(
                f"{file} has no counterpart in {folder / missing}; add {stem}.png there, or move it elsewhere"
            )
    if required and not images:
        wanted = " or ".join(str(root / name / "images") for name in names)
        found = image_files.kinds(image_files.below(folder / "images"), "image(s) in folders below")
        what = f"has no images, but {found}" if found else "is empty"
        raise UserError(f"the split '{split}' {what}; expected images in {wanted}, and their label maps in labels")
    return [(images[stem], labels[stem]) for stem in sorted(images)]


def _note_skipped(folder, pairs):
    below = [file for kind in ("images", "labels") for file in image_files.below(folder / kind)]
    files, read = [*image_files.directly_in(folder), *below], (file for pair in pairs for file in pair)
    image_files.note_skipped(folder, files, read, "not directly in images or labels")


def _by_stem(folder):
    """{name without suffix: file} of the images in a folder."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    found = {}
    for file in filter(lambda file: image_files.is_image_name(file.name), files):
        image_files.check_is_file(file)
        if file.stem in found:
            raise UserError(f"{found[file.stem]} and {file} have the same name; move one of them elsewhere")
        found[file.stem] = file
    return found


def _check_same_size(shape, image_file, label_shape, label_file):
    if shape[:2] != label_shape:
        raise UserError(
            f"{label_file} is {label_shape[0]}x{label_shape[1]} but its image {image_file} is {shape[0]}x{shape[1]} "
            "(height x width), expected the same; replace one of them"
        )

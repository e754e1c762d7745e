"""A few collected images without labels: any images that are at hand, for methods that need some (HiDFD)."""

import difflib
import os
import pathlib
import re
from collections.abc import Iterable, Iterator

import numpy as np

from ssdkd_jax.data import image_files, pixels
from ssdkd_jax.data.loading import check_named, count_images, is_prepared, load_images
from ssdkd_jax.errors import UserError, first_few
from ssdkd_jax.files import expand
from ssdkd_jax.user_code import absolute, is_user_code

# Crops of the two photographs that come with scikit-learn.
PHOTOGRAPHS = "photographs"
# Sides of their crops, in pixels, are log-uniform from this to the photograph's own; smaller ones are mostly flat.
SMALLEST_CROP = 32
FEWEST = 2
# Crops of the photographs, where nobody says how many.
MANY = 5000


def load(
    name: str, image_shape: tuple[int, int, int], *, data_dir: str | None = None, most: int | None = None, seed: int = 0
) -> np.ndarray:
    """Reads collected images, resized without keeping their aspect, and gray or in colors as asked for.

    Says in a line each on the terminal which files are skipped, since they are of other kinds or cannot be read, and
    where all are gray.

    Args:
      name: a folder, whose images are taken wherever below it they are ('folder:path', or a path with a slash);
        'photographs', for random crops of scikit-learn's sample images; or a data set as for `loading.load_images`.
      image_shape: (h, w, c) of the images returned.
      data_dir: where prepared TFDS sets are stored.
      most: how many are drawn at random; None keeps all (of 'photographs', which have no end, `MANY`).
      seed: of the draw.

    Returns:
      uint8 (n, h, w, c), n at least 2.

    Raises:
      UserError: nothing to read, or a single image.
    """
    rng = np.random.default_rng(seed)
    if name == PHOTOGRAPHS:
        images = _crops(rng, most or MANY, image_shape[:2])
        images = pixels.with_channels(images, image_shape[-1])
        return _bright_on_black(images) if image_shape[-1] == 1 else images
    elif is_folder(name):
        images = _in_folder(_root(name), image_shape, most, rng)
    else:
        images = load_images(name, data_dir=data_dir, image_size=image_shape[:2])
        images = images if most is None else images[np.sort(rng.permutation(len(images))[:most])]
        _note_gray(name, [images.shape[-1] == 1], image_shape)
    _check_several(name, images)
    return pixels.with_channels(images, image_shape[-1])


def check_readable(name: str, image_shape: tuple[int, int, int], *, data_dir: str | None = None) -> None:
    """Raises UserError where `load` would; a folder is read only until it is known that its images suffice."""
    if is_folder(name):
        root = _root(name)
        _check_several(name, _read(root, _files(root), image_shape, FEWEST)[0])
    elif name != PHOTOGRAPHS:
        _check_several(name, load_images(name, data_dir=data_dir, image_size=image_shape[:2]))


def _check_several(name, images):
    if len(images) < FEWEST:
        raise UserError(f"{name} holds a single image, expected at least {FEWEST} collected images: add more")


def choose(classes: np.ndarray, confidences: np.ndarray, most: int, by: str) -> np.ndarray:
    """Which collected images are kept, given what the teacher says of them.

    Args:
      classes: (n,) the teacher's classes.
      confidences: (n,) its confidences.
      most: how many are kept.
      by: "confidence", the surest; "classes", the surest of each class, equally many, and more of the larger classes
        where a class has too few [ours]; "random", the first ones, of images that were drawn already.

    Returns:
      (at most `most`,) rows in ascending order.
    """
    order = np.arange(len(classes)) if by == "random" else np.argsort(-confidences, kind="stable")
    if by == "classes":
        rank = np.empty(len(order), int)
        for of_class in np.unique(classes):
            rows = order[classes[order] == of_class]
            rank[rows] = np.arange(len(rows))
        order = order[np.argsort(rank[order], kind="stable")]
    return np.sort(order[:most])


def count(name: str, data_dir: str | None, most: int | None = None) -> int:
    """How many images `load` keeps in memory, at most; without decoding one.

    Raises:
      UserError: there is nothing to read.
    """
    if name == PHOTOGRAPHS:
        return most or MANY
    if is_folder(name):
        files = len(_files(_root(name)))
        return files if most is None else min(files, most)
    if difflib.get_close_matches(name, [PHOTOGRAPHS], cutoff=0.8):
        raise UserError(f"there are no collected images {name!r}; did you mean {PHOTOGRAPHS!r}?")
    if is_prepared(name) and expand(name).is_dir():
        raise UserError(f"{name} is a folder here; expected it as folder:{name}, or a data set under its whole name")
    try:
        return count_images(name, data_dir)
    except UserError as error:
        if "/" in name and not is_user_code(name):
            raise UserError(f"there is no folder {name} here; {error}") from error
        raise


def is_same(name: str, dataset: str) -> bool:
    """Tells whether collected images and a data set are the same, however they are spelled."""
    return _in_full(name) == _in_full(dataset)


def shared_folder(name: str, dataset: str) -> pathlib.Path | None:
    """A folder of a data set's training or test images from which collected images are taken too, or None."""
    if not (is_folder(name) and dataset.startswith("folder:")):
        return None
    collected = {real for real, _, _ in _walk(_in_full(name))}
    splits = (_in_full(dataset) / folder for folders in image_files.SPLIT_FOLDERS.values() for folder in folders)
    return next((pathlib.Path(real) for split in splits for real, _, _ in _walk(split) if real in collected), None)


def _in_full(name):
    if is_folder(name) or name.startswith("segmentation:"):
        return expand(name.removeprefix("folder:").removeprefix("segmentation:")).resolve()
    return absolute(name) if is_user_code(name) else re.sub(r":\d[\d.]*$", "", name)


def is_folder(name: str) -> bool:
    """Tells whether collected images are a folder's files, and no data set."""
    return (
        name.startswith("folder:")
        or (not is_user_code(name) and "/" in name and expand(name).is_dir())
        or (name[:1] in "/.~")
    )


def _root(name):
    check_named(name)
    root = expand(name.removeprefix("folder:"))
    if not root.is_dir():
        what = f"{root} is a file" if root.exists() else f"there is no folder {root}"
        raise UserError(f"{what}; expected a folder with collected images in it, or below it")
    if root.resolve() == root.resolve().parent:  # as of "$FOLDER/" without a value
        raise UserError(f"{root} is the whole disk; expected a folder with collected images in it, or below it")
    return root


def _files(root):
    """All files below a folder that have an image's name, sorted; whether they are images shows when they are read."""

    def refuse(error):
        raise UserError(f"{error.filename} cannot be read ({error.strerror}); make it readable, or choose another")

    files = [pathlib.Path(place, name) for _, place, names in _walk(root, refuse) for name in names if name[0] != "."]
    found = [file for file in files if image_files.is_image_name(file.name)]
    if not found:
        names, kinds = ", ".join(sorted(image_files.SUFFIXES)), image_files.kinds(files)
        what = f"nor below it, but {kinds}" if kinds else "nor below it"
        raise UserError(f"no images in {root}, {what}; expected at least {FEWEST} files that end in {names}")
    image_files.note_skipped(root, files, found)
    return sorted(found)


def _walk(root, onerror=None):
    """(real path, path, names of the files) of a folder and of each below it that is not hidden, behind links too."""
    seen = {os.path.realpath(root)}
    for place, folders, names in os.walk(root, onerror=onerror, followlinks=True):
        # Links may lead to a folder twice, or back.
        inside = {os.path.realpath(os.path.join(place, name)): name for name in folders if not name.startswith(".")}
        folders[:] = [name for real, name in inside.items() if real not in seen]
        seen |= inside.keys()
        yield os.path.realpath(place), place, names


def _in_folder(root, image_shape, most, rng):
    files = _files(root)
    if most is not None:
        files = [files[i] for i in rng.permutation(len(files))]
    images, gray, broken = _read(root, files, image_shape, most)
    if broken:
        tried = len(images) + len(broken)
        print(
            f"{len(broken)} of {tried} files are skipped, they cannot be read as images: {first_few(broken)}",
            flush=True,
        )
    _note_gray(root, gray, image_shape)
    unreadable = set(broken)
    image_files.note_left_out(root, [file for file in files[: len(images) + len(broken)] if file not in unreadable])
    return np.stack(images)


def _read(root, files, image_shape, most):
    """(images, one at least; whether each file is gray; files that cannot be read) until there are `most` images."""
    images, gray, broken = [], [], []
    for image, is_gray in _decoded(files, image_shape, broken):
        images.append(image)
        gray.append(is_gray)
        if len(images) == most:
            break
    if not images:
        raise UserError(f"none of the {len(files)} files in {root} can be read as an image; choose another folder")
    return images, gray, broken


def _decoded(files: Iterable, image_shape, broken: list) -> Iterator[tuple[np.ndarray, bool]]:
    """(image of the right size, whether its file is gray) of each file; those that cannot be read go to `broken`."""
    channels = 1 if image_shape[-1] == 1 else 3
    for file in files:
        try:
            if not file.is_file():  # a pipe, from which reading would wait, or a broken link
                raise OSError("no file")
            image, is_gray = pixels.decode(file, channels), image_files.is_gray(file)
        except (*pixels.DECODING_ERRORS, UserError):
            broken.append(file)
            continue
        yield pixels.resize(image, image_shape[:2]), is_gray


def _note_gray(name, gray, image_shape):
    """Says in a line whether most images are gray, of which there is a bool each, but not the teacher's."""
    if image_shape[-1] > 1 and 2 * sum(gray) > len(gray):
        how_many = "all" if all(gray) else f"{sum(gray):,} of {len(gray):,}"
        print(f"{how_many} images of {name} are gray, but the teacher's have {image_shape[-1]} channels: gray is "
              "repeated", flush=True)  # fmt: skip


def _crops(rng, count, size):
    """Random squares of scikit-learn's photographs, at random scales."""
    from sklearn.datasets import load_sample_images

    photographs = load_sample_images().images
    crops = []
    for _ in range(count):
        photograph = photographs[rng.integers(len(photographs))]
        longest = min(photograph.shape[:2])
        side = round(np.exp(rng.uniform(np.log(SMALLEST_CROP), np.log(longest))))
        row, column = (rng.integers(length - side + 1) for length in photograph.shape[:2])
        crops.append(pixels.resize(photograph[row : row + side, column : column + side], tuple(size)))
    return np.stack(crops)


def _bright_on_black(images):
    """Gray images from their median, black, to their brightest pixel, white, like those of digits and clothes.

    A digits teacher sees all of its classes in them, and not even half of its classes in the crops as they are.
    """
    images = images.astype(np.float32)
    median, brightest = (f(images, axis=(1, 2, 3), keepdims=True) for f in (np.median, np.max))
    stretched = (images - median) / np.maximum(brightest - median, 1.0)
    return np.round(255 * np.clip(stretched, 0.0, 1.0)).astype(np.uint8)

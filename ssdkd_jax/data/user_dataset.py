"""Data sets that a user's own Python function reads."""

import functools
import inspect

import numpy as np

from ssdkd_jax.data import pixels
from ssdkd_jax.data.dataset import Dataset, DatasetInfo
from ssdkd_jax.errors import UserError
from ssdkd_jax.user_code import absolute, load_object, reported_errors


def load(name: str, split: str, size: tuple[int, int] | None) -> Dataset:
    """Reads one split; the function is called once per split and process."""
    dataset = _original(absolute(name), split)
    if size is None:
        return dataset
    return dataset._replace(images=np.stack([pixels.resize(image, size) for image in dataset.images]))


def info(name: str, size: tuple[int, int] | None) -> DatasetInfo:
    """Describes the set, for which both splits are read."""
    train, test = (_original(absolute(name), split) for split in ("train", "test"))
    if train.class_names != test.class_names:
        raise UserError(f"{name} returned other class names for 'test' than for 'train'; expected the same")
    if train.images.shape[-1] != test.images.shape[-1]:
        raise UserError(
            f"{name} returned images of {train.images.shape[-1]} channels for 'train', but of {test.images.shape[-1]} "
            "for 'test'; expected the same"
        )
    if size is None:
        size = train.images.shape[1:3]
        pixels.check_same_size(test.images.shape[1:], f"'test' of {name}", size, f"'train' of {name}")
    sizes = {"train": len(train.labels), "test": len(test.labels)}
    return DatasetInfo((*size, train.images.shape[-1]), train.class_names, sizes)


@functools.cache
def _original(name, split):
    """The split as the function returns it, checked."""
    function = load_object(name)
    if not callable(function):
        raise UserError(f"{name} is {_described(function)}, expected a function of 'train' or 'test'")
    _check_arguments(function, name)
    with reported_errors(name):
        returned = function(split)
    owner = f"{name} returned for {split!r}"
    if not isinstance(returned, tuple | list) or len(returned) != 3:
        raise UserError(f"{owner} {_described(returned)}, expected (images, labels, class_names) or a Dataset")
    images, labels, class_names = returned
    class_names = _checked_class_names(class_names, owner)
    images = _checked_images(images, owner)
    labels = _checked_labels(labels, len(images), len(class_names), owner)
    empty = [name for label, name in enumerate(class_names) if not np.any(labels == label)]
    if empty:
        raise UserError(f"{owner} no image of the class {', '.join(empty)}, expected at least one of each class")
    return Dataset(images, labels, class_names)


def _check_arguments(function, name):
    try:
        inspect.signature(function).bind("train")
    except TypeError as error:
        given = f"{name.rpartition(':')[2]}{inspect.signature(function)}"
        raise UserError(
            f"{name} is {given}, expected a function of one argument, 'train' or 'test': def load(split): ..."
        ) from error
    except ValueError:  # of what is not written in Python no signature is known
        return


def _checked_images(images, owner):
    images = _as_array(images, "images", owner)
    if images.dtype != np.uint8:
        raise UserError(f"{owner} images of {images.dtype}, expected uint8 in 0..255")
    if images.ndim != 4:
        raise UserError(f"{owner} images of shape {images.shape}, expected (n, height, width, channels)")
    if not images.size:
        raise UserError(f"{owner} images of shape {images.shape}, expected at least one pixel")
    return images


def _checked_labels(labels, images, classes, owner):
    labels = _as_array(labels, "labels", owner)
    if not np.issubdtype(labels.dtype, np.integer):
        raise UserError(f"{owner} labels of {labels.dtype}, expected integers")
    if labels.shape != (images,):
        raise UserError(f"{owner} {images} images and labels of shape {labels.shape}, expected ({images},)")
    if labels.min() < 0 or labels.max() >= classes:
        raise UserError(
            f"{owner} labels in {labels.min()}..{labels.max()} and {classes} class names, expected 0..{classes - 1}"
        )
    return labels.astype(np.int32)


def _checked_class_names(names, owner):
    if isinstance(names, str) or not hasattr(names, "__len__") or not hasattr(names, "__iter__"):
        raise UserError(f"{owner} {_described(names)} as class names, expected a list of them")
    if isinstance(names, set | frozenset):
        raise UserError(f"{owner} class names as a set, whose order may change from run to run, expected a list")
    if any(name is None for name in names):
        raise UserError(f"{owner} None as the name of a class, expected a text")
    names = tuple(str(name) for name in names)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"{owner} the class name {', '.join(twice)} more than once, expected different ones")
    if not names:
        raise UserError(f"{owner} no class names, expected one for each class")
    return names


def _as_array(value, what, owner):
    try:
        return np.asarray(value)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{owner} {what} that are no array ({reason}), expected one NumPy array") from error


def _described(value):
    return f"{len(value)} values" if isinstance(value, tuple | list) else f"an object of type {type(value).__name__}"

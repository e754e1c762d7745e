"""Classification sets of TensorFlow Datasets, prepared beforehand as array_record and read without TensorFlow."""

import difflib
import io
import os

import numpy as np

from ssdkd_jax.data import pixels
from ssdkd_jax.data.benchmarks import BENCHMARKS, base_name
from ssdkd_jax.data.dataset import Dataset, DatasetInfo
from ssdkd_jax.errors import UserError


def load(name: str, split: str, data_dir: str | None, size: tuple[int, int] | None) -> Dataset:
    """Reads one split, in the order of the prepared files."""
    builder = _open(name, data_dir)
    records = _records(builder, _split_name(builder, split))
    labels = np.array([record["label"] for record in records], np.int32)
    return Dataset(_images(builder, split, records, size), labels, _class_names(builder))


def files(name: str, split: str, data_dir: str | None) -> dict[str, os.PathLike]:
    """The files that hold a split, by their names."""
    builder = _open(name, data_dir)
    return {path.name: path for path in builder.info.splits[_split_name(builder, split)].filepaths}


def load_images(name: str, data_dir: str | None, size: tuple[int, int] | None) -> np.ndarray:
    """Reads the training images alone, uint8 (n, h, w, c), also of a set without labels."""
    builder = _open(name, data_dir, features=("image",))
    return _images(builder, "train", _records(builder, _split_name(builder, "train", labeled=False)), size)


def count_images(name: str, data_dir: str | None) -> int:
    """How many images `load_images` reads."""
    builder = _open(name, data_dir, features=("image",))
    return builder.info.splits[_split_name(builder, "train", labeled=False)].num_examples


def _images(builder, split, records, size):
    channels = _image_shape(builder, size)[-1]
    # Threads make this slower: for small images Pillow holds the interpreter's lock most of the time.
    images = (pixels.resize(pixels.decode(io.BytesIO(record["image"]), channels), size) for record in records)
    return pixels.stack(images, [f"{builder.name} {split} image {i}" for i in range(len(records))])


def info(name: str, data_dir: str | None, size: tuple[int, int] | None, *, prepared_here: bool = False) -> DatasetInfo:
    """Describes a set by its metadata, or as published where its files are missing and `prepared_here` is false."""
    try:
        builder = _open(name, data_dir)
    except UserError:
        published = BENCHMARKS.get(base_name(name))
        if prepared_here or published is None or published.image_shape is None:
            raise
        *published_size, channels = published.image_shape
        return DatasetInfo((*(size or published_size), channels), published.class_names, dict(published.sizes))
    sizes = {s: builder.info.splits[_split_name(builder, s)].num_examples for s in ("train", "test")}
    return DatasetInfo(_image_shape(builder, size), _class_names(builder), sizes)


def _open(name, data_dir, features=("image", "label")):
    """Makes the read-only builder of a prepared set.

    It is made from the files alone: a builder made from the set's code would go to the network, for minutes when there
    is none, and would not know the user's own sets.
    """
    import tensorflow_datasets as tfds

    data_dir = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    if not isinstance(data_dir, str | os.PathLike):
        raise UserError(f"data_dir is {data_dir!r}, expected the path of a folder")
    data_dir = os.path.expanduser(data_dir)
    try:
        builder = tfds.core.read_only_builder.builder_from_files(name, data_dir=data_dir)
    except (tfds.core.DatasetNotFoundError, ValueError, OSError) as error:
        raise UserError(_not_prepared(name, data_dir, tfds.list_builders(with_community_datasets=False))) from error
    if builder.info.file_format.value != "array_record":
        raise UserError(
            f"{name} is stored in {builder.data_path} as {builder.info.file_format.value}, which cannot be read "
            "without TensorFlow; prepare it as array_record in another data_dir: "
            + _preparation(name, data_dir.rstrip("/") + "_array_record")
        )
    for key in features:
        if key not in builder.info.features:
            raise UserError(f"{name} has no '{key}'; expected a classification set, such as cifar10")
    return builder


def _not_prepared(name, data_dir, known_names):
    base = base_name(name)
    if base in known_names:
        return f"{name} is not prepared: looked in {data_dir}; prepare it: {_preparation(name, data_dir)}"
    closest = difflib.get_close_matches(base, ["digits", *known_names], n=3)
    hint = f"did you mean {' or '.join(closest)}? " if closest else ""
    return (
        f"unknown data set '{name}', and nothing of that name in {data_dir}; {hint}"
        "expected digits, folder:/path, path/to/file.py:load, or the name of a TFDS classification set"
    )


def _preparation(name, data_dir):
    # `tfds build` would need apache_beam and mlcroissant on top of TensorFlow.
    return (
        'pip install tensorflow && python -c "import tensorflow_datasets as tfds; '
        f"tfds.builder('{name}', data_dir='{data_dir}', file_format='array_record').download_and_prepare()\""
    )


def _split_name(builder, split, labeled=True):
    """TFDS's name of 'train' or 'test': 'validation' where there are no test images, or none with labels."""
    names = ("train",) if split == "train" else ("test", "validation")
    for name in names:
        if name in builder.info.splits and (not labeled or _source(builder, name)[0]["label"] >= 0):
            return name
    wanted = f"{'labeled ' if labeled else ''}split {' or '.join(names)}"
    raise UserError(f"{builder.name} has no {wanted}; it has {', '.join(sorted(builder.info.splits))}")


def _records(builder, split_name):
    """All records of a split, read at once, for which TFDS has no other name: one by one takes half as long again."""
    source = _source(builder, split_name)
    return source.__getitems__(range(len(source)))


def _source(builder, split_name):
    """Random access to the records of a split, their images still encoded: Pillow is faster than TFDS's decoder."""
    import tensorflow_datasets as tfds

    for path in builder.info.splits[split_name].filepaths:
        if not path.exists():
            raise UserError(f"{path} is missing; move {builder.data_path} elsewhere and prepare the set again")
    return builder.as_data_source(split=split_name, decoders={"image": tfds.decode.SkipDecoding()})


def _image_shape(builder, size):
    height, width, channels = builder.info.features["image"].shape
    if size is None and (height is None or width is None):
        raise UserError(
            f"{builder.name} has images of differing size; they need one that all are resized to, such as "
            "--config.image_size=224"
        )
    return (*(size or (height, width)), channels or 3)


def _class_names(builder):
    label = builder.info.features["label"]
    numbers = tuple(map(str, range(label.num_classes)))
    names = tuple(label.names or numbers)
    # Files that were prepared without names have numbers for names.
    published = BENCHMARKS.get(builder.name)
    return published.class_names if published and published.class_names and names == numbers else names

import io
import json
import shutil
import socket
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from ssdkd_jax.data import dataset_info, load_split, split_digest
from ssdkd_jax.data.loading import count_images, load_images
from ssdkd_jax.errors import UserError

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)
LABELS = [2, 0, 1, 1, 0, 2]


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def prepare(data_dir, name, splits, shape=(4, 5, 3), encode=png):
    """Prepares a set without TensorFlow: TFDS stores bytes as they are.

    `splits`: name -> (images, labels or None).
    """

    def split_generators(self, dl_manager):
        return {split: list(enumerate(examples(*rows))) for split, rows in splits.items()}

    def examples(images, labels):
        if labels is None:
            return [{"image": encode(image)} for image in images]
        return [{"image": encode(image), "label": label} for image, label in zip(images, labels, strict=True)]

    def dataset_info_of(self):
        label = tfds.features.ClassLabel(names=["ant", "bee", "cat"])
        features = {"image": tfds.features.Image(shape=shape), "label": label}
        if any(labels is None for _, labels in splits.values()):
            del features["label"]
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    with tfds.core.registered.skip_registration():
        builder_class = type(
            name,
            (tfds.core.GeneratorBasedBuilder,),
            {
                "name": name,
                "VERSION": tfds.core.Version("1.0.0"),
                "_info": dataset_info_of,
                "_split_generators": split_generators,
                "_generate_examples": None,
            },
        )
    builder_class.__abstractmethods__ = frozenset()
    builder = builder_class(data_dir=data_dir, file_format="array_record")
    builder.download_and_prepare()
    return builder.data_path


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError(f"The network was asked for: {args}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("prepared")
    prepare(data_dir, "tiny", {"train": (IMAGES, LABELS), "test": (IMAGES[:2], LABELS[:2])})
    return str(data_dir)


def as_set(dataset):
    return sorted((image.tobytes(), int(label)) for image, label in zip(dataset.images, dataset.labels, strict=True))


def test_a_prepared_set_is_read_back(data_dir):
    train = load_split("tiny", "train", data_dir=data_dir)
    assert train.images.shape == (6, 4, 5, 3) and train.images.dtype == np.uint8
    assert train.labels.dtype == np.int32
    assert train.class_names == ("ant", "bee", "cat")
    # TFDS shuffles when it prepares.
    assert as_set(train) == sorted(zip([x.tobytes() for x in IMAGES], LABELS, strict=True))
    assert len(load_split("tiny", "test", data_dir=data_dir).images) == 2


def test_the_info_agrees_with_the_images(data_dir):
    assert dataset_info("tiny", data_dir)[:3] == ((4, 5, 3), ("ant", "bee", "cat"), {"train": 6, "test": 2})


def test_the_digest_is_that_of_the_files_wherever_they_are(data_dir, tmp_path):
    found = split_digest("tiny", "train", data_dir=data_dir)
    shutil.copytree(data_dir, tmp_path / "copy")
    assert split_digest("tiny", "train", data_dir=str(tmp_path / "copy")) == found
    assert split_digest("tiny", "test", data_dir=data_dir) != found
    prepare(tmp_path, "tiny", {"train": (IMAGES, [*LABELS[:-1], 0]), "test": (IMAGES[:2], LABELS[:2])})
    assert split_digest("tiny", "train", data_dir=str(tmp_path)) != found
    assert split_digest("tiny", "test", data_dir=str(tmp_path)) == split_digest("tiny", "test", data_dir=data_dir)
    with pytest.raises(UserError, match="cifar10 is not prepared: looked in"):
        split_digest("cifar10", "train", data_dir=str(tmp_path))


def test_the_place_comes_from_the_environment(data_dir, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", data_dir)
    assert load_split("tiny", "test", image_size=8).images.shape == (2, 8, 8, 3)


def test_validation_images_where_the_test_images_have_no_labels(tmp_path):
    splits = {"train": (IMAGES, LABELS), "test": (IMAGES[:3], [-1] * 3), "validation": (IMAGES[:2], LABELS[:2])}
    prepare(tmp_path, "unlabeled", splits)
    assert as_set(load_split("unlabeled", "test", data_dir=tmp_path))[0][1] >= 0
    assert dataset_info("unlabeled", tmp_path).sizes == {"train": 6, "test": 2}


def test_images_without_labels(tmp_path):
    prepare(tmp_path, "unlabeled", {"train": (IMAGES, None)})
    images = load_images("unlabeled", data_dir=str(tmp_path), image_size=8)
    assert (images.shape, images.dtype, count_images("unlabeled", str(tmp_path))) == ((6, 8, 8, 3), np.uint8, 6)
    shuffled = load_images("unlabeled", data_dir=str(tmp_path))
    assert sorted(map(np.ndarray.tobytes, shuffled)) == sorted(map(np.ndarray.tobytes, IMAGES))
    with pytest.raises(UserError, match="unlabeled has no 'label'; expected a classification set"):
        load_split("unlabeled", "train", data_dir=str(tmp_path))


def test_images_of_differing_size_need_an_image_size(tmp_path):
    prepare(tmp_path, "ragged", {"train": ([IMAGES[0], IMAGES[1][:2]], [0, 1])}, shape=(None, None, 3))
    with pytest.raises(UserError, match=r"ragged has images of differing size; .*image_size=224"):
        load_split("ragged", "train", data_dir=tmp_path)
    assert load_split("ragged", "train", data_dir=tmp_path, image_size=4).images.shape == (2, 4, 4, 3)
    with pytest.raises(UserError, match="no labeled split test or validation; it has train"):
        load_split("ragged", "test", data_dir=tmp_path, image_size=4)


def test_an_unprepared_set_ends_at_once_with_the_command_that_prepares_it(tmp_path):
    start = time.monotonic()
    with pytest.raises(UserError) as caught:
        load_split("cifar100", "train", data_dir=tmp_path)
    assert time.monotonic() - start < 5
    message = str(caught.value)
    assert "\n" not in message
    assert f"cifar100 is not prepared: looked in {tmp_path}" in message
    assert f"tfds.builder('cifar100', data_dir='{tmp_path}', file_format='array_record')" in message


def test_a_data_free_job_knows_its_benchmark_without_data(tmp_path):
    info = dataset_info("cifar100", tmp_path)
    assert info.image_shape == (32, 32, 3) and len(info.class_names) == 100
    assert info.class_names[:2] == ("apple", "aquarium_fish") and list(info.class_names) == sorted(info.class_names)
    with pytest.raises(UserError, match="is not prepared"):
        dataset_info("eurosat", tmp_path)


def test_an_unknown_name_gets_the_closest_ones(tmp_path):
    with pytest.raises(UserError, match=r"unknown data set 'cifar-10'.*did you mean cifar10") as caught:
        load_split("cifar-10", "train", data_dir=tmp_path)
    assert "\n" not in str(caught.value)


def test_tfrecord_and_missing_shards(tmp_path):
    path = prepare(tmp_path, "broken", {"train": (IMAGES, LABELS)})
    metadata = path / "dataset_info.json"
    fields = json.loads(metadata.read_text())
    next(path.glob("*train*")).unlink()
    with pytest.raises(UserError, match=r"is missing; move .* elsewhere and prepare the set again"):
        load_split("broken", "train", data_dir=tmp_path)
    metadata.write_text(json.dumps(fields | {"fileFormat": "tfrecord"}))
    with pytest.raises(UserError, match=r"as tfrecord, which cannot be read without TensorFlow.*_array_record"):
        load_split("broken", "train", data_dir=tmp_path)

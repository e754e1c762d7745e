import numpy as np
import pytest

from ssdkd_jax.data import dataset_info, load_split, split_digest
from ssdkd_jax.errors import UserError


def test_the_split_is_whole_stratified_and_fixed():
    train, test = load_split("digits", "train"), load_split("digits", "test")
    for part, size in ((train, 1437), (test, 360)):
        assert part.images.shape == (size, 8, 8, 1) and part.images.dtype == np.uint8
        assert part.labels.shape == (size,) and part.labels.dtype == np.int32
    assert train.images.min() == 0 and train.images.max() == 255
    shares = np.bincount(test.labels) / np.bincount(np.concatenate([train.labels, test.labels]))
    assert (abs(shares - 360 / 1797) < 0.005).all()
    # A checksum of the labels in their order: another split would make old results incomparable.
    assert int((np.arange(360) * test.labels).sum()) == 295922


def test_the_info_agrees_with_the_images():
    info = dataset_info("digits")
    train = load_split("digits", "train")
    assert info.image_shape == train.images.shape[1:]
    assert info.class_names == train.class_names and len(info.class_names) == 10
    assert info.sizes == {"train": 1437, "test": 360}


def test_digits_in_another_size():
    assert load_split("digits", "test", image_size=(16, 12)).images.shape == (360, 16, 12, 1)
    assert load_split("digits", "test", image_size=np.array([16, 12])).images.shape == (360, 16, 12, 1)
    assert dataset_info("digits", image_size=16).image_shape == (16, 16, 1)


def test_an_unknown_split():
    with pytest.raises(UserError, match="'train' or 'test'"):
        load_split("digits", "validation")


@pytest.mark.parametrize("size", [0, -8, 8.5, "8", True, (8,), (8, "a"), (8, 0)], ids=repr)
def test_what_is_no_image_size(size):
    with pytest.raises(UserError) as error:
        load_split("digits", "test", image_size=size)
    assert str(error.value) == f"image_size is {size!r}, expected a positive integer, or a height and a width"


def test_the_digest_is_that_of_the_arrays():
    train = split_digest("digits", "train")
    assert split_digest("digits", "train") == train
    assert len({train, split_digest("digits", "test"), split_digest("digits", "train", image_size=16)}) == 3

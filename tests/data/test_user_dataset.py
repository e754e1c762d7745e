"""Data sets of a user's own function, as they are and as they are broken."""

import numpy as np
import pytest

from ssdkd_jax.data import dataset_info, load_split
from tests import refusals

GOOD = """
import numpy as np

CALLS = []

def load(split):
    CALLS.append(split)
    count = {"train": 4, "test": 2}[split]
    images = np.arange(count * 3 * 5, dtype=np.uint8).reshape(count, 3, 5, 1)
    return images, np.arange(count, dtype=np.int64) % 2, ["cat", "dog"]

def as_dataset(split):
    from ssdkd_jax.data import Dataset
    return Dataset(*load(split))
"""


def written(tmp_path, content, name="load"):
    (tmp_path / "mine.py").write_text(content)
    return f"{tmp_path}/mine.py:{name}"


def returning(tmp_path, images="np.zeros((2, 4, 4, 3), np.uint8)", labels="np.array([0, 1])", names="['a', 'b']"):
    return written(tmp_path, f"import numpy as np\ndef load(split):\n    return {images}, {labels}, {names}\n")


def refusal(name, read=lambda name: load_split(name, "train")):
    return refusals.refusal(read, name)


@pytest.mark.parametrize("function", ["load", "as_dataset"])
def test_a_split_is_what_the_function_returns(tmp_path, function):
    train = load_split(written(tmp_path, GOOD, function), "train")
    np.testing.assert_array_equal(train.images, np.arange(60, dtype=np.uint8).reshape(4, 3, 5, 1))
    np.testing.assert_array_equal(train.labels, [0, 1, 0, 1])
    assert train.images.dtype == np.uint8 and train.labels.dtype == np.int32
    assert train.class_names == ("cat", "dog")


def test_the_info_agrees_with_the_images(tmp_path):
    name = written(tmp_path, GOOD)
    assert dataset_info(name)[:3] == ((3, 5, 1), ("cat", "dog"), {"train": 4, "test": 2})
    assert dataset_info(name, image_size=8).image_shape == (8, 8, 1)


def test_the_function_is_called_once_per_split(tmp_path, monkeypatch):
    name = written(tmp_path, GOOD)
    dataset_info(name)
    load_split(name, "train")
    load_split(name, "test", image_size=8)
    monkeypatch.chdir(tmp_path)
    load_split("mine.py:load", "test")
    from ssdkd_jax.user_code import load_object

    assert load_object(f"{tmp_path}/mine.py:CALLS") == ["train", "test"]


@pytest.mark.parametrize(
    ("content", "given"),
    [("def load():\n    pass\n", "load()"), ("def load(split, size):\n    pass\n", "load(split, size)")],
)
def test_a_function_of_other_arguments(tmp_path, content, given):
    name = written(tmp_path, content)
    expected = f"{name} is {given}, expected a function of one argument, 'train' or 'test': def load(split): ..."
    assert refusal(name) == expected


def test_arguments_with_defaults_are_fine(tmp_path):
    name = written(tmp_path, GOOD + "\ndef more(split, seed=0, **others):\n    return load(split)\n", "more")
    assert len(load_split(name, "train").images) == 4


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_images_are_resized(tmp_path, channels):
    name = returning(tmp_path, f"np.full((2, 4, 4, {channels}), 7, np.uint8)")
    images = load_split(name, "train", image_size=(6, 8)).images
    np.testing.assert_array_equal(images, np.full((2, 6, 8, channels), 7, np.uint8))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": "np.zeros((2, 4, 4, 3))"}, "images of float64, expected uint8 in 0..255"),
        ({"images": "np.zeros((2, 4, 4), np.uint8)"}, "images of shape (2, 4, 4), expected (n, height, width, channel"),
        ({"images": "np.zeros((0, 4, 4, 3), np.uint8)"}, "images of shape (0, 4, 4, 3), expected at least one pixel"),
        ({"images": "[np.zeros((4, 4)), np.zeros((5, 4))]"}, "images that are no array ("),
        ({"labels": "np.array([0., 1.])"}, "labels of float64, expected integers"),
        ({"labels": "np.array([True, False])"}, "labels of bool, expected integers"),
        ({"labels": "np.array([[0], [1]])"}, "2 images and labels of shape (2, 1), expected (2,)"),
        ({"labels": "np.array([0, 1, 1])"}, "2 images and labels of shape (3,), expected (2,)"),
        ({"labels": "np.array([0, 2])"}, "labels in 0..2 and 2 class names, expected 0..1"),
        ({"labels": "np.array([-1, 0])"}, "labels in -1..0 and 2 class names, expected 0..1"),
        ({"names": "'ab'"}, "an object of type str as class names, expected a list of them"),
        ({"names": "7"}, "an object of type int as class names, expected a list of them"),
        ({"names": "['a', 'b', 'c', 'd']"}, "no image of the class c, d, expected at least one of each class"),
        ({"labels": "np.array([1, 1])"}, "no image of the class a, expected at least one of each class"),
        ({"names": "['a', 'a']"}, "the class name a more than once, expected different ones"),
        ({"names": "['a', None]"}, "None as the name of a class, expected a text"),
        ({"names": "{'a', 'b'}"}, "class names as a set, whose order may change from run to run, expected a list"),
        ({"names": "[]"}, "no class names, expected one for each class"),
    ],
)
def test_what_a_function_must_not_return(tmp_path, arguments, message):
    assert f"mine.py:load returned for 'train' {message}" in refusal(returning(tmp_path, **arguments))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("None", "an object of type NoneType"),
        ("(1, 2)", "2 values"),
        ("[1, 2, 3, 4]", "4 values"),
        ("{}", "an object of type dict"),
    ],
)
def test_a_result_that_is_no_data_set(tmp_path, returned, message):
    name = written(tmp_path, f"def load(split):\n    return {returned}\n")
    assert f"returned for 'train' {message}, expected (images, labels, class_names) or a Dataset" in refusal(name)


def test_an_exception_inside_is_one_line(tmp_path):
    name = written(tmp_path, "def load(split):\n    raise OSError('no disk')\n")
    expected = f"{name} fails with OSError: no disk ({tmp_path}/mine.py, line 2)"
    assert refusal(name) == refusal(name, dataset_info) == expected


def test_what_cannot_be_called(tmp_path):
    written(tmp_path, "number = 3\n")
    assert "number is an object of type int, expected a function of 'train' or 'test'" in refusal(
        f"{tmp_path}/mine.py:number"
    )


@pytest.mark.parametrize(
    ("images", "names", "message"),
    [
        ("np.zeros((1, 4, 4, 3), np.uint8)", "[split]", "returned other class names for 'test' than for 'train'"),
        ("np.zeros((1, 4, 4, 1 + 2 * (split == 'train')), np.uint8)", "['a']", "of 3 channels for 'train', but of 1"),
        ("np.zeros((1, 4, len(split), 3), np.uint8)", "['a']", "is 4x4 but 'train' of"),
    ],
)
def test_splits_that_do_not_go_together(tmp_path, images, names, message):
    assert message in refusal(returning(tmp_path, images, "np.array([0])", names), dataset_info)


def test_splits_of_two_sizes_with_an_image_size(tmp_path):
    name = returning(tmp_path, "np.zeros((2, 4, len(split), 3), np.uint8)")
    assert dataset_info(name, image_size=6).image_shape == (6, 6, 3)

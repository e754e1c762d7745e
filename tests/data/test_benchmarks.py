import pytest

from ssdkd_jax.data.benchmarks import BENCHMARKS, base_name


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_row_says_all_of_the_images_or_nothing(name):
    row = BENCHMARKS[name]
    if row.image_shape is None:
        assert not row.sizes and not row.class_names and row.mean
    else:
        assert len(row.image_shape) == 3 and set(row.sizes) == {"train", "test"}
        assert len(set(row.class_names)) == len(row.class_names) == (100 if name == "cifar100" else 10)
    if row.mean is not None:
        assert len(row.mean) == len(row.std) == (row.image_shape or (224, 224, 3))[-1]
        assert all(0 < number < 1 for number in (*row.mean, *row.std))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cifar10", "cifar10"),
        ("cifar10:3.0.2", "cifar10"),
        ("imagenet2012_subset/10pct:5.*.*", "imagenet2012_subset"),
        ("cifar10/mine.py:load", "cifar10/mine.py:load"),
        ("folder:/cifar10", "folder:/cifar10"),
    ],
)
def test_a_name_without_its_config_and_version(name, expected):
    assert base_name(name) == expected

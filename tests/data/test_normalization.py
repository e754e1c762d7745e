import re

import pytest

from ssdkd_jax.data import chosen_normalization, normalization
from ssdkd_jax.errors import UserError


@pytest.mark.parametrize(
    ("name", "channels", "expected"),
    [
        ("cifar10", 3, ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))),
        ("cifar100:3.0.2", 3, ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))),
        ("imagenet", 3, ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
        ("imagenet2012_subset/10pct", 3, ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
        ("cifar10/mine.py:load", 3, ((0.5,) * 3, (0.5,) * 3)),
        ("fashion_mnist", 1, ((0.2860,), (0.3530,))),
        ("mnist", 1, ((0.5,), (0.5,))),
        ("digits", 1, ((0.5,), (0.5,))),
        ("camvid", 3, ((0.5,) * 3, (0.5,) * 3)),
        ("folder:/anything", 3, ((0.5,) * 3, (0.5,) * 3)),
        ("data.py:load", 1, ((0.5,), (0.5,))),
    ],
)
def test_published_statistics(name, channels, expected):
    assert normalization(name, channels) == expected


@pytest.mark.parametrize(
    ("text", "channels", "expected"),
    [
        ("half", 1, ((0.5,), (0.5,))),
        ("imagenet", 3, ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
        ("0.1,0.2/0.3,0.4", 2, ((0.1, 0.2), (0.3, 0.4))),
    ],
)
def test_chosen_normalization(text, channels, expected):
    assert chosen_normalization(text, channels) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "mnist",
            "unknown normalization 'mnist'; known are: cifar10, cifar100, imagenet, imagenet2012, imagenet",
        ),
        ("fashion_mnist", "has 1 means and 1 standard deviations, but the images have 3 channels"),
        ("0.5,0.5,0.5/0.5,0.5,0", "with positive deviations"),
        ("a/b", "is not MEAN,MEAN,.../STD,STD,..."),
    ],
)
def test_mistakes_in_a_chosen_normalization(text, message):
    with pytest.raises(UserError, match=re.escape(message)):
        chosen_normalization(text, 3)

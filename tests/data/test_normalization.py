import jax.numpy as jnp
import numpy as np
import pytest

from ssdkd_jax.data import normalization, normalize, to_uint8, to_unit


def test_every_byte_survives_the_unit_interval():
    pixels = np.arange(256, dtype=np.uint8)
    unit = to_unit(pixels)
    assert unit.dtype == jnp.float32 and unit.min() == 0 and unit.max() == 1
    np.testing.assert_array_equal(to_uint8(unit), pixels)


def test_to_uint8_rounds_and_clips():
    np.testing.assert_array_equal(to_uint8(jnp.array([-0.5, 0.4 / 255, 0.6 / 255, 1.7])), [0, 0, 1, 255])


def test_normalize_by_hand():
    images = jnp.full((1, 1, 1, 3), 0.5)
    np.testing.assert_allclose(normalize(images, (0.5, 0.25, 0.0), (1.0, 0.5, 0.25)).ravel(), [0.0, 0.5, 2.0])


def test_normalize_keeps_half_precision():
    assert normalize(jnp.ones((1, 1, 1, 1), jnp.bfloat16), (0.5,), (0.5,)).dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("name", "channels", "expected"),
    [
        ("cifar10", 3, ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))),
        ("cifar100:3.0.2", 3, ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))),
        ("imagenet", 3, ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
        ("fashion_mnist", 1, ((0.2860,), (0.3530,))),
        ("digits", 1, ((0.5,), (0.5,))),
        ("camvid", 3, ((0.5,) * 3, (0.5,) * 3)),
        ("folder:/anything", 3, ((0.5,) * 3, (0.5,) * 3)),
    ],
)
def test_published_statistics(name, channels, expected):
    assert normalization(name, channels) == expected

"""Networks and states that are saved, damaged and compared."""

import functools

import jax
from numpy.testing import assert_array_equal

from ssdkd_jax import create_model
from tests.random_networks import random_variables

METADATA = {
    "architecture": "convnet_8",
    "num_classes": 2,
    "image_shape": [8, 8, 1],
    "mean": [0.5],
    "std": [0.5],
    "class_names": ["a", "b"],
}


@functools.cache
def variables(seed):
    """Of a network as METADATA says."""
    return random_variables(create_model("convnet_8", 2), (8, 8, 1), seed)


def assert_equal(one, two):
    assert jax.tree.structure(one) == jax.tree.structure(two)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        assert_array_equal(a, b)
        assert a.dtype == b.dtype


def flip_a_byte(folder):
    """In the largest file of a checkpoint's arrays, near its end."""
    largest = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[-20] ^= 0xFF
    largest.write_bytes(content)

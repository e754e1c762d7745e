"""Kept views are the views of the augmentation, and the teacher's outputs for them are exact."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from ssdkd_jax import kept_views
from ssdkd_jax.data.preprocessing import augment
from ssdkd_jax.training import devices

IMAGES = np.random.default_rng(0).integers(1, 256, (3, 4, 4, 1), np.uint8)


@pytest.mark.parametrize(("padding", "flip", "expected"), [(0, False, 1), (0, True, 2), (1, False, 9), (4, True, 162)])
def test_count(padding, flip, expected):
    assert kept_views.count(padding, flip) == expected


@pytest.mark.parametrize(("padding", "flip"), [(0, False), (0, True), (1, False), (1, True)])
def test_the_views_are_those_of_the_augmentation(padding, flip):
    """Every view is different, and every augmented image is one of them."""
    view = functools.partial(kept_views.look, padding=padding, flip=flip)
    total = kept_views.count(padding, flip)
    views = np.stack([view(jnp.asarray(IMAGES), jnp.full(3, number)) for number in range(total)])
    for i in range(3):
        assert len({image.tobytes() for image in views[:, i]}) == total
    for seed in range(20):
        augmented = np.asarray(augment(jax.random.key(seed), jnp.asarray(IMAGES), padding=padding, flip=flip))
        for i in range(3):
            assert augmented[i].tobytes() in {image.tobytes() for image in views[:, i]}


@settings(deadline=None, max_examples=20)
@given(entries=st.integers(1, 5), views=st.integers(1, 12), different=st.integers(1, 10), seed=st.integers(0, 9))
def test_drawn_views_are_different(entries, views, different, seed):
    number = np.asarray(kept_views.draw(jax.random.key(seed), entries, views, different))
    assert number.shape == (entries, min(views, different)) and number.dtype == np.int32
    assert number.min() >= 0 and number.max() < different
    assert all(len(set(row)) == len(row) for row in number.tolist())


def whole_numbers(count):
    """Images of which sums are exact in any order."""
    return jnp.asarray(np.random.default_rng(1).integers(0, 9, (count, 4, 4, 1)), jnp.float32)


def teacher(images):
    flat = images.reshape(len(images), -1)
    return flat @ jnp.arange(32, dtype=jnp.float32).reshape(16, 2)


def kept_on(count):
    """(number, output) read back from six slots, of which five were put, on so many devices."""
    chosen = devices.local_devices(count)
    images = whole_numbers(8)
    slots, columns = jnp.array([4, 0, 9, 2, 7, 5, 1, 8]), jnp.array([0, 3, 1, 2, 0, 1, 2, 3])
    axis = devices.AXIS if count > 1 else None

    def work(kept, images, number):
        output = kept_views.answers(teacher, images, number, padding=1, flip=True)
        kept = kept_views.put(kept, slots, number, output, axis_name=axis)
        return kept_views.pick(kept, slots[::-1], columns, axis_name=axis)

    number = kept_views.draw(jax.random.key(0), 8, 4, 18)
    empty = kept_views.init(10, 4, 2)
    if count == 1:
        return work(empty, images, number)
    sharded = jax.tree.map(lambda _: True, empty)
    parts = [x.reshape(count, -1, *x.shape[1:]) for x in (images, number)]
    found = devices.pmap(work, chosen)(devices.spread(empty, chosen, sharded), *parts)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), found)


def test_what_is_picked_is_what_the_teacher_says_of_that_view():
    number, output = kept_on(1)
    images = whole_numbers(8)
    seen = kept_views.look(images[::-1], number, padding=1, flip=True)
    assert_array_equal(output, teacher(seen))


def test_eight_devices_are_one():
    jax.tree.map(assert_array_equal, kept_on(8), kept_on(1))

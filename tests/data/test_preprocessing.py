import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import random

from ssdkd_jax.data import augment, normalize, preprocessing, to_uint8, to_unit

random_crop = jax.jit(preprocessing.random_crop, static_argnames="padding")
random_flip = jax.jit(preprocessing.random_flip)
random_resized_crop = jax.jit(preprocessing.random_resized_crop, static_argnames="axis_name")
# Few shapes, since each one is compiled.
shapes = st.sampled_from([(3, 5, 4, 1), (2, 4, 6, 3)])
seeds = st.integers(0, 2**31 - 1)


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


def numbered(shape):
    """An image batch in which every pixel is different and none is zero."""
    return jnp.arange(1, np.prod(shape) + 1, dtype=jnp.float32).reshape(shape)


def shifted(image, rows, columns):
    """NumPy's own idea of a shift: out[i, j] = image[i + rows, j + columns], zero outside."""
    height, width, _ = image.shape
    out = np.zeros_like(image)
    for i in range(height):
        for j in range(width):
            if 0 <= i + rows < height and 0 <= j + columns < width:
                out[i, j] = image[i + rows, j + columns]
    return out


@settings(max_examples=10, deadline=None)
@given(shape=shapes, seed=seeds, padding=st.sampled_from([1, 4]))
def test_a_crop_is_a_shift_within_the_padding(shape, seed, padding):
    images = np.asarray(numbered(shape))
    cropped = np.asarray(random_crop(random.key(seed), images, padding))
    shifts = [(r, c) for r in range(-padding, padding + 1) for c in range(-padding, padding + 1)]
    for before, after in zip(images, cropped, strict=True):
        assert any(np.array_equal(after, shifted(before, *shift)) for shift in shifts)


def test_crops_reach_every_shift_about_equally_often():
    image = np.zeros((5, 5, 1), np.uint8)
    image[2, 2] = 1
    cropped = random_crop(random.key(0), jnp.tile(image, (9000, 1, 1, 1)), 1)
    assert cropped.dtype == jnp.uint8
    hits = np.asarray(cropped, np.int32).sum(0)[..., 0]
    assert hits.sum() == 9000
    assert (abs(hits[1:4, 1:4] - 1000) < 150).all()


@settings(max_examples=10, deadline=None)
@given(shape=shapes, seed=seeds)
def test_a_flip_is_its_own_inverse(shape, seed):
    images = numbered(shape)
    once = random_flip(random.key(seed), images)
    chex.assert_trees_all_equal(random_flip(random.key(seed), once), images)
    for before, after in zip(np.asarray(images), np.asarray(once), strict=True):
        assert np.array_equal(after, before) or np.array_equal(after, before[:, ::-1])


def test_half_of_the_images_are_flipped():
    images = jnp.tile(numbered((1, 1, 2, 1)), (2000, 1, 1, 1))
    flipped = random_flip(random.key(0), images)[:, 0, 0, 0] == 2
    assert abs(float(flipped.mean()) - 0.5) < 0.05


def test_nothing_to_do_is_the_identity_without_work():
    images = numbered((2, 4, 4, 1))
    assert augment(random.key(0), images, padding=0, flip=False) is images
    jaxpr = jax.make_jaxpr(lambda key, x: augment(key, x, padding=0, flip=False))(random.key(0), images)
    assert not jaxpr.eqns


def test_the_gradient_of_the_sum_is_one_where_a_pixel_stays_visible():
    images = numbered((8, 6, 6, 2))
    key = random.key(3)
    gradient = jax.grad(lambda x: augment(key, x, padding=4, flip=True).sum())(images)
    visible = np.isin(np.asarray(images), np.asarray(augment(key, images, padding=4, flip=True)))
    np.testing.assert_array_equal(np.asarray(gradient), visible.astype(np.float32))


@pytest.mark.parametrize(("padding", "flip"), [(2, True), (2, False), (0, True)])
def test_eight_devices_augment_as_one(padding, flip):
    images = numbered((16, 6, 6, 1))
    key = random.key(7)
    one = jax.jit(lambda k, x: augment(k, x, padding=padding, flip=flip))(key, images)
    eight = jax.pmap(
        lambda k, x: augment(k, x, padding=padding, flip=flip, axis_name="devices"),
        axis_name="devices",
        in_axes=(None, 0),
    )(key, images.reshape(8, 2, 6, 6, 1))
    chex.assert_trees_all_equal(eight.reshape(images.shape), one)


@settings(deadline=None, max_examples=10)
@given(seed=seeds, least_area=st.floats(0.1, 1.0))
def test_a_resized_crop_of_a_ramp_is_a_window_of_it(seed, least_area):
    """A ramp stays one, within its range, over at least the least window's side; rows and columns alike."""
    ramp = jnp.tile(jnp.linspace(0.0, 1.0, 16)[:, None], (1, 16))
    least_side = np.sqrt(least_area * 3 / 4)
    for axis, image in ((1, ramp), (2, ramp.T)):
        images = jnp.tile(image[None, :, :, None], (4, 1, 1, 1))
        cropped = np.asarray(random_resized_crop(random.key(seed), images, least_area))
        assert cropped.shape == (4, 16, 16, 1)
        assert cropped.min() >= -1e-5 and cropped.max() <= 1 + 1e-5
        assert np.diff(cropped, axis=axis).min() >= -1e-5
        assert (np.ptp(cropped, axis=axis) >= least_side - 2 / 15).all()


def test_resized_crops_differ_and_follow_their_key():
    images = random.uniform(random.key(0), (6, 16, 16, 2))
    cropped = random_resized_crop(random.key(1), images, 0.25)
    assert len(np.unique(np.asarray(cropped).round(4).reshape(6, -1), axis=0)) == 6
    assert not np.allclose(cropped, images, atol=1e-2)
    same = random_resized_crop(random.key(1), images, 0.25)
    np.testing.assert_array_equal(cropped, same)


def test_eight_devices_crop_and_resize_as_one():
    images = random.uniform(random.key(0), (16, 8, 8, 1))
    one = random_resized_crop(random.key(1), images, 0.25)
    eight = jax.pmap(lambda x: random_resized_crop(random.key(1), x, 0.25, axis_name="devices"), axis_name="devices")(
        images.reshape(8, 2, 8, 8, 1)
    )
    np.testing.assert_allclose(eight.reshape(images.shape), one, atol=1e-5)

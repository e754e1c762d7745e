"""The convolution with loop-friendly gradients against XLA's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from ssdkd_jax.models import convolution as loop_friendly
from ssdkd_jax.models import loop_friendly_conv_general_dilated as convolution

NHWC = ("NHWC", "HWIO", "NHWC")


def values_and_gradients(function, x, kernel, *args, **kwargs):
    def weighted_sum(x, kernel):
        y = function(x, kernel, *args, **kwargs)
        weights = jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape)
        return jnp.sum(y.astype(jnp.float32) * weights), y

    # Compiled as one program, in place of two dozen small ones.
    (_, y), gradients = jax.jit(jax.value_and_grad(weighted_sum, argnums=(0, 1), has_aux=True))(x, kernel)
    return y, *gradients


def inputs(shape, kernel_shape, dtype=jnp.float32):
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.standard_normal(shape), dtype), jnp.asarray(rng.standard_normal(kernel_shape), dtype)


def assert_same(x, kernel, *args, tolerance=1e-4, **kwargs):
    ours = values_and_gradients(convolution, x, kernel, *args, **kwargs)
    theirs = values_and_gradients(lax.conv_general_dilated, x, kernel, *args, **kwargs)
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())


@pytest.mark.parametrize(
    ("image", "size", "strides", "padding"),
    [
        ((8, 8), 3, (1, 1), [(1, 1), (1, 1)]),
        ((8, 8), 3, (2, 2), [(1, 1), (1, 1)]),
        ((7, 10), 3, (2, 2), [(1, 1), (1, 1)]),
        ((7, 10), 3, (1, 2), [(0, 2), (1, 0)]),
        ((7, 10), 3, (2, 2), "SAME"),
        ((8, 8), 3, (2, 2), "VALID"),
        ((8, 8), 1, (1, 1), [(0, 0), (0, 0)]),
        ((8, 8), 1, (2, 2), [(0, 0), (0, 0)]),
        ((7, 10), 1, (2, 2), [(1, 1), (1, 1)]),
    ],
    ids=str,
)
def test_values_and_gradients_equal_those_of_lax(image, size, strides, padding):
    x, kernel = inputs((3, *image, 4), (size, size, 4, 5))
    assert_same(x, kernel, strides, padding, dimension_numbers=NHWC)


@pytest.mark.parametrize(
    ("channels", "strides", "padding", "dilation"),
    [
        (1, (1, 1), [(2, 2), (2, 2)], (2, 2)),
        (1, (2, 1), [(3, 1), (0, 4)], (3, 2)),
        (1, (1, 1), "SAME", (2, 3)),
        # A pyramid's rate larger than the map: only the middle of the kernel sees anything.
        (1, (1, 1), [(12, 12), (12, 12)], (12, 12)),
        (4, (1, 1), [(2, 2), (2, 2)], (2, 2)),
        (4, (2, 1), "SAME", (2, 3)),
    ],
    ids=str,
)
def test_dilated_values_and_gradients_equal_those_of_lax(channels, strides, padding, dilation):
    """Plain ones of one group, and depthwise ones of four."""
    x, kernel = inputs((3, 7, 10, 4), (3, 3, 4, 5) if channels == 1 else (3, 3, 1, 4))
    kwargs = {"rhs_dilation": dilation, "feature_group_count": channels, "dimension_numbers": NHWC}
    assert_same(x, kernel, strides, padding, **kwargs)


@pytest.mark.parametrize(
    ("count", "image", "size", "strides", "padding", "dilation"),
    [
        (3, (5, 8), (3, 3), (1, 1), "SAME", (1, 1)),
        (8, (5, 8), (3, 3), (1, 1), [(1, 1), (1, 1)], (1, 1)),  # in parts
        (6, (7, 9), (3, 3), (2, 1), [(0, 2), (2, 0)], (1, 1)),
        (3, (7, 9), (5, 2), (2, 3), "VALID", (1, 1)),
        (3, (7, 9), (3, 3), (1, 1), [(3, 0), (-1, 4)], (1, 1)),
        (3, (9, 9), (3, 3), (2, 2), [(2, 2), (2, 2)], (2, 2)),
        (3, (7, 8), (1, 1), (2, 2), [(0, 0), (0, 0)], (1, 1)),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_gradients_of_large_kernels_equal_those_of_lax(
    monkeypatch, count, image, size, strides, padding, dilation, dtype
):
    monkeypatch.setattr(loop_friendly, "LARGE", 0)
    monkeypatch.setattr(loop_friendly, "CACHED", 1000)
    x, kernel = inputs((count, *image, 8), (*size, 8, 6), dtype)
    options = {"rhs_dilation": dilation, "dimension_numbers": NHWC}
    assert_same(x, kernel, strides, padding, tolerance=0.02 if dtype == jnp.bfloat16 else 1e-4, **options)
    gradient = jax.grad(lambda kernel: jnp.sum(convolution(x, kernel, strides, padding, **options)))
    assert "dot_general[" in str(jax.make_jaxpr(gradient)(kernel))


def test_large_kernels_are_those_of_much_work_and_many_channels():
    def is_product(shape, kernel_shape):
        x, kernel = jnp.zeros(shape), jnp.zeros(kernel_shape)
        gradient = jax.grad(lambda kernel: jnp.sum(convolution(x, kernel, (1, 1), "SAME", dimension_numbers=NHWC)))
        return "dot_general[" in str(jax.make_jaxpr(gradient)(kernel))

    assert is_product((32, 32, 32, 16), (3, 3, 16, 16))
    assert not is_product((31, 32, 32, 16), (3, 3, 16, 16))
    assert not is_product((32, 64, 64, 3), (3, 3, 3, 64))


@pytest.mark.parametrize(
    ("channels", "image", "size", "padding", "columns"),
    [
        ((16, 16), (5, 8), (3, 3), [(1, 1), (1, 1)], 2),
        ((3, 16), (5, 8), (3, 3), [(1, 1), (1, 1)], 4),
        ((16, 3), (4, 8), (3, 3), "SAME", 8),
        ((8, 8), (6, 8), (2, 5), [(0, 2), (3, 1)], 4),
        ((16, 3), (5, 8), (3, 3), "VALID", 2),
        ((16, 16), (5, 7), (3, 3), "SAME", 1),
        ((16, 16), (5, 8), (3, 1), "VALID", 1),
        ((32, 16), (5, 8), (3, 3), "SAME", 1),
        ((4, 8), (5, 8), (3, 3), [(3, 0), (-1, 3)], 8),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_few_channels_are_computed_several_columns_at_once(channels, image, size, padding, columns, dtype):
    x, kernel = inputs((2, *image, channels[0]), (*size, *channels), dtype)
    tolerance = 0.02 if dtype == jnp.bfloat16 else 1e-4
    assert_same(x, kernel, (1, 1), padding, tolerance=tolerance, dimension_numbers=NHWC)
    values = jax.make_jaxpr(lambda x: convolution(x, kernel, (1, 1), padding, dimension_numbers=NHWC))(x)
    assert f"window_strides=(1, {columns})" in str(values)


def test_and_so_are_the_images_gradients():
    x, kernel = inputs((2, 5, 8, 8), (3, 3, 8, 16))
    gradient = jax.grad(lambda x: jnp.sum(convolution(x, kernel, (1, 1), "SAME", dimension_numbers=NHWC)))
    program = str(jax.make_jaxpr(gradient)(x))
    assert "window_strides=(1, 2)" in program and "window_strides=(1, 4)" in program


@pytest.mark.parametrize(("channels", "strides"), [(16, (1, 1)), (32, (1, 1)), (16, (2, 2))])
def test_second_derivatives(channels, strides):
    x, kernel = inputs((2, 4, 8, channels), (3, 3, channels, 16))

    def of(function):
        def value(x, kernel):
            return jnp.sum(jnp.sin(function(x, kernel, strides, "SAME", dimension_numbers=NHWC)))

        def slope(x, kernel):
            return sum(jnp.sum(jnp.square(gradient)) for gradient in jax.grad(value, argnums=(0, 1))(x, kernel))

        return jax.jit(jax.grad(slope, argnums=(0, 1)))(x, kernel)

    for ours, theirs in zip(of(convolution), of(lax.conv_general_dilated), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())


def test_no_images():
    x, kernel = inputs((0, 5, 8, 16), (3, 3, 16, 16))
    assert convolution(x, kernel, (1, 1), "SAME", dimension_numbers=NHWC).shape == (0, 5, 8, 16)


def test_stride_that_leaves_pixels_out():
    """(9 - 2) is not divisible by 3: no window reaches the last row, whose gradient is zero."""
    x, kernel = inputs((2, 9, 9, 3), (2, 2, 3, 4))
    assert_same(x, kernel, (3, 3), [(0, 0), (0, 0)], dimension_numbers=NHWC)
    _, gradient, _ = values_and_gradients(convolution, x, kernel, (3, 3), [(0, 0), (0, 0)], dimension_numbers=NHWC)
    assert not np.any(gradient[:, -1])


@pytest.mark.parametrize(
    ("image", "size", "strides", "padding"),
    [
        ((8, 8), 3, (1, 1), [(1, 1), (1, 1)]),
        ((8, 8), 3, (2, 2), [(1, 1), (1, 1)]),
        ((7, 10), 3, (2, 2), [(1, 1), (1, 1)]),
        ((7, 10), 3, (1, 2), [(0, 2), (1, 0)]),
        ((7, 10), 5, (2, 2), "SAME"),
        ((8, 9), 3, (3, 2), "VALID"),
        ((5, 5), 1, (2, 2), [(0, 0), (0, 0)]),
        ((4, 4), 4, (1, 1), [(0, 0), (0, 0)]),
    ],
    ids=str,
)
def test_depthwise_values_and_gradients_equal_those_of_lax(image, size, strides, padding):
    x, kernel = inputs((3, *image, 6), (size, size, 1, 6))
    assert_same(x, kernel, strides, padding, dimension_numbers=NHWC, feature_group_count=6)


def test_depthwise_contains_no_convolution():
    """Whose gradients would be slow in loops."""
    x, kernel = inputs((2, 8, 8, 4), (3, 3, 1, 4))

    def gradients(x, kernel):
        return values_and_gradients(
            convolution, x, kernel, (2, 2), "SAME", dimension_numbers=NHWC, feature_group_count=4
        )

    assert "conv_general_dilated" not in str(jax.make_jaxpr(gradients)(x, kernel))


@pytest.mark.parametrize("groups", [1, 4])
def test_bfloat16(groups):
    x, kernel = inputs((2, 8, 8, 4), (3, 3, 4 // groups, 4), jnp.bfloat16)
    options = {"dimension_numbers": NHWC, "feature_group_count": groups}
    assert_same(x, kernel, (2, 2), [(1, 1), (1, 1)], tolerance=0.02, **options)


@pytest.mark.parametrize(
    ("shape", "kernel_shape", "options"),
    [
        ((2, 8, 8, 4), (3, 3, 2, 4), {"dimension_numbers": NHWC, "feature_group_count": 2}),
        ((2, 8, 8, 4), (3, 3, 1, 8), {"dimension_numbers": NHWC, "feature_group_count": 4}),
        ((2, 8, 8, 4), (3, 3, 4, 5), {"dimension_numbers": NHWC, "lhs_dilation": (2, 2)}),
        ((2, 4, 8, 8), (5, 4, 3, 3), {}),
    ],
    ids=["grouped", "two outputs per channel", "dilated images", "NCHW"],
)
def test_other_convolutions_go_to_lax(shape, kernel_shape, options):
    x, kernel = inputs(shape, kernel_shape)
    assert_same(x, kernel, (1, 1), [(1, 1), (1, 1)], **options)


@pytest.mark.parametrize("groups", [1, 3])
def test_inside_scan_jit_and_vmap(groups):
    x, kernel = inputs((2, 4, 6, 6, 3), (3, 3, 3 // groups, 3))
    options = {"dimension_numbers": NHWC, "feature_group_count": groups}

    def descend(function):
        def step(kernel, x):
            def loss(kernel):
                per_image = jax.vmap(lambda one: function(one[None], kernel, (2, 2), "SAME", **options))
                return jnp.sum(jnp.square(per_image(x)))

            return kernel - 1e-3 * jax.grad(loss)(kernel), None

        return jax.jit(lambda kernel: lax.scan(step, kernel, x)[0])(kernel)

    np.testing.assert_allclose(descend(convolution), descend(lax.conv_general_dilated), rtol=1e-4, atol=1e-5)

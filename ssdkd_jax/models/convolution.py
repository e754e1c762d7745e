"""A convolution whose gradients stay fast inside loops on XLA:CPU.

The gradients that JAX derives for a convolution have dimension numbers for which XLA:CPU has no fast path inside `scan`
and `while_loop` bodies, where they run 25-100 times slower than outside (jax-ml/jax#12868).  Here both gradients are
spelled as ordinary NHWC/HWIO convolutions between explicit transposes, so that one scanned epoch serves every platform.
Depthwise convolutions, whose gradients are slower still, become sums of products; the kernel's gradient of a large
convolution becomes a few matrix products; where channels are few, several pixels of a row are computed at once.
Accelerators need none of this: leave `conv_general_dilated=None` there.
"""

import functools
import operator
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

NHWC = lax.ConvDimensionNumbers((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))
# From so many multiplications for each of the kernel's pixels and so many input channels on, matrix products are the
# faster gradient of a kernel; so many numbers that they multiply stay in a core's cache.
LARGE, MANY_CHANNELS, CACHED = 2**23, 8, 100_000
# From 2 to so many input channels, copying what a pixel sees takes longer than multiplying it; with one it is fast.
FEW_CHANNELS = 16


def loop_friendly_conv_general_dilated(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: lax.ConvGeneralDilatedDimensionNumbers = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: lax.PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
) -> jax.Array:
    """Drop-in for `lax.conv_general_dilated`, as `nn.Conv(conv_general_dilated=...)` calls it.

    Two-dimensional NHWC/HWIO convolutions, plain or depthwise (as many groups, input channels and output channels),
    also with dilated kernels, are computed as this module describes; all others (other groups, dilated images, other
    layouts) go to `lax.conv_general_dilated` unchanged.  Values are the same either way, up to rounding; where
    a pixel is infinite or NaN, more of its row than with `lax` can be NaN.  Reverse-mode derivatives of any order work;
    forward-mode ones (`jax.jvp`) do not, as for every `jax.custom_vjp`.

    Args:
      lhs: images (n, h, w, c), any floating dtype.
      rhs: kernel (kh, kw, c, o) of the same dtype; (kh, kw, 1, c) where depthwise.
      window_strides, padding, ...: as in `lax.conv_general_dilated`.

    Returns:
      (n, h', w', o) of the dtype of `lhs`.
    """
    dilated = any(d != 1 for d in lhs_dilation or ())
    nhwc = lhs.ndim == 4 and _is_nhwc(lhs, rhs, dimension_numbers)
    one_dtype = lhs.dtype == rhs.dtype and preferred_element_type in (None, lhs.dtype)
    depthwise = nhwc and feature_group_count == lhs.shape[-1] == rhs.shape[-1] > 1
    grouped = not depthwise and feature_group_count != 1
    if dilated or grouped or batch_group_count != 1 or not nhwc or not one_dtype:
        return lax.conv_general_dilated(
            lhs,
            rhs,
            window_strides,
            padding,
            lhs_dilation,
            rhs_dilation,
            dimension_numbers,
            feature_group_count,
            batch_group_count,
            precision,
            preferred_element_type,
        )
    strides, dilation = tuple(window_strides), tuple(rhs_dilation or (1, 1))
    if isinstance(padding, str):
        reach = [_reach(size, d) for size, d in zip(rhs.shape[:2], dilation, strict=True)]
        padding = lax.padtype_to_pads(lhs.shape[1:3], reach, strides, padding)
    padding = tuple((int(low), int(high)) for low, high in padding)
    if depthwise:
        return _depthwise(lhs, rhs, strides, padding, dilation)
    return _convolution(lhs, rhs, strides, padding, dilation, precision)


def _reach(size, dilation):
    """Pixels from the first to the last of a kernel's."""
    return (size - 1) * dilation + 1


def _padded(images, padding):
    return lax.pad(images, jnp.zeros((), images.dtype), [(0, 0, 0), *((*p, 0) for p in padding), (0, 0, 0)])


def _is_nhwc(lhs, rhs, dimension_numbers):
    # None means NCHW/OIHW to lax.
    return lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers) == NHWC


def _depthwise(images, kernel, strides, padding, dilation):
    """Sums over the kernel's positions the shifted, strided images times that position's weight of each channel."""
    padded = _padded(images, padding)
    # Sums in float32 where the images have less, as convolutions do.
    padded, weights = (x.astype(jnp.promote_types(x.dtype, jnp.float32)) for x in (padded, kernel[:, :, 0]))
    rows, columns = (padded.shape[1 + axis] - _reach(kernel.shape[axis], dilation[axis]) + 1 for axis in (0, 1))

    def product(row, column):
        top, left = row * dilation[0], column * dilation[1]
        return padded[:, top : top + rows : strides[0], left : left + columns : strides[1]] * weights[row, column]

    products = (product(row, column) for row in range(kernel.shape[0]) for column in range(kernel.shape[1]))
    return functools.reduce(operator.add, products).astype(images.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4, 5))
def _convolution(images, kernel, strides, padding, dilation, precision):
    return _convolve(images, kernel, strides, padding, (1, 1), dilation, precision)


def _forward(images, kernel, strides, padding, dilation, precision):
    return _convolution(images, kernel, strides, padding, dilation, precision), (images, kernel)


def _backward(strides, padding, dilation, precision, residuals, gradient):
    images, kernel = residuals
    return (
        _images_gradient(images, kernel, gradient, strides, padding, dilation, precision),
        _kernel_gradient(images, kernel, gradient, strides, padding, dilation, precision),
    )


_convolution.defvjp(_forward, _backward)


def _images_gradient(images, kernel, gradient, strides, padding, dilation, precision):
    """The output's gradient, spread out by the stride, convolved with the flipped kernel, in and out swapped."""
    flipped = jnp.swapaxes(kernel[::-1, ::-1], 2, 3)
    padding_back = []
    for axis in (0, 1):
        spread = (gradient.shape[1 + axis] - 1) * strides[axis] + 1
        reach = _reach(kernel.shape[axis], dilation[axis])
        low = reach - 1 - padding[axis][0]
        # Chosen for an output of the images' size; rows that no window reached get zeros this way.
        high = images.shape[1 + axis] + reach - 1 - spread - low
        padding_back.append((low, high))
    return _convolve(gradient, flipped, (1, 1), padding_back, strides, dilation, precision)


def _convolve(images, kernel, strides, padding, spread, dilation, precision):
    """A convolution of images that are spread out by zeros with a dilated kernel."""
    columns = 1
    if strides == spread == dilation == (1, 1):
        columns = _columns_at_once(kernel.shape, images.shape[2] + sum(padding[1]) - kernel.shape[1] + 1)
    found = lax.conv_general_dilated(
        images,
        _for_columns(kernel, columns),
        (strides[0], strides[1] * columns),
        padding,
        lhs_dilation=spread,
        rhs_dilation=dilation,
        dimension_numbers=NHWC,
        precision=precision,
    )
    count, rows, groups, _ = found.shape
    return found.reshape(count, rows, groups * columns, kernel.shape[3])


def _columns_at_once(kernel_shape, width):
    """How many neighboring pixels of a row to compute at once: 1, or 2, 4 or 8 with few channels together.

    That pays where each would copy most of what its neighbor has copied, and more so the fewer the input channels.
    """
    _, reach, inputs, outputs = kernel_shape
    if reach < 3 or not 1 < inputs <= FEW_CHANNELS:
        return 1
    columns, together = 1, 64 if inputs <= 4 else 32
    while columns < 8 and 2 * columns * outputs <= together and width % (2 * columns) == 0:
        columns *= 2
    return columns


def _for_columns(kernel, columns):
    """The kernel of several columns of the output, which are its channels: (kh, kw + columns - 1, c, columns * o)."""
    if columns == 1:
        return kernel
    shifted = [jnp.pad(kernel, ((0, 0), (i, columns - 1 - i), (0, 0), (0, 0))) for i in range(columns)]
    return jnp.concatenate(shifted, axis=-1)


def _kernel_gradient(images, kernel, gradient, strides, padding, dilation, precision):
    multiplications = images.shape[-1] * gradient.size
    if multiplications >= LARGE and images.shape[-1] >= MANY_CHANNELS:
        return _kernel_gradient_as_products(images, kernel.shape, gradient, strides, padding, dilation, precision)
    return _kernel_gradient_as_convolution(images, kernel, gradient, strides, padding, dilation, precision)


def _kernel_gradient_as_products(images, shape, gradient, strides, padding, dilation, precision):
    """One matrix product a row of the kernel: the output's gradient times what each of its pixels saw of that row."""
    rows, columns, inputs, outputs = shape
    parts, numbers = 1, columns * inputs * gradient[..., 0].size
    while len(images) % (2 * parts) == 0 and numbers >= 2 * parts * CACHED:
        parts *= 2
    sums = jnp.promote_types(images.dtype, jnp.float32)
    over_pixels = (((0,), (0,)), ((), ()))

    def add(total, part):
        images, gradient = part
        pixels = gradient.reshape(-1, outputs)
        products = [
            lax.dot_general(pixels, row, over_pixels, precision=precision, preferred_element_type=sums)
            for row in _seen_by_row(images, shape, gradient.shape[1:3], strides, padding, dilation)
        ]
        return total + jnp.stack(products), None

    split = tuple(x.reshape(parts, -1, *x.shape[1:]) for x in (images, gradient))
    total, _ = lax.scan(add, jnp.zeros((rows, outputs, columns * inputs), sums), split)
    return jnp.transpose(total.reshape(rows, outputs, columns, inputs), (0, 2, 3, 1)).astype(images.dtype)


def _seen_by_row(images, shape, output_size, strides, padding, dilation):
    """For each row of the kernel, what the output's pixels saw through it: (pixels, columns * channels)."""
    padded = _padded(images, padding)

    def seen(x, axis, position):
        start = position * dilation[axis]
        return lax.slice_in_dim(
            x, start, start + _reach(output_size[axis], strides[axis]), strides[axis], axis=axis + 1
        )

    beside = jnp.concatenate([seen(padded, 1, column) for column in range(shape[1])], axis=-1)
    return [seen(beside, 0, row).reshape(-1, beside.shape[-1]) for row in range(shape[0])]


def _kernel_gradient_as_convolution(images, kernel, gradient, strides, padding, dilation, precision):
    """Images with channels as batch, convolved with the output's gradient as a kernel dilated by the stride."""
    padding_back = []
    for axis in (0, 1):
        spread = (gradient.shape[1 + axis] - 1) * strides[axis] + 1
        low = padding[axis][0]
        # Chosen for an output of the kernel's size; negative where the last rows fit no window.
        high = _reach(kernel.shape[axis], dilation[axis]) + spread - 1 - images.shape[1 + axis] - low
        padding_back.append((low, high))
    channels_as_batch = jnp.transpose(images, (3, 1, 2, 0))
    batch_as_channels = jnp.transpose(gradient, (1, 2, 0, 3))
    by_channel = lax.conv_general_dilated(
        channels_as_batch,
        batch_as_channels,
        dilation,
        padding_back,
        rhs_dilation=strides,
        dimension_numbers=NHWC,
        precision=precision,
    )
    return jnp.transpose(by_channel, (1, 2, 0, 3))

"""What may be given to the functions that make networks: counts, and dtypes to compute in."""

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from ssdkd_jax.errors import UserError


def check_counts(**counts: int) -> None:
    """Raises UserError, naming it, where one of these is no positive integer."""
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise UserError(f"{name} is {value!r}, expected an integer of 1 or more")


def check_dtypes(**dtypes: DTypeLike | None) -> None:
    """Raises UserError, naming it, where one of these is no floating dtype; None, that of what comes in, is one."""
    for name, dtype in dtypes.items():
        try:
            floating = dtype is None or jnp.issubdtype(jnp.dtype(dtype), jnp.floating)
        except (TypeError, ValueError):
            floating = False
        if not floating:
            raise UserError(f"{name} is {dtype!r}, expected a floating dtype such as 'float32' or 'bfloat16'")


def check_image_shape(image_shape: tuple[int, int, int]) -> None:
    """Raises UserError where this is no (height, width, channels)."""
    numbers = image_shape if isinstance(image_shape, tuple | list) else ()
    if len(numbers) != 3 or not all(isinstance(number, int | np.integer) for number in numbers):
        raise UserError(f"image_shape is {image_shape!r}, expected three integers: (height, width, channels)")

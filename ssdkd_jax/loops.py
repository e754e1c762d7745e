"""The loop of every compiled program."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def repeat(step: Callable, carry: Any, key: jax.Array, steps: int | jax.Array) -> tuple[Any, dict]:
    """Takes a number of steps in one loop on the device.

    Args:
      step: (carry, key) -> (carry, metrics), pure; metrics are float32 scalars by name.
      carry: pytree of arrays before the first step.
      key: PRNG key; step i gets `fold_in(key, i)`.
      steps: how many; may be traced, so that 0 steps and 400 are the same compiled program.

    Returns:
      (carry after the last step, metrics averaged over the steps; zeros after no step).
    """
    step = jax.jit(step, inline=True)  # which is traced once, and not again within the loop
    shapes = jax.eval_shape(step, carry, key)[1]
    sums = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

    def body(i, carry_and_sums):
        carry, sums = carry_and_sums
        carry, metrics = step(carry, jax.random.fold_in(key, i))
        return carry, jax.tree.map(jnp.add, sums, metrics)

    carry, sums = jax.lax.fori_loop(0, steps, body, (carry, sums))
    return carry, jax.tree.map(lambda x: x / jnp.maximum(steps, 1), sums)

"""Student KD: one step on a batch of images."""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from ssdkd_jax.train_state import TrainState, training_step


def distill_step(
    state: TrainState, images, importance_weights, teacher_output, *,
    apply_student: Callable, kl: Callable, temperature, optimizer, axis_name=None,
):  # fmt: skip
    """One step of student KD: minimizes `mean(w * T^2 * KL(softmax(t/T) || softmax(s/T)))`.

    Args:
      state: TrainState.
      images: (n, h, w, c) augmented and normalized, this device's part of the batch, like the next two.
      importance_weights: (n,) float.
      teacher_output: the frozen teacher's output on `images`.
      apply_student: (variables, images) -> (output, new batch_stats), in training mode.
      kl: (teacher_output, student_output, temperature) -> (n,), see `tasks.Task.kl`.
      temperature: T.
      optimizer: an optax optimizer.
      axis_name: the pmapped axis.

    Returns:
      (new TrainState, loss of the whole batch, divergence (n,) per sample at T = 1 before the step).
    """
    chex.assert_shape(importance_weights, (images.shape[0],))
    teacher_output = jax.lax.stop_gradient(teacher_output)

    def loss_function(variables):
        output, batch_stats = apply_student(variables, images)
        loss = jnp.mean(importance_weights * kl(teacher_output, output, temperature))
        return loss, (batch_stats, kl(teacher_output, output, 1.0))

    return training_step(state, loss_function, optimizer, axis_name=axis_name)

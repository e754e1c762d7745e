"""Student KD: one step on a batch of images."""

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from ssdkd_jax.collectives import pmean


class StudentState(NamedTuple):
    """A network in training.

    params, batch_stats: its variables.
    optimizer_state: of its optax optimiser.
    """

    params: dict
    batch_stats: dict
    optimizer_state: optax.OptState

    @property
    def variables(self):
        """What `model.apply` takes."""
        return {"params": self.params, "batch_stats": self.batch_stats}


def init_student(variables, optimizer):
    """StudentState from a network's fresh variables."""
    params = variables["params"]
    return StudentState(params, variables.get("batch_stats", {}), optimizer.init(params))


def sgd(learning_rate, *, momentum=0.9, weight_decay=0.0, nesterov=False):
    """SGD as PyTorch has it: weight decay is added to the gradient of every parameter, before the momentum.

    Args:
      learning_rate: a number or an optax schedule.
    """
    return optax.chain(
        optax.add_decayed_weights(weight_decay), optax.sgd(learning_rate, momentum=momentum, nesterov=nesterov)
    )


def training_step(state: StudentState, loss_function: Callable, optimizer, *, axis_name=None):
    """One optimiser step of a network in training mode.

    Args:
      state: StudentState.
      loss_function: (variables) -> (loss, (new batch_stats, anything)), this device's loss.
      optimizer: an optax optimiser.
      axis_name: the pmapped axis; the gradient is that of the loss' mean over it.

    Returns:
      (new StudentState, loss averaged over the devices, anything).
    """

    def loss_of(params):
        return loss_function({"params": params, "batch_stats": state.batch_stats})

    (loss, (batch_stats, auxiliary)), gradient = jax.value_and_grad(loss_of, has_aux=True)(state.params)
    loss, gradient = pmean((loss, gradient), axis_name)
    update, optimizer_state = optimizer.update(gradient, state.optimizer_state, state.params)
    new_state = StudentState(optax.apply_updates(state.params, update), batch_stats, optimizer_state)
    return new_state, loss, auxiliary


def distill_step(
    state: StudentState, images, importance_weights, teacher_output, *,
    apply_student: Callable, kl: Callable, temperature, optimizer, axis_name=None,
):  # fmt: skip
    """One step of student KD: minimises `mean(w * T^2 * KL(softmax(t/T) || softmax(s/T)))`.

    Args:
      state: StudentState.
      images: (n, h, w, c) augmented and normalised, this device's part of the batch, like the next two.
      importance_weights: (n,) float.
      teacher_output: the frozen teacher's output on `images`.
      apply_student: (variables, images) -> (output, new batch_stats), in training mode.
      kl: (teacher_output, student_output, temperature) -> (n,), see `tasks.Task.kl`.
      temperature: T.
      optimizer: an optax optimiser.
      axis_name: the pmapped axis.

    Returns:
      (new StudentState, loss of the whole batch, divergence (n,) per sample at T = 1 before the step).
    """
    chex.assert_shape(importance_weights, (images.shape[0],))
    teacher_output = jax.lax.stop_gradient(teacher_output)

    def loss_function(variables):
        output, batch_stats = apply_student(variables, images)
        loss = jnp.mean(importance_weights * kl(teacher_output, output, temperature))
        return loss, (batch_stats, kl(teacher_output, output, 1.0))

    return training_step(state, loss_function, optimizer, axis_name=axis_name)

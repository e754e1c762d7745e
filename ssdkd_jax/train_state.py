"""A network in training, and one optimizer step of it; the teacher's, the student's and the baselines' alike."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import optax

from ssdkd_jax.collectives import pmean


class TrainState(NamedTuple):
    """A network in training.

    params, batch_stats: its variables.
    optimizer_state: of its optax optimizer.
    """

    params: dict
    batch_stats: dict
    optimizer_state: optax.OptState

    @property
    def variables(self):
        """What `model.apply` takes."""
        return {"params": self.params, "batch_stats": self.batch_stats}


def apply_training(model, variables, images, **arguments):
    """(output, new batch_stats) of a network in training mode; batch_stats is {} without BatchNorm.

    Args:
      model: Linen module.
      variables: its variables.
      images: (n, h, w, c) normalized.
      arguments: of the module's call.
    """
    output, updated = model.apply(variables, images, train=True, mutable=["batch_stats"], **arguments)
    return output, updated.get("batch_stats", {})


def init_train_state(variables, optimizer):
    """TrainState from a network's fresh variables."""
    params = variables["params"]
    return TrainState(params, variables.get("batch_stats", {}), optimizer.init(params))


def sgd(learning_rate, *, momentum=0.9, weight_decay=0.0, nesterov=False):
    """SGD as PyTorch has it: weight decay is added to the gradient of every parameter, before the momentum.

    Args:
      learning_rate: a number or an optax schedule.
    """
    return optax.chain(
        optax.add_decayed_weights(weight_decay), optax.sgd(learning_rate, momentum=momentum, nesterov=nesterov)
    )


def training_step(state: TrainState, loss_function: Callable, optimizer, *, axis_name=None):
    """One optimizer step of a network in training mode.

    Args:
      state: TrainState.
      loss_function: (variables) -> (loss, (new batch_stats, anything)), this device's loss.
      optimizer: an optax optimizer.
      axis_name: the pmapped axis; the gradient is that of the loss's mean over it.

    Returns:
      (new TrainState, loss averaged over the devices, anything).
    """

    def loss_of(params):
        return loss_function({"params": params, "batch_stats": state.batch_stats})

    (loss, (batch_stats, auxiliary)), gradient = jax.value_and_grad(loss_of, has_aux=True)(state.params)
    loss, gradient = pmean((loss, gradient), axis_name)
    update, optimizer_state = optimizer.update(gradient, state.optimizer_state, state.params)
    new_state = TrainState(optax.apply_updates(state.params, update), batch_stats, optimizer_state)
    return new_state, loss, auxiliary

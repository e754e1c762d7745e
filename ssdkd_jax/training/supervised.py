"""Training on labeled real images: missing teachers, and the baselines that a distilled student is compared with."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from ssdkd_jax import collectives, train_state
from ssdkd_jax.data.preprocessing import augment, normalize, to_unit
from ssdkd_jax.errors import UserError
from ssdkd_jax.training.compilation import CompileOnce, fits, jit_for_one_call
from ssdkd_jax.training.devices import AXIS, check_divisible, gather, pmap, replica, spread
from ssdkd_jax.training.interruption import Interrupted, epochs_under_way
from ssdkd_jax.training.multiprocess import anywhere
from ssdkd_jax.training.progress import Progress


class Recipe(NamedTuple):
    """SGD, crop and flip.

    schedule: of the learning rate: "cosine" to 0, or "steps": times 0.2 at 60, 75 and 90 % of the epochs, which is
      FastDFKD's for its teachers.
    nesterov: Nesterov's momentum in place of the plain one.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float = 0.9
    weight_decay: float = 5e-4
    crop_padding: int = 4
    flip: bool = True
    schedule: str = "cosine"
    nesterov: bool = True

    def fitting(self, images, devices):
        """With a batch of no more than so many images, as many of which as can be divided over so many devices."""
        return self._replace(batch_size=min(self.batch_size, images // devices * devices))

    def optimizer(self, steps_per_epoch):
        """The optax optimizer."""
        steps = self.epochs * steps_per_epoch
        if self.schedule == "steps":
            drops = {round(share * self.epochs) * steps_per_epoch: 0.2 for share in (0.6, 0.75, 0.9)}
            schedule = optax.piecewise_constant_schedule(self.learning_rate, drops)
        else:
            schedule = optax.cosine_decay_schedule(self.learning_rate, steps)
        return train_state.sgd(schedule, momentum=self.momentum, weight_decay=self.weight_decay, nesterov=self.nesterov)


def supervised_epoch(model, task, optimizer, recipe, mean, std, steps, axis_name):
    """One epoch of cross-entropy training as one program: (state, key, images, labels) -> (state, metrics).

    `images` and `labels` of a `data.Dataset` are the whole training set on every device.  Every image comes at most
    once an epoch, in an order drawn from the key; the last incomplete batch is left out.
    """

    def epoch(state, key, images, labels):
        order_key, step_key = jax.random.split(key)
        order = jax.random.permutation(order_key, images.shape[0])[: steps * recipe.batch_size]

        def step(state, batch):
            indices, key = batch
            indices = collectives.local_part(indices, axis_name)
            changes = {"padding": recipe.crop_padding, "flip": recipe.flip, "axis_name": axis_name}
            x = augment(key, to_unit(images[indices]), **changes)
            y = task.augment_labels(key, labels[indices], **changes)

            def loss_function(variables):
                logits, batch_stats = train_state.apply_training(model, variables, normalize(x, mean, std))
                return jnp.mean(task.label_loss(logits, y)), (batch_stats, None)

            state, loss, _ = train_state.training_step(state, loss_function, optimizer, axis_name=axis_name)
            return state, loss

        batches = order.reshape(steps, recipe.batch_size), jax.random.split(step_key, steps)
        state, loss = jax.lax.scan(step, state, batches)
        return state, {"loss": jnp.mean(loss)}

    return epoch


def train(
    model, task, dataset, recipe, mean, std, *, seed, devices, clock, title, checkpoints=None, interruption=False
):
    """Trains a network on real images.

    Args:
      model: Linen module whose BatchNorm averages over the pmapped axis.
      task: tasks.Task.
      dataset: data.Dataset.
      recipe: Recipe; a batch larger than the data set is cut to it.
      mean, std: normalization.
      seed: of initial weights, order and augmentation.
      devices, clock: where, and who takes the compilation's time.
      title: for the progress lines.
      checkpoints: Checkpoints, to resume from and to save to about every tenth of the epochs.
      interruption: becomes true when the work should be saved and stopped.

    Returns:
      variables on the host.

    Raises:
      UserError: the loss is not finite; the training takes more memory than there is.
      Interrupted: on request, after saving.
    """
    recipe = recipe.fitting(len(dataset.images), len(devices))
    check_divisible(devices, batch_size=recipe.batch_size)
    steps = len(dataset.images) // recipe.batch_size
    optimizer = recipe.optimizer(steps)
    key = jax.random.key(seed)
    state, done = _first_state(model, dataset, optimizer, jax.random.fold_in(key, recipe.epochs), checkpoints)
    if anywhere(interruption) and done < recipe.epochs:
        raise Interrupted(f"{title}: stopped before epoch {done + 1} of {recipe.epochs}")

    state, images, labels = spread((state, dataset.images, dataset.labels), devices)
    one_epoch = supervised_epoch(model, task, optimizer, recipe, mean, std, steps, AXIS)
    one_epoch = pmap(one_epoch, devices, in_axes=(0, None, 0, 0), donate_argnums=0)
    smaller = "choose smaller images, or a smaller network"
    epoch_function = CompileOnce(one_epoch, clock, fits(devices, "the training on real images", smaller))
    every = max(1, recipe.epochs // 10)
    with Progress(f"{title}: epoch", recipe.epochs, done) as progress, epochs_under_way():
        for epoch in range(done, recipe.epochs):
            state, metrics = epoch_function(state, jax.random.fold_in(key, epoch), images, labels)
            loss = float(replica(metrics["loss"]))
            if not jnp.isfinite(loss):
                raise UserError(f"{title}: the loss is {loss} in epoch {epoch + 1}; lower the learning rate")
            progress.update(epoch + 1, {"loss": loss})
            stop = anywhere(interruption)
            if checkpoints and (stop or (epoch + 1) % every == 0):
                checkpoints.save(epoch + 1, gather(state), {"epoch": epoch + 1})
            if stop and epoch + 1 < recipe.epochs:
                if checkpoints:
                    checkpoints.wait()
                raise Interrupted(f"{title}: stopped after epoch {epoch + 1} of {recipe.epochs}")
    return gather(state).variables


def _first_state(model, dataset, optimizer, key, checkpoints):
    """(state, epochs done): the newest checkpoint's, or initial weights."""
    variables = jit_for_one_call(model.init)(key, jnp.zeros((1, *dataset.images.shape[1:])))
    state = train_state.init_train_state(variables, optimizer)
    restored = checkpoints.restore(state) if checkpoints else None
    return (restored[0], restored[1]["epoch"]) if restored else (state, 0)

"""Making images from a teacher: one optimization step of latents and generator, and the meta-synthesis around it.

The meta-synthesis is FastDFKD's (Up to 100x Faster Data-free KD, AAAI 2022), which SSD-KD builds upon: a fast copy of a
meta generator and a batch of latents are optimized together for a few steps; then the meta generator follows.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from ssdkd_jax import batchnorm, modulation
from ssdkd_jax.collectives import axis_size, pmean

META_UPDATES = ("fomaml", "reptile", "none")
# Factor of the REPTILE gradient in FastDFKD's public code.
REPTILE_FACTOR = 67.0


class Optimizers(NamedTuple):
    """The three optimizers of a synthesis, all `optax.adam` with betas (0.5, 0.999) in FastDFKD."""

    generator: optax.GradientTransformation
    latents: optax.GradientTransformation
    meta: optax.GradientTransformation


def fastdfkd_optimizers(generator_learning_rate, latent_learning_rate, steps):
    """FastDFKD's optimizers; the meta learning rate is `generator_learning_rate * steps`."""

    def adam(learning_rate):
        return optax.adam(learning_rate, b1=0.5, b2=0.999)

    return Optimizers(adam(generator_learning_rate), adam(latent_learning_rate), adam(generator_learning_rate * steps))


class InversionState(NamedTuple):
    """What one synthesis carries from step to step.

    generator: variables of the fast copy.
    latents: (n, ...) float32, this device's part of the batch.
    optimizer_states: of generator and latents.
    gradient_sum: sum of the generator's gradients so far (FOMAML), with the structure of its parameters.
    best_images: (n, h, w, c) in [0, 1], of the step with the lowest loss so far.
    best_loss: float32 scalar, of the whole batch.
    statistics: the last step's batch statistics in the teacher.
    """

    generator: dict
    latents: jax.Array
    optimizer_states: tuple
    gradient_sum: dict
    best_images: jax.Array
    best_loss: jax.Array
    statistics: dict


class LossWeights(NamedTuple):
    """Weights of the inversion loss `bn*L_BN + oh*mean(phi*L_task) + adv*L_adv`; `adv` may be a traced scalar."""

    bn: float
    oh: float
    adv: float | jax.Array


class Modulation(NamedTuple):
    """SSD-KD's switches, see `modulation.phi` and `modulation.modulating_loss`; `term="none"` is FastDFKD."""

    gamma: float = 1.0
    use_diversity: bool = True
    use_difficulty: bool = True
    term: str = "task"
    through_phi: bool = False


def inversion_loss(
    teacher_output, statistics, student_output, targets, *,
    task, weights, running, average, bn_momentum, class_counts, modulate, masked=True,
):  # fmt: skip
    """The loss that images are optimized for (method: SSD-KD; FastDFKD with `modulate.term == "none"`).

    Args:
      teacher_output: the teacher's output on the augmented, normalized images, this device's part of the batch.
      statistics: their batch statistics in the teacher, of the whole batch (`batchnorm.apply_with_batch_statistics`).
      student_output: the student's, in evaluation mode.
      targets: (n,) int, drawn classes, or None: the teacher's own most likely class.  [our reading: own class]
      task: a `tasks.Task`.
      weights: LossWeights.
      running: the teacher's `batch_stats`.
      average, bn_momentum: running average of earlier batches' statistics, and its share in L_BN (FastDFKD's bn_mmt).
      class_counts: (classes,) of the replay buffer.
      modulate: Modulation.
      masked: whether L_adv counts only samples on which both networks agree.

    Returns:
      (loss, metrics): this device's float32 scalars.
    """
    predicted = task.predicted_class(teacher_output)
    confidence = task.confidence(teacher_output)
    phi = modulation.phi(
        class_counts, predicted, confidence,
        gamma=modulate.gamma, use_diversity=modulate.use_diversity, use_difficulty=modulate.use_difficulty,
    )  # fmt: skip
    task_loss, adversarial_loss = modulation.modulating_loss(
        phi,
        task.task_loss(teacher_output, predicted if targets is None else targets),
        task.adversarial(teacher_output, student_output, masked),
        term=modulate.term,
        through_phi=modulate.through_phi,
    )
    bn_loss = batchnorm.statistics_loss(batchnorm.blend(statistics, average, bn_momentum), running)
    loss = weights.bn * bn_loss + weights.oh * task_loss + weights.adv * adversarial_loss
    metrics = {
        "inversion_loss": loss,
        "bn_loss": bn_loss,
        "task_loss": task_loss,
        "adversarial_loss": adversarial_loss,
        "phi": jnp.mean(phi),
        "teacher_confidence": jnp.mean(confidence),
    }
    return loss, metrics


def begin_synthesis(generator, latents, optimizers, image_shape, statistics):
    """A fast copy of the generator and fresh latents, before the first step.

    Args:
      generator: the meta generator's variables.
      latents: (n, ...) float32, this device's part of the batch.
      optimizers: Optimizers.
      image_shape: (h, w, c).
      statistics: any pytree with the structure of the teacher's `batch_stats`.
    """
    return InversionState(
        generator=generator,
        latents=latents,
        optimizer_states=(optimizers.generator.init(generator["params"]), optimizers.latents.init(latents)),
        gradient_sum=jax.tree.map(jnp.zeros_like, generator["params"]),
        best_images=jnp.zeros((latents.shape[0], *image_shape), jnp.float32),
        best_loss=jnp.float32(jnp.inf),
        statistics=jax.tree.map(jnp.zeros_like, statistics),
    )


def inversion_step(
    state: InversionState, loss_function: Callable, generate: Callable, optimizers: Optimizers, *, axis_name=None
):
    """One optimization step of latents and fast generator.

    Args:
      state: InversionState.
      loss_function: (images (n, h, w, c) in [0, 1]) -> (loss, (statistics, metrics)), this device's values.
      generate: (generator variables, latents) -> (images, new batch_stats).
      optimizers: Optimizers.
      axis_name: the pmapped axis; loss and gradients are those of the whole batch.

    Returns:
      (new InversionState, metrics averaged over the devices).
    """

    def loss_of(params, latents):
        images, batch_stats = generate({**state.generator, "params": params}, latents)
        loss, (statistics, metrics) = loss_function(images)
        return loss, (images, batch_stats, statistics, metrics)

    differentiate = jax.value_and_grad(loss_of, argnums=(0, 1), has_aux=True)
    (loss, (images, batch_stats, statistics, metrics)), (gradient, latent_gradient) = differentiate(
        state.generator["params"], state.latents
    )
    loss, gradient, metrics = pmean((loss, gradient, metrics), axis_name)
    # Latents belong to one device, so their gradient is not averaged; that of the batch mean is 1/devices of the local.
    latent_gradient = latent_gradient / axis_size(axis_name)

    generator_state, latent_state = state.optimizer_states
    update, generator_state = optimizers.generator.update(gradient, generator_state)
    latent_update, latent_state = optimizers.latents.update(latent_gradient, latent_state)
    better = loss < state.best_loss
    new_state = InversionState(
        generator={"params": optax.apply_updates(state.generator["params"], update), "batch_stats": batch_stats},
        latents=optax.apply_updates(state.latents, latent_update),
        optimizer_states=(generator_state, latent_state),
        gradient_sum=jax.tree.map(jnp.add, state.gradient_sum, gradient),
        best_images=jnp.where(better, images, state.best_images),
        best_loss=jnp.where(better, loss, state.best_loss),
        statistics=statistics,
    )
    return new_state, metrics


def meta_update(kind, generator, state: InversionState, optimizer, optimizer_state):
    """The meta generator's step at the end of a synthesis.

    Args:
      kind: "fomaml": the sum of the fast copy's gradients is the gradient; "reptile": `67 * (theta - theta_fast)` is;
        "none": the fast copy becomes the generator ("fast" without the meta step).
      generator: the meta generator's variables.
      state: after the last step.
      optimizer: `Optimizers.meta`.
      optimizer_state: its state.

    Returns:
      (new variables, new optimizer_state).
    """
    if kind not in META_UPDATES:
        raise ValueError(f"kind is {kind!r}, expected one of {', '.join(META_UPDATES)}")
    if kind == "none":
        return state.generator, optimizer_state
    gradient = state.gradient_sum
    if kind == "reptile":
        gradient = jax.tree.map(lambda a, b: REPTILE_FACTOR * (a - b), generator["params"], state.generator["params"])
    update, optimizer_state = optimizer.update(gradient, optimizer_state)
    params = optax.apply_updates(generator["params"], update)
    return {"params": params, "batch_stats": state.generator["batch_stats"]}, optimizer_state


def update_average(average, statistics, momentum, first):
    """FastDFKD's running average of batch statistics, once a synthesis; the first time it is set to the batch's.

    Args:
      average: so far, with the structure of the teacher's `batch_stats`.
      statistics: of the synthesis' last step.
      momentum: share of the old average (bn_mmt).
      first: bool scalar, may be traced.
    """
    blended = batchnorm.blend(statistics, average, momentum)
    return jax.tree.map(lambda new, start: jnp.where(first, start, new), blended, statistics)

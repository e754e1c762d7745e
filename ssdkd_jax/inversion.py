"""Making images from a teacher: one optimization step, and FastDFKD's meta-synthesis around it.

The meta-synthesis (Up to 100x Faster Data-Free KD, AAAI 2022), which SSD-KD builds upon, optimizes a fast copy of a
meta generator together with a batch of latents for a few steps; then the meta generator is updated.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ssdkd_jax import batchnorm
from ssdkd_jax.collectives import axis_size, pmean
from ssdkd_jax.errors import UserError
from ssdkd_jax.loops import repeat

META_UPDATES = ("fomaml", "reptile", "none")
# Factor of the REPTILE gradient in FastDFKD's public code for CIFAR.
REPTILE_FACTOR = 67.0


class Inversion(NamedTuple):
    """State of an ongoing image optimization.

    optimized: {name: pytree of float arrays}, what the optimizers change: "generator", "latents", "pixels", ...
    optimizer_states: {name: state of its optax optimizer}.
    batch_stats: running averages of the generator's BatchNorm layers; {} without a generator.
    best: what the loss function returned as `kept` in the step of the lowest loss so far, such as the images.
    best_loss: float32 scalar, of the whole batch.
    """

    optimized: dict
    optimizer_states: dict
    batch_stats: dict
    best: Any
    best_loss: jax.Array


class StepOutcome(NamedTuple):
    """What a loss function returns next to the loss.

    kept: pytree, kept of the step with the lowest loss: images (n, h, w, c) in [0, 1], and more if a method needs it.
    batch_stats: the generator's new running averages.
    metrics: {name: float32 scalar}, this device's.
    statistics: the batch's statistics in the teacher's BatchNorm layers (`batchnorm`).
    """

    kept: Any
    batch_stats: dict
    metrics: dict
    statistics: Any = ()


def init(optimized: dict, optimizers: dict, kept: Any, batch_stats: dict | None = None) -> Inversion:
    """The Inversion before the first step.

    Args:
      optimized: {name: pytree}, this device's part of what belongs to a batch.
      optimizers: {name: optax optimizer}, with the same names.
      kept: pytree of arrays or shapes like what the loss function will return as `kept`.
      batch_stats: the generator's running averages.
    """
    return Inversion(
        optimized=optimized,
        optimizer_states={name: optimizers[name].init(value) for name, value in optimized.items()},
        batch_stats=batch_stats or {},
        best=jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), kept),
        best_loss=jnp.float32(jnp.inf),
    )


def inversion_step(
    state: Inversion,
    loss_function: Callable,
    optimizers: dict,
    *,
    per_device: tuple[str, ...] = (),
    axis_name: str | None = None,
) -> tuple[Inversion, dict, StepOutcome]:
    """One optimization step of everything that makes a batch of images.

    Args:
      state: Inversion.
      loss_function: (optimized, batch_stats) -> (loss, StepOutcome), this device's values.
      optimizers: {name: optax optimizer}, with the names of `state.optimized`.
      per_device: names of what belongs to this device's part of the batch, such as latents; everything else is the
        same on every device.
      axis_name: the pmapped axis; loss and gradients are those of the whole batch.

    Returns:
      (new Inversion, {name: gradient}, StepOutcome with metrics averaged over the devices).
    """
    (loss, found), gradients = jax.value_and_grad(loss_function, has_aux=True)(state.optimized, state.batch_stats)
    shared = {name: gradient for name, gradient in gradients.items() if name not in per_device}
    loss, shared, metrics = pmean((loss, shared, found.metrics), axis_name)
    # The gradient of the batch's mean is 1/devices of this device's mean.
    own = {name: jax.tree.map(lambda g: g / axis_size(axis_name), gradients[name]) for name in per_device}
    gradients = {name: (own if name in per_device else shared)[name] for name in gradients}

    optimized, optimizer_states = {}, {}
    for name, optimizer in optimizers.items():
        update, optimizer_states[name] = optimizer.update(gradients[name], state.optimizer_states[name])
        optimized[name] = optax.apply_updates(state.optimized[name], update)
    better = loss < state.best_loss
    best, best_loss = jax.tree.map(
        lambda new, old: jnp.where(better, new, old), (found.kept, loss), (state.best, state.best_loss)
    )
    new_state = Inversion(optimized, optimizer_states, found.batch_stats, best, best_loss)
    return new_state, gradients, found._replace(metrics=metrics)


class MetaState(NamedTuple):
    """State carried from one meta-synthesis to the next.

    generator: variables of the meta generator.
    optimizer_state: of the meta generator's optimizer.
    statistics_average: running average of batch statistics (bn_mmt), with the structure of the teacher's `batch_stats`.
    """

    generator: dict
    optimizer_state: optax.OptState
    statistics_average: dict


def check_images(made: Any, shape: tuple[int, ...], method: str) -> None:
    """Raises UserError, while a program is traced, where a user's own method makes no Synthesis of such images."""
    if not isinstance(made, Synthesis):
        raise UserError(
            f"make_images of {method} returns a {type(made).__name__}, expected a ssdkd_jax.inversion.Synthesis"
        )
    found = jnp.shape(made.images), jnp.result_type(made.images)
    if found != (shape, jnp.float32):
        raise UserError(
            f"make_images of {method} returns images {found[0]} of {found[1]}, expected {shape} of float32 in [0, 1]: "
            "as many as synthesis_batch_size says, over all devices"
        )


def share_outside(images: jax.Array) -> jax.Array:
    """Share of pixels that are outside [0, 1], beyond rounding, or no numbers: float32 scalar."""
    return jnp.mean(~((images >= -1e-3) & (images <= 1 + 1e-3)), dtype=jnp.float32)


class Synthesis(NamedTuple):
    """What a synthesis made.

    state: carried to the next one.
    images: (n, h, w, c) float32 in [0, 1], this device's part of the batch.
    metrics: {name: float32 scalar}, averaged over the steps.
    latents: where the optimization left them; () where it has none.
    """

    state: Any
    images: jax.Array
    metrics: dict
    latents: Any = ()


class MetaOptimizers(NamedTuple):
    """FastDFKD's three optimizers: Adam with betas (0.5, 0.999), the meta generator's with lr_g times the steps."""

    generator: optax.GradientTransformation
    latents: optax.GradientTransformation
    meta: optax.GradientTransformation


def meta_optimizers(generator_learning_rate: float, latent_learning_rate: float, steps: int) -> MetaOptimizers:
    """MetaOptimizers for lr_g, lr_z and the number of steps of a synthesis (FastDFKD's public code)."""

    def adam(learning_rate):
        return optax.adam(learning_rate, b1=0.5, b2=0.999)

    return MetaOptimizers(
        adam(generator_learning_rate), adam(latent_learning_rate), adam(generator_learning_rate * steps)
    )


def init_meta(generator: dict, optimizer: optax.GradientTransformation, teacher: dict) -> MetaState:
    """MetaState before the first synthesis, of a fresh generator's and the teacher's variables."""
    return MetaState(
        generator=generator,
        optimizer_state=optimizer.init(generator["params"]),
        statistics_average=jax.tree.map(jnp.zeros_like, teacher["batch_stats"]),
    )


def meta_synthesis(
    state: MetaState,
    latents: jax.Array | None,
    key: jax.Array,
    *,
    loss_function: Callable,
    generate: Callable,
    optimizers: MetaOptimizers,
    steps: int,
    meta_update: str = "fomaml",
    bn_momentum: float = 0.0,
    first: bool | jax.Array = False,
    axis_name: str | None = None,
) -> Synthesis:
    """Makes a batch of images: some inversion steps of the generator's fast copy and of latents, then the meta update.

    Args:
      state: MetaState.
      latents: (n, ...) float32, this device's part of the batch; None where only the generator is optimized.
      key: PRNG key of the steps, the same on every device.
      loss_function: (images (n, h, w, c) in [0, 1], key) -> (loss, statistics, metrics), this device's values;
        `statistics` are the whole batch's in the teacher.
      generate: (generator's variables, latents) -> (images, the generator's variables after it).
      optimizers: MetaOptimizers.
      steps: g_steps.
      meta_update: one of META_UPDATES, see `update_meta_generator`.
      bn_momentum: bn_mmt, share of earlier batches in the average of statistics.
      first: whether no synthesis came before; may be traced.
      axis_name: the pmapped axis.

    Returns:
      Synthesis with the images of the step of the lowest loss.
    """
    optimized, used = {"generator": state.generator["params"]}, {"generator": optimizers.generator}
    if latents is not None:
        optimized["latents"], used["latents"] = latents, optimizers.latents
    per_device = tuple(optimized.keys() - {"generator"})

    def evaluate(key, optimized, batch_stats):
        variables = {"params": optimized["generator"], "batch_stats": batch_stats}
        images, variables = generate(variables, optimized.get("latents"))
        loss, statistics, metrics = loss_function(images, key)
        return loss, StepOutcome(images, variables["batch_stats"], metrics, statistics)

    def step(carry, key):
        inversion, gradient_sum, _ = carry
        inversion, gradients, found = inversion_step(
            inversion, lambda *of: evaluate(key, *of), used, per_device=per_device, axis_name=axis_name
        )
        gradient_sum = jax.tree.map(jnp.add, gradient_sum, gradients["generator"])
        return (inversion, gradient_sum, found.statistics), found.metrics

    images = jax.eval_shape(generate, state.generator, latents)[0]
    carry = (
        init(optimized, used, images, state.generator["batch_stats"]),
        jax.tree.map(jnp.zeros_like, state.generator["params"]),
        jax.tree.map(jnp.zeros_like, state.statistics_average),
    )
    (inversion, gradient_sum, statistics), metrics = repeat(step, carry, key, steps)
    fast = {"params": inversion.optimized["generator"], "batch_stats": inversion.batch_stats}
    generator, optimizer_state = update_meta_generator(
        meta_update, state.generator, fast, gradient_sum, optimizers.meta, state.optimizer_state
    )
    average = update_average(state.statistics_average, statistics, bn_momentum, first)
    new_state = MetaState(generator, optimizer_state, average)
    return Synthesis(new_state, inversion.best, metrics, inversion.optimized.get("latents", ()))


def update_meta_generator(kind, generator, fast, gradient_sum, optimizer, optimizer_state):
    """The meta generator's step at the end of a synthesis.

    Args:
      kind: "fomaml": the sum of the fast copy's gradients is the gradient; "reptile": `67 * (theta - theta_fast)` is;
        "none": the fast copy becomes the generator ("fast" without the meta step).
      generator, fast: variables of the meta generator and of its fast copy after the last step.
      gradient_sum: of all steps, with the structure of the parameters.
      optimizer: of the meta generator.
      optimizer_state: its state.

    Returns:
      (new variables, new optimizer_state).

    Raises:
      ValueError: an unknown kind.
    """
    if kind not in META_UPDATES:
        raise ValueError(f"kind is {kind!r}, expected one of {', '.join(META_UPDATES)}")
    if kind == "none":
        return fast, optimizer_state
    gradient = gradient_sum
    if kind == "reptile":
        gradient = jax.tree.map(lambda a, b: REPTILE_FACTOR * (a - b), generator["params"], fast["params"])
    update, optimizer_state = optimizer.update(gradient, optimizer_state)
    return {**fast, "params": optax.apply_updates(generator["params"], update)}, optimizer_state


def update_average(average, statistics, momentum, first):
    """FastDFKD's running average of batch statistics, once a synthesis; the first time it is set to the batch's.

    Args:
      average: so far, with the structure of the teacher's `batch_stats`.
      statistics: of the synthesis's last step.
      momentum: share of the old average (bn_mmt).
      first: bool scalar, may be traced.
    """
    blended = batchnorm.blend(statistics, average, momentum)
    return jax.tree.map(lambda new, start: jnp.where(first, start, new), blended, statistics)

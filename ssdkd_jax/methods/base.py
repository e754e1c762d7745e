"""What every method consists of, and how its phases become one epoch."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssdkd_jax.data.augmentation import augment
from ssdkd_jax.data.normalization import normalize
from ssdkd_jax.tasks import Task


class Problem(NamedTuple):
    """The networks and the kind of images; the same for every method that is compared.

    teacher, student: Linen modules called as `apply(variables, normalized images, train=...)`.
    generator: Linen module, latents (n, latent_size) to images (n, h, w, c) in [0, 1].
    task: pure functions on the networks' outputs.
    image_shape: (h, w, c).
    num_classes: classes of the teacher.
    mean, std: channel normalization that both networks expect, in the [0, 1] scale.
    crop_padding, flip: augmentation of the images that the networks see.
    axis_name: the pmapped axis or None.
    """

    teacher: nn.Module
    student: nn.Module
    generator: nn.Module
    task: Task
    image_shape: tuple
    num_classes: int
    mean: tuple
    std: tuple
    crop_padding: int = 0
    flip: bool = False
    axis_name: str | None = None


def preprocess(problem, key, images, *, augmented=True):
    """Images in [0, 1] -> what teacher and student see: cropped, flipped, normalized; this device's part of a batch."""
    if augmented:
        images = augment(key, images, padding=problem.crop_padding, flip=problem.flip, axis_name=problem.axis_name)
    return normalize(images, problem.mean, problem.std)


class Phase(NamedTuple):
    """`begin`, then a number of `step`s, then `end`; each is pure and traceable.

    begin: (state, key) -> carry.
    step: (carry, key) -> (carry, metrics), metrics a dict of float32 scalars.
    end: (carry, key) -> (state, metrics).
    steps: how many steps; None where the caller of the epoch says how many.
    metrics: names of what `step` reports.
    """

    begin: Callable
    step: Callable
    end: Callable
    steps: int | None = None
    metrics: tuple = ()


class Window(NamedTuple):
    """What makes a state's buffer a window on a bank of all images in host memory; see `runtime.host_bank`.

    capacity: images of the whole run.
    fill: (bank, numpy.random.Generator) -> the coming epoch's window; both ReplayBuffers of NumPy arrays.
    replace: (state, buffer) -> the state with this buffer, which may be any pytree.
    """

    capacity: int
    fill: Callable
    replace: Callable


def unchanged(state, key):
    """A `begin` that does nothing."""
    del key
    return state


def no_metrics(state, key):
    """An `end` that does nothing."""
    del key
    return state, {}


class Method(NamedTuple):
    """A published method, composed of the rooms; an epoch is `rounds` times a synthesis, then a distillation.

    init: (key, teacher) -> state, as a single device holds it; `teacher` are its variables, or what the method's
      class asks for beside them (see `given_images`), kept as the state's field `teacher` and never changed.
    synthesis: Phase that makes images.
    distillation: Phase that trains the student.
    distillation_steps: (epoch) -> how many student steps each round of that epoch has; 0 in a warm-up.
    end: (state) -> (state, metrics) after the last round, where the epoch is counted.
    new_images: (epoch) -> images that are made for the student in that epoch.
    batch_sizes: (images of a synthesis, images of a student step).
    held_out: (state, key) -> images (n, h, w, c) in [0, 1], this device's, which never reach the student; where a
      method is given images, a sample of those.
    sharded: (state) -> pytree of bools: leaves whose first axis is split over the devices; the rest is on each.
    buffer: (state) -> ReplayBuffer; None where no image is kept.
    student: (state) -> TrainState.
    rounds: of one epoch.
    window: Window, where `buffer` is one on a bank in host memory, filled anew before each epoch; else None.
    """

    init: Callable
    synthesis: Phase
    distillation: Phase
    distillation_steps: Callable
    end: Callable
    new_images: Callable
    batch_sizes: tuple
    held_out: Callable
    sharded: Callable
    buffer: Callable | None
    student: Callable
    rounds: int = 1
    window: Window | None = None


def scanned_epoch(method):
    """One epoch as one program: `epoch(state, key, distillation_steps) -> (state, metrics)`, pure.

    `distillation_steps`, of each round, may be traced, so that a warm-up without student steps is the same compiled
    program.  Metrics of steps are averaged over them, and those of rounds over the rounds.
    """

    return _epoch(method, method.synthesis, method.distillation, method.end, _looped)


def stepwise_epoch(method, transform: Callable):
    """The same epoch as single calls from Python, each of them wrapped once by `transform` (jit, pmap).

    Numbers equal those of `scanned_epoch`, up to how the compiler fuses.
    """

    def transformed(phase):
        return phase._replace(begin=transform(phase.begin), step=transform(phase.step), end=transform(phase.end))

    transformed_end, no_key = transform(lambda state, key: method.end(state)), jax.random.key(0)
    fold_in = jax.jit(jax.random.fold_in)

    def run(phase, state, key, steps):
        begin_key, step_key, end_key = jax.random.split(key, 3)
        carry, sums = phase.begin(state, begin_key), None
        for i in range(steps):
            carry, metrics = phase.step(carry, fold_in(step_key, i))
            sums = metrics if sums is None else jax.tree.map(jnp.add, sums, metrics)
        state, metrics = phase.end(carry, end_key)
        return state, metrics | ({} if sums is None else _averaged(sums, steps))

    def end(state):
        return transformed_end(state, no_key)

    epoch = _epoch(method, transformed(method.synthesis), transformed(method.distillation), end, run)
    return lambda state, key, distillation_steps: epoch(state, key, int(distillation_steps))


def _epoch(method, synthesis, distillation, end, run):
    """An epoch of these phases; `run`: (Phase, state, key, steps) -> (state, metrics averaged over the steps)."""

    def one_round(state, key, distillation_steps):
        synthesis_key, distillation_key = jax.random.split(key)
        state, synthesis_metrics = run(synthesis, state, synthesis_key, synthesis.steps)
        state, metrics = run(distillation, state, distillation_key, distillation_steps)
        return state, {**synthesis_metrics, **metrics}

    def epoch(state, key, distillation_steps):
        if method.rounds == 1:
            state, metrics = one_round(state, key, distillation_steps)
        else:
            rounds = Phase(unchanged, lambda state, key: one_round(state, key, distillation_steps), no_metrics)
            state, metrics = run(rounds, state, key, method.rounds)
        state, last_metrics = end(state)
        return state, {**metrics, **last_metrics}

    return epoch


def _looped(phase, state, key, steps):
    begin_key, step_key, end_key = jax.random.split(key, 3)
    carry = phase.begin(state, begin_key)
    _, shapes = jax.eval_shape(phase.step, carry, step_key)
    sums = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

    def body(i, carry_and_sums):
        carry, sums = carry_and_sums
        carry, metrics = phase.step(carry, jax.random.fold_in(step_key, i))
        return carry, jax.tree.map(jnp.add, sums, metrics)

    carry, sums = jax.lax.fori_loop(0, steps, body, (carry, sums))
    state, metrics = phase.end(carry, end_key)
    return state, metrics | _averaged(sums, steps)


def _averaged(sums, steps) -> Any:
    return jax.tree.map(lambda x: x / jnp.maximum(steps, 1), sums)

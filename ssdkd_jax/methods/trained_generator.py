"""What DAFL, DFQ, ZSKT and DFAD share: a generator that is trained beside the student, and no bank.

As in zju-vipa's public code, but for two things.  What that hands the generator's adversarial loss as the student is
the teacher once more; here it is the student.  And it asks for T = 20 on its command lines, but then makes the
student's loss of these methods without it; here it is 20.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ssdkd_jax import batchnorm, collectives, train_state
from ssdkd_jax.methods.base import Method, Phase, no_metrics, preprocess, unchanged
from ssdkd_jax.methods.student_training import StudentTraining, replicated


class State(NamedTuple):
    """Everything that an epoch changes, and the teacher; one pytree.

    teacher: its variables, never changed.
    student: train_state.TrainState.
    generator: its variables.
    optimizer_state: of the generator's optimizer.
    epoch: int32 scalar, epochs done.
    """

    teacher: dict
    student: train_state.TrainState
    generator: dict
    optimizer_state: optax.OptState
    epoch: jax.Array


class Seen(NamedTuple):
    """What the networks make of a generated batch, this device's part of it.

    teacher_output, student_output: of both networks in evaluation mode.
    features: (n, f) what the teacher's last layer is given.
    statistics: inputs of the teacher's BatchNorm layers, of the whole batch (`batchnorm`).
    running: the teacher's own statistics.
    """

    teacher_output: Any
    student_output: Any
    features: jax.Array
    statistics: dict
    running: dict


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainedGenerator(StudentTraining):
    """Rounds of a few generator steps, then a few student steps on fresh images, which are never seen again.

    A method adds its `generator_loss`.

    Attributes (and those of StudentTraining; `kd_steps` are those of all rounds of an epoch):
      synthesis_batch_size: images of a generator step.
      generator_steps: per round.
      kd_steps_per_round: student steps after them.
      generator_learning_rate: lr_g of Adam with betas (0.5, 0.999).

    Raises:
      ValueError: `kd_steps` are no whole number of rounds.
    """

    synthesis_batch_size: int = 256
    generator_steps: int = 1
    kd_steps_per_round: int = 5
    generator_learning_rate: float = 1e-3

    def __post_init__(self):
        if self.kd_steps % self.kd_steps_per_round:
            raise ValueError(
                f"kd_steps is {self.kd_steps}, expected a multiple of kd_steps_per_round={self.kd_steps_per_round}"
            )

    def generator_loss(self, seen):
        """What the generator minimizes: (Seen) -> (this device's loss, metrics by name), float32 scalars."""
        raise NotImplementedError

    def method(self):
        """The Method."""
        return Method(
            init=self.init,
            synthesis=Phase(unchanged, self.generator_step, no_metrics, self.generator_steps),
            distillation=Phase(unchanged, self.distill_step, no_metrics, metrics=("student_loss",)),
            distillation_steps=self.steps_of,
            end=self.end,
            new_images=lambda epoch: self._rounds * self.steps_of(epoch) * self.kd_batch_size,
            batch_sizes=(self.synthesis_batch_size, self.kd_batch_size),
            held_out=self.held_out,
            sharded=replicated,
            buffer=None,
            student=lambda state: state.student,
            rounds=self._rounds,
        )

    @property
    def _rounds(self):
        return self.kd_steps // self.kd_steps_per_round

    @property
    def _steps_of_round(self):
        return self.kd_steps_per_round

    @functools.cached_property
    def _generator(self):
        return self.problem.generator

    @functools.cached_property
    def _generator_optimizer(self):
        return optax.adam(self.generator_learning_rate, b1=0.5, b2=0.999)

    def init(self, key, teacher):
        """State before the first epoch, from a key and the teacher's variables."""
        student_key, generator_key = jax.random.split(key)
        generator = self._generator.init(generator_key, jnp.zeros((1, self._generator.latent_size)))
        return State(
            teacher=teacher,
            student=self.init_student(student_key),
            generator=generator,
            optimizer_state=self._generator_optimizer.init(generator["params"]),
            epoch=jnp.int32(0),
        )

    def draw(self, key, batch_size):
        """This device's part of a batch of latents, (n, latent_size) float32."""
        latents = jax.random.normal(key, (batch_size, self._generator.latent_size))
        return collectives.local_part(latents, self.problem.axis_name)

    def generate(self, generator, latents):
        """Latents -> (images (n, h, w, c) in [0, 1], the generator's variables after it)."""
        images, updated = self._generator.apply(generator, latents, train=True, mutable=["batch_stats"])
        return images, {**generator, **updated}

    def generator_step(self, state, key):
        """One optimization step of the generator on fresh latents."""
        return self.descend(state, self.draw(key, self.synthesis_batch_size))

    def descend(self, state, latents):
        """One optimization step of the generator on these latents: (State, metrics)."""

        def loss_of(params):
            images, generator = self.generate({**state.generator, "params": params}, latents)
            loss, metrics = self.generator_loss(self.see(state, images))
            return loss, (generator, {"inversion_loss": loss, **metrics})

        gradient, (generator, metrics) = jax.grad(loss_of, has_aux=True)(state.generator["params"])
        gradient, metrics = collectives.pmean((gradient, metrics), self.problem.axis_name)
        update, optimizer_state = self._generator_optimizer.update(gradient, state.optimizer_state)
        generator = {**generator, "params": optax.apply_updates(state.generator["params"], update)}
        return state._replace(generator=generator, optimizer_state=optimizer_state), metrics

    def see(self, state, images):
        """Seen of generated images (n, h, w, c) in [0, 1], without augmentation."""
        problem = self.problem
        images = preprocess(problem, None, images, augmented=False)
        (teacher_output, features), statistics = batchnorm.apply_with_batch_statistics(
            problem.teacher, state.teacher, images, axis_name=problem.axis_name, return_features=True
        )
        student_output = problem.student.apply(state.student.variables, images)
        return Seen(teacher_output, student_output, features, statistics, state.teacher.get("batch_stats", {}))

    def distill_step(self, state, key):
        """One student step on a fresh batch; the generator's running averages follow it, nothing else of it."""
        images, generator = self.generate(state.generator, self.draw(key, self.kd_batch_size))
        images = preprocess(self.problem, None, images, augmented=False)
        student, loss, _ = self.student_step(state.student, state.teacher, images, jnp.ones(self.kd_batch_size))
        return state._replace(student=student, generator=generator), {"student_loss": loss}

    def held_out(self, state, key):
        """Fresh images; the state stays as it is."""
        return self.generate(state.generator, self.draw(key, self.synthesis_batch_size))[0]

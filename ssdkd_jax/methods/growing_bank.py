"""What FastDFKD, CMI, DeepInversion and NAYER share: a bank that keeps every image, sampled uniformly."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ssdkd_jax import distillation, replay_buffer
from ssdkd_jax.methods.base import Method, Phase, networks_input
from ssdkd_jax.methods.student_training import StudentTraining


class State(NamedTuple):
    """Everything that an epoch changes, and the teacher; one pytree.

    teacher: its variables, never changed.
    student: distillation.StudentState.
    synthesis: whatever one synthesis leaves to the next.
    bank: replay_buffer.ReplayBuffer with room for every image of the run.
    epoch: int32 scalar, epochs done.
    """

    teacher: dict
    student: distillation.StudentState
    synthesis: Any
    bank: replay_buffer.ReplayBuffer
    epoch: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class GrowingBank(StudentTraining):
    """One epoch: a synthesis, whose images enter the bank; then the student learns from uniform batches of the bank.

    A method adds its synthesis: `init_synthesis`, `begin`, `step`, `finish`, as below.

    Attributes (and those of StudentTraining):
      synthesis_batch_size: images made per epoch.
      inversion_steps: g_steps, optimisation steps per synthesis.
      bank_dtype: of the stored images: "uint8" or a float dtype.
    """

    synthesis_batch_size: int = 256
    inversion_steps: int = 10
    bank_dtype: str = "uint8"

    def init_synthesis(self, key, teacher):
        """What the first synthesis finds: any pytree."""
        raise NotImplementedError

    def begin(self, state, key):
        """State -> (State, carry): before the first step."""
        raise NotImplementedError

    def step(self, state, carry, key):
        """One optimisation step: (carry, metrics); the state stays as it is."""
        raise NotImplementedError

    def finish(self, state, carry):
        """After the last step: (what the next synthesis finds, images (n, h, w, c) in [0, 1], teacher's output)."""
        raise NotImplementedError

    def method(self):
        """The Method."""

        def step(carry, key):
            state, made = carry
            made, metrics = self.step(state, made, key)
            return (state, made), metrics

        return Method(
            init=self.init,
            synthesis=Phase(self.begin, step, self._keep, self.inversion_steps),
            distillation=Phase(
                lambda state, key: state,
                self.distill_step,
                lambda state, key: (state, {}),
                metrics=("student_loss",),
            ),
            distillation_steps=self.steps_of,
            end=self.end,
            new_images=lambda epoch: self.synthesis_batch_size,
            batch_sizes=(self.synthesis_batch_size, self.kd_batch_size),
            held_back=self.held_back,
            sharded=sharded,
            buffer=lambda state: state.bank,
            student=lambda state: state.student,
        )

    def init(self, key, teacher):
        """State before the first epoch, from a key and the teacher's variables."""
        student_key, synthesis_key = jax.random.split(key)
        return State(
            teacher=teacher,
            student=self.init_student(student_key),
            synthesis=self.init_synthesis(synthesis_key, teacher),
            bank=replay_buffer.init(
                max(1, self.epochs) * self.synthesis_batch_size,
                self.problem.image_shape,
                dtype=jnp.dtype(self.bank_dtype),
                batch_size=self.synthesis_batch_size,
            ),
            epoch=jnp.int32(0),
        )

    def _keep(self, carry, key):
        del key
        state, made = carry
        task = self.problem.task
        synthesis, images, output = self.finish(state, made)
        bank = replay_buffer.insert(
            state.bank,
            images,
            task.predicted_class(output),
            task.confidence(output),
            state.bank.priority,
            axis_name=self.problem.axis_name,
        )
        metrics = {"buffer_size": replay_buffer.size(bank).astype(jnp.float32)}
        return state._replace(synthesis=synthesis, bank=bank), metrics

    def distill_step(self, state, key):
        """One student step on a batch drawn uniformly from the bank."""
        problem = self.problem
        sample_key, augment_key = jax.random.split(key)
        indices, weights = replay_buffer.sample(state.bank, sample_key, self.kd_batch_size, alpha=0.0, beta=0.0)
        images = replay_buffer.read(state.bank, indices, axis_name=problem.axis_name)
        images = networks_input(problem, augment_key, images)
        student, loss, _ = self.student_step(state.student, state.teacher, images, weights)
        return state._replace(student=student), {"student_loss": loss}

    def held_back(self, state, key):
        """A synthesis whose images enter no bank and leave the state as it is."""
        begin_key, step_key = jax.random.split(key)
        state, made = self.begin(state, begin_key)
        keys = jax.random.split(step_key, self.inversion_steps)
        made, _ = jax.lax.scan(lambda made, key: self.step(state, made, key), made, keys)
        return self.finish(state, made)[1]


def sharded(state):
    """Only the bank's images are split over the devices."""
    only_images = jax.tree.map(lambda _: False, state.bank)._replace(images=True)
    return jax.tree.map(lambda _: False, state)._replace(bank=only_images)

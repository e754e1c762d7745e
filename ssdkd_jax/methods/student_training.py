"""How every method trains its student: SGD, a cosine over all steps after a warm-up without any."""

import dataclasses
import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
import optax

from ssdkd_jax import collectives, distillation, train_state
from ssdkd_jax.methods.base import Problem, scanned_epoch


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudentTraining:
    """The base of every method: the student's schedule, optimizer and step; the images are the method's own affair.

    A method is a dataclass whose fields are its settings, with the published values as defaults, and whose methods are
    pure functions of arrays; its `method` puts them together.

    Attributes:
      problem: networks and kind of images.
      epochs: of the whole run.
      warmup_epochs: first epochs, without student steps.
      kd_steps, kd_batch_size: student steps per epoch after them, and images per step.
      temperature: T of the student's loss.
      student_learning_rate, student_final_learning_rate: of SGD, a cosine over all student steps.
      student_momentum, student_weight_decay: of SGD.
    """

    # Whether the teacher must have BatchNorm layers.
    needs_batch_norm: ClassVar[bool] = True
    # Whose images the method is given: "" for data-free methods; "train" the real training set's, "named" those of the
    # data set that its field `images` names, "noise" none but what it draws itself.
    given: ClassVar[str] = ""

    problem: Problem
    epochs: int = 200
    warmup_epochs: int = 0
    kd_steps: int = 400
    kd_batch_size: int = 256
    temperature: float = 20.0
    student_learning_rate: float = 0.1
    student_final_learning_rate: float = 2e-4
    student_momentum: float = 0.9
    student_weight_decay: float = 1e-4

    def method(self):
        """The Method."""
        raise NotImplementedError

    def epoch(self, state, key):
        """One epoch, (state, key) -> (state, metrics): synthesis and this epoch's student steps."""
        return scanned_epoch(self.method())(state, key, self.steps_of(state.epoch))

    def steps_of(self, epoch):
        """Student steps of each round of an epoch counted from 0, which may be traced."""
        if isinstance(epoch, int):
            return 0 if epoch < self.warmup_epochs else self._steps_of_round
        return jnp.where(epoch < self.warmup_epochs, 0, self._steps_of_round)

    @property
    def _steps_of_round(self):
        return self.kd_steps

    @functools.cached_property
    def _schedule(self):
        steps = max(1, (self.epochs - self.warmup_epochs) * self.kd_steps)
        alpha = self.student_final_learning_rate / self.student_learning_rate
        return optax.cosine_decay_schedule(self.student_learning_rate, steps, alpha=alpha)

    @functools.cached_property
    def _optimizer(self):
        return train_state.sgd(self._schedule, momentum=self.student_momentum, weight_decay=self.student_weight_decay)

    def init_student(self, key):
        """train_state.TrainState of a fresh student."""
        problem = self.problem
        variables = problem.student.init(key, jnp.zeros((1, *problem.image_shape)))
        return train_state.init_train_state(variables, self._optimizer)

    def student_step(self, student, teacher, images, weights):
        """One student step.

        Args:
          student: TrainState.
          teacher: variables.
          images: (n, h, w, c) augmented and normalized, this device's part of the batch.
          weights: (batch,) importance weights of the whole batch.

        Returns:
          (TrainState, loss, this device's divergences (n,)), see `distillation.distill_step`.
        """
        problem = self.problem
        return distillation.distill_step(
            student,
            images,
            collectives.local_part(weights, problem.axis_name),
            problem.teacher.apply(teacher, images),
            apply_student=self._apply_student,
            kl=self.student_loss,
            temperature=self.temperature,
            optimizer=self._optimizer,
            axis_name=problem.axis_name,
        )

    def student_loss(self, teacher_output, student_output, temperature):
        """The student's loss per sample, `T^2 * KL` unless a method says otherwise."""
        return self.problem.task.kl(teacher_output, student_output, temperature)

    def _apply_student(self, variables, images):
        output, updated = self.problem.student.apply(variables, images, train=True, mutable=["batch_stats"])
        return output, updated.get("batch_stats", {})

    def end(self, state):
        """Counts the epoch."""
        steps = jnp.maximum(state.epoch - self.warmup_epochs + 1, 0) * self.kd_steps
        return state._replace(epoch=state.epoch + 1), {"learning_rate": self._schedule(steps)}


def replicated(state):
    """`Method.sharded` where every device holds everything."""
    return jax.tree.map(lambda _: False, state)


def only_images_sharded(state, field):
    """`Method.sharded` where the images of the ReplayBuffer in `field` are split over the devices, and nothing else."""
    everywhere = replicated(state)
    return everywhere._replace(**{field: getattr(everywhere, field)._replace(images=True)})

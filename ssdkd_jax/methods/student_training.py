"""How FastDFKD and what builds upon it train a student: SGD, a cosine over all steps after a warm-up without any."""

import dataclasses
import functools

import jax.numpy as jnp
import optax

from ssdkd_jax import collectives, distillation
from ssdkd_jax.methods.base import Problem


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudentTraining:
    """The student's schedule, optimiser and step; which images it sees is the method's own affair.

    Attributes:
      problem: networks and kind of images.
      epochs: of the whole run.
      warmup_epochs: first epochs, without student steps.
      steps: per epoch after them.
      temperature: T of the loss.
      learning_rate, final_learning_rate: ends of the cosine.
      momentum, weight_decay: of SGD.
    """

    problem: Problem
    epochs: int
    warmup_epochs: int
    steps: int
    temperature: float
    learning_rate: float
    final_learning_rate: float
    momentum: float
    weight_decay: float

    @functools.cached_property
    def _schedule(self):
        steps = max(1, (self.epochs - self.warmup_epochs) * self.steps)
        return optax.cosine_decay_schedule(
            self.learning_rate, steps, alpha=self.final_learning_rate / self.learning_rate
        )

    @functools.cached_property
    def _optimizer(self):
        return distillation.sgd(self._schedule, momentum=self.momentum, weight_decay=self.weight_decay)

    def init(self, key):
        """distillation.StudentState of a fresh student."""
        problem = self.problem
        variables = problem.student.init(key, jnp.zeros((1, *problem.image_shape)))
        return distillation.init_student(variables, self._optimizer)

    def steps_of(self, epoch):
        """Student steps of an epoch counted from 0, which may be traced."""
        if isinstance(epoch, int):
            return 0 if epoch < self.warmup_epochs else self.steps
        return jnp.where(epoch < self.warmup_epochs, 0, self.steps)

    def step(self, student, teacher, images, weights):
        """One student step.

        Args:
          student: StudentState.
          teacher: variables.
          images: (n, h, w, c) augmented and normalised, this device's part of the batch.
          weights: (batch,) importance weights of the whole batch.

        Returns:
          (StudentState, loss, this device's divergences (n,)), see `distillation.distill_step`.
        """
        problem = self.problem
        return distillation.distill_step(
            student,
            images,
            collectives.local_part(weights, problem.axis_name),
            problem.teacher.apply(teacher, images),
            apply_student=self._apply,
            kl=problem.task.kl,
            temperature=self.temperature,
            optimizer=self._optimizer,
            axis_name=problem.axis_name,
        )

    def _apply(self, variables, images):
        output, updated = self.problem.student.apply(variables, images, train=True, mutable=["batch_stats"])
        return output, updated.get("batch_stats", {})

    def learning_rate_after(self, epoch):
        """At the end of an epoch counted from 0."""
        return self._schedule(jnp.maximum(epoch - self.warmup_epochs + 1, 0) * self.steps)

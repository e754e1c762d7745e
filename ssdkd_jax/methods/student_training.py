"""How every method trains its student: SGD with a cosine over all student steps, after a warm-up without any."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import optax

from ssdkd_jax import collectives, distillation, train_state
from ssdkd_jax.loops import repeat
from ssdkd_jax.methods.base import Method
from ssdkd_jax.settings import setting

# Of the student's loss, which is that of T without end by then; beyond, T^2 makes float32's rounding larger than the
# loss: at most 0.007 nats a sample at 100, 0.6 at 1000.
HIGHEST_TEMPERATURE = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudentTraining(Method):
    """The student's schedule, optimizer and step; subclasses decide where the images come from."""

    warmup_epochs: int = setting(0, "number of warm-up epochs, which only synthesize", at_least=0)
    kd_steps: int = setting(400, "student steps per epoch after the warm-up", at_least=1)
    kd_batch_size: int = setting(256, "images per student step, over all devices", at_least=1)
    temperature: float = setting(
        20.0, "temperature T of the student's loss T^2 * KL", more_than=0, at_most=HIGHEST_TEMPERATURE
    )
    student_learning_rate: float = setting(
        0.1, "SGD learning rate at the start of a cosine over all student steps", more_than=0
    )
    student_final_learning_rate: float = setting(2e-4, "SGD learning rate at the end of the cosine", at_least=0)
    student_momentum: float = setting(0.9, "SGD momentum", at_least=0, less_than=1)
    student_weight_decay: float = setting(1e-4, "SGD weight decay, added to every parameter's gradient", at_least=0)

    def __post_init__(self):
        super().__post_init__()
        if self.has_final_learning_rate and self.student_final_learning_rate > self.student_learning_rate:
            raise ValueError(
                f"student_final_learning_rate is {self.student_final_learning_rate}, expected at most "
                f"student_learning_rate={self.student_learning_rate}, from which it falls"
            )
        if self.epochs * self.kd_steps >= 2**31:  # counted in int32
            raise ValueError(f"kd_steps is {self.kd_steps}, expected less than {2**31} in all epochs={self.epochs}")

    @property
    def has_final_learning_rate(self):
        """Whether the student's schedule ends at `student_final_learning_rate`."""
        return True

    def distill_step(self, state, teacher, key):
        """One student step: (new state, {name: float32 scalar})."""
        raise NotImplementedError

    def train_student(self, state, teacher, key):
        """The round's distill_steps; then the round is counted."""
        epoch = self.epoch_of(state)
        steps = jnp.where(epoch < self.warmup_epochs, 0, self.kd_steps // self.rounds)
        step_key = jax.random.split(key, 3)[1]
        state, metrics = repeat(lambda state, key: self.distill_step(state, teacher, key), state, step_key, steps)
        steps_done = jnp.maximum(epoch - self.warmup_epochs + 1, 0) * self.kd_steps
        return self.count_round(state), {**metrics, "learning_rate": self._schedule(steps_done)}

    def epoch_of(self, state):
        """The epoch under way, counted from 0: int32 scalar."""
        return state.epoch

    def count_round(self, state):
        """The state after a round."""
        return state._replace(epoch=state.epoch + 1)

    def student_steps(self, epoch):
        """None in the warm-up, then `kd_steps`."""
        return 0 if epoch < self.warmup_epochs else self.kd_steps

    @functools.cached_property
    def _schedule(self):
        steps = max(1, (self.epochs - self.warmup_epochs) * self.kd_steps)
        alpha = self.student_final_learning_rate / self.student_learning_rate
        return optax.cosine_decay_schedule(self.student_learning_rate, steps, alpha=alpha)

    @functools.cached_property
    def _optimizer(self):
        return train_state.sgd(self._schedule, momentum=self.student_momentum, weight_decay=self.student_weight_decay)

    def init_student(self, key):
        """TrainState of a fresh student."""
        problem = self.problem
        variables = problem.student.init(key, jnp.zeros((1, *problem.image_shape)))
        return train_state.init_train_state(variables, self._optimizer)

    def student_step(self, student, teacher, images, weights):
        """One student step on a batch.

        Args:
          student: TrainState.
          teacher: variables.
          images: (n, h, w, c) augmented and normalized, this device's part of the batch.
          weights: (batch,) importance weights of the whole batch.

        Returns:
          (TrainState, loss, this device's divergences (n,)), see `distillation.distill_step`.
        """
        return self.student_step_given(student, images, weights, self.problem.teacher.apply(teacher, images))

    def student_step_given(self, student, images, weights, teacher_output):
        """`student_step` where the teacher's output on these images is known already."""
        problem = self.problem
        return distillation.distill_step(
            student,
            images,
            collectives.local_part(weights, problem.axis_name),
            teacher_output,
            apply_student=self.apply_student,
            kl=self.student_loss,
            temperature=self.temperature,
            optimizer=self._optimizer,
            axis_name=problem.axis_name,
        )

    def student_loss(self, teacher_output, student_output, temperature):
        """The student's loss per sample, `T^2 * KL` unless a method says otherwise."""
        return self.problem.task.kl(teacher_output, student_output, temperature)

    def apply_student(self, variables, images):
        """The student in training mode: (output, new batch_stats)."""
        return train_state.apply_training(self.problem.student, variables, images)

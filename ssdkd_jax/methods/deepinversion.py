"""DeepInversion: Dreaming to Distill (CVPR 2020, arXiv 1912.08795), with its adversarial term ("adaptive").

The pixels themselves are optimized, from noise, for a drawn class, for the statistics of the teacher's BatchNorm
layers, and for a student that differs from the teacher.  Details follow zju-vipa/Fast-Datafree.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from ssdkd_jax import batchnorm, collectives, losses
from ssdkd_jax.methods.image_bank import GrowingBank

# Images are rolled by up to this share of their height and width.
JITTER = 1 / 8


class Pixels(NamedTuple):
    """A batch in the making, this device's part of it.

    values: (n, h, w, c) float32, normalized as the networks see them.
    optimizer_state: of their optimizer.
    targets: (n,) int32, the classes they are to have.
    """

    values: jax.Array
    optimizer_state: optax.OptState
    targets: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeepInversion(GrowingBank):
    """DeepInversion.

    Attributes (and those of GrowingBank and StudentTraining):
      pixel_learning_rate: of Adam with betas (0.5, 0.99).
      bn: weight of the BatchNorm-statistics loss.
      student_bn: share of the student's own BatchNorm-statistics loss that is taken off it.
      oh, adv: weights of the task loss, and of minus the Jensen-Shannon divergence of both networks' outputs.
      js_temperature: T of the latter.
      tv, l2: weights of the total variation and of the norm of the batch.
    """

    inversion_steps: int = 1000
    pixel_learning_rate: float = 0.1
    bn: float = 10.0
    student_bn: float = 0.001
    oh: float = 1.0
    adv: float = 1.0
    js_temperature: float = 3.0
    tv: float = 0.0
    l2: float = 0.0

    @functools.cached_property
    def _pixel_optimizer(self):
        return optax.adam(self.pixel_learning_rate, b1=0.5, b2=0.99)

    def init_synthesis(self, key, teacher):
        """Nothing: no synthesis leaves anything to the next."""
        del key, teacher
        return ()

    def begin(self, state, key):
        """Noise, and classes drawn for it."""
        problem = self.problem
        noise_key, target_key = jax.random.split(key)
        values = jax.random.normal(noise_key, (self.synthesis_batch_size, *problem.image_shape))
        targets = jax.random.randint(target_key, (self.synthesis_batch_size,), 0, problem.num_classes)
        return state, self.pixels(*collectives.local_part((values, targets), problem.axis_name))

    def pixels(self, values, targets):
        """Pixels before the first step."""
        return Pixels(values, self._pixel_optimizer.init(values), targets)

    def step(self, state, carry, key):
        """One optimization step of the pixels, which stay within the range of images."""
        problem = self.problem
        axis_name = problem.axis_name

        def loss_of(values):
            return self.loss(state, values, self.jitter(key, values), carry.targets)

        gradient, metrics = jax.grad(loss_of, has_aux=True)(carry.values)
        # Pixels belong to one device: the gradient of the batch's mean is 1/devices of the local mean's.
        gradient = gradient / collectives.axis_size(axis_name)
        update, optimizer_state = self._pixel_optimizer.update(gradient, carry.optimizer_state)
        mean, std = jnp.array(problem.mean), jnp.array(problem.std)
        values = jnp.clip(carry.values + update, (0 - mean) / std, (1 - mean) / std)
        return Pixels(values, optimizer_state, carry.targets), collectives.pmean(metrics, axis_name)

    def jitter(self, key, values):
        """The whole batch rolled by one random offset, and mirrored or not, where images may be."""
        row_key, column_key, flip_key = jax.random.split(key, 3)
        for axis, axis_key in ((1, row_key), (2, column_key)):
            most = int(values.shape[axis] * JITTER)
            values = jnp.roll(values, jax.random.randint(axis_key, (), -most, most + 1), axis)
        mirrored = jax.random.bernoulli(flip_key) & self.problem.flip
        return jnp.where(mirrored, values[:, :, ::-1], values)

    def loss(self, state, values, seen, targets):
        """What the pixels are optimized for: (this device's loss, metrics).

        Args:
          state: State.
          values: (n, h, w, c) pixels.
          seen: the same, jittered.
          targets: (n,) int32.
        """
        problem, student = self.problem, state.student.variables
        task, axis_name = problem.task, problem.axis_name
        teacher_output, statistics = batchnorm.apply_with_batch_statistics(
            problem.teacher, state.teacher, seen, axis_name=axis_name
        )
        student_output, student_statistics = batchnorm.apply_with_batch_statistics(
            problem.student, student, seen, axis_name=axis_name
        )
        bn_loss = batchnorm.statistics_loss(statistics, state.teacher["batch_stats"])
        student_bn_loss = batchnorm.statistics_loss(student_statistics, student["batch_stats"])
        task_loss = jnp.mean(task.task_loss(teacher_output, targets))
        adversarial_loss = -jnp.mean(task.jensen_shannon(teacher_output, student_output, self.js_temperature))
        squares = collectives.pmean(jnp.sum(jnp.square(values)), axis_name) * collectives.axis_size(axis_name)
        loss = (
            self.bn * (bn_loss - self.student_bn * student_bn_loss)
            + self.oh * task_loss
            + self.adv * adversarial_loss
            + self.tv * losses.total_variation(values)
            + self.l2 * jnp.sqrt(squares + losses.NORM_EPSILON)
        )
        metrics = {
            "inversion_loss": loss,
            "bn_loss": bn_loss,
            "task_loss": task_loss,
            "adversarial_loss": adversarial_loss,
            "teacher_confidence": jnp.mean(task.confidence(teacher_output)),
        }
        return loss, metrics

    def finish(self, state, carry):
        """The images of the last step, as in the public code, whose "best" shares their storage."""
        problem = self.problem
        images = jnp.clip(carry.values * jnp.array(problem.std) + jnp.array(problem.mean), 0.0, 1.0)
        return (), images, problem.teacher.apply(state.teacher, carry.values)

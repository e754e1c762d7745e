"""DeepInversion: Dreaming to Distill (CVPR 2020, arXiv 1912.08795), with its adversarial term ("adaptive").

The pixels themselves are optimized, from noise, for a drawn class, for the statistics of the teacher's BatchNorm
layers, and for a student that differs from the teacher.  Details follow zju-vipa/Fast-Datafree.
"""

import dataclasses
import functools
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ssdkd_jax import batchnorm, collectives, inversion, losses
from ssdkd_jax.loops import repeat
from ssdkd_jax.methods.image_bank import ImageBank
from ssdkd_jax.settings import setting

# Images are rolled by up to this share of their height and width.
JITTER = 1 / 8


class Draws(NamedTuple):
    """What a synthesis begins with, this device's part.

    pixels: (n, h, w, c) float32 noise, normalized as the networks see images.
    targets: (n,) int32, the classes they are to have.
    """

    pixels: jax.Array
    targets: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeepInversion(ImageBank):
    """DeepInversion."""

    uses_generator: ClassVar[bool] = False
    image_losses: ClassVar[tuple[str, ...]] = ("bn", "oh", "adv")

    inversion_steps: int = setting(1000, "g_steps, optimization steps per synthesis", at_least=1)
    pixel_learning_rate: float = setting(0.1, "Adam learning rate of the pixels, with betas (0.5, 0.99)", at_least=0)
    bn: float = setting(10.0, "weight of the BatchNorm-statistics loss", at_least=0)
    student_bn: float = setting(
        0.001,
        "factor of the student's own BatchNorm-statistics loss, which is subtracted from the teacher's",
        at_least=0,
    )
    oh: float = setting(1.0, "weight of the task loss on drawn classes", at_least=0)
    adv: float = setting(
        1.0, "weight of the adversarial loss, minus the Jensen-Shannon divergence of both networks' outputs", at_least=0
    )
    js_temperature: float = setting(3.0, "temperature T of the Jensen-Shannon divergence", more_than=0)
    tv: float = setting(0.0, "weight of the total variation", at_least=0)
    l2: float = setting(0.0, "weight of the L2 norm of the batch", at_least=0)

    @functools.cached_property
    def _optimizers(self):
        return {"pixels": optax.adam(self.pixel_learning_rate, b1=0.5, b2=0.99)}

    def draw(self, state, key):
        """Noise, and classes for it."""
        del state
        problem = self.problem
        noise_key, target_key = jax.random.split(key)
        pixels = jax.random.normal(noise_key, (self.synthesis_batch_size, *problem.image_shape))
        targets = jax.random.randint(target_key, (self.synthesis_batch_size,), 0, problem.num_classes)
        return Draws(*collectives.local_part((pixels, targets), problem.axis_name))

    def make_images(self, state, teacher, drawn, key):
        """The images of the last step, as in the public code, whose "best" shares their storage."""
        problem = self.problem
        mean, std = jnp.array(problem.mean), jnp.array(problem.std)

        def step(inverted, key):
            inverted, _, found = inversion.inversion_step(
                inverted,
                lambda optimized, _: self.evaluate(state, teacher, drawn.targets, optimized["pixels"], key),
                self._optimizers,
                per_device=("pixels",),
                axis_name=problem.axis_name,
            )
            clipped = jnp.clip(inverted.optimized["pixels"], (0 - mean) / std, (1 - mean) / std)
            return inverted._replace(optimized={"pixels": clipped}), found.metrics

        inverted = inversion.init({"pixels": drawn.pixels}, self._optimizers, kept=())
        inverted, metrics = repeat(step, inverted, key, self.inversion_steps)
        images = jnp.clip(inverted.optimized["pixels"] * std + mean, 0.0, 1.0)
        return inversion.Synthesis((), images, metrics)

    def jitter(self, key, values):
        """The whole batch rolled by one random offset, and mirrored or not, where images may be."""
        row_key, column_key, flip_key = jax.random.split(key, 3)
        for axis, axis_key in ((1, row_key), (2, column_key)):
            most = int(values.shape[axis] * JITTER)
            values = jnp.roll(values, jax.random.randint(axis_key, (), -most, most + 1), axis)
        mirrored = jax.random.bernoulli(flip_key) & self.problem.flip
        return jnp.where(mirrored, values[:, :, ::-1], values)

    def evaluate(self, state, teacher, targets, pixels, key):
        """Loss and inversion.StepOutcome of pixels (n, h, w, c), jittered by a key."""
        return self.inversion_loss(state, teacher, pixels, self.jitter(key, pixels), targets)

    def inversion_loss(self, state, teacher, pixels, jittered, targets):
        """What the pixels are optimized for.

        `bn * (L_BN - student_bn * L_BN of the student) + oh * L_task - adv * JS + tv * L_TV + l2 * L_2`

        Args:
          state: State.
          teacher: variables.
          pixels: (n, h, w, c), this device's part of the batch.
          jittered: the same, as the networks see them.
          targets: (n,) int32.

        Returns:
          (this device's loss, StepOutcome that keeps nothing).
        """
        problem, student = self.problem, state.student.variables
        task, axis_name = problem.task, problem.axis_name
        teacher_output, statistics = batchnorm.apply_with_batch_statistics(
            problem.teacher, teacher, jittered, axis_name=axis_name
        )
        student_output, student_statistics = batchnorm.apply_with_batch_statistics(
            problem.student, student, jittered, axis_name=axis_name
        )
        bn_loss = batchnorm.statistics_loss(statistics, teacher["batch_stats"])
        student_bn_loss = batchnorm.statistics_loss(student_statistics, student["batch_stats"])
        task_loss = jnp.mean(task.task_loss(teacher_output, targets))
        adversarial_loss = -jnp.mean(task.jensen_shannon(teacher_output, student_output, self.js_temperature))
        squares = collectives.pmean(jnp.sum(jnp.square(pixels)), axis_name) * collectives.axis_size(axis_name)
        loss = (
            self.bn * (bn_loss - self.student_bn * student_bn_loss)
            + self.oh * task_loss
            + self.adv * adversarial_loss
            + self.tv * losses.total_variation(pixels)
            + self.l2 * jnp.sqrt(squares + losses.NORM_EPSILON)
        )
        metrics = {
            "inversion_loss": loss,
            "bn_loss": bn_loss,
            "task_loss": task_loss,
            "adversarial_loss": adversarial_loss,
            "teacher_confidence": jnp.mean(task.confidence(teacher_output)),
        }
        return loss, inversion.StepOutcome((), {}, metrics)

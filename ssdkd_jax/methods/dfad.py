"""DFAD: Data-Free Adversarial Distillation (arXiv 1912.11006).

The generator makes images on which the student's logits differ from the teacher's; the student minimizes the same
distance, the mean absolute difference of the logits.
"""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from ssdkd_jax.methods.trained_generator import TrainedGenerator
from ssdkd_jax.settings import setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class DFAD(TrainedGenerator):
    """DFAD."""

    needs_batch_norm: ClassVar[bool] = False
    without_effect: ClassVar[tuple[str, ...]] = ("temperature",)
    image_losses: ClassVar[tuple[str, ...]] = ("adv",)

    adv: float = setting(1.0, "weight of the adversarial loss, minus the L1 distance of the logits", at_least=0)

    def generator_loss(self, seen, running):
        """`adv * -L1`."""
        adversarial_loss = -jnp.mean(self.problem.task.l1(seen.teacher_output, seen.student_output))
        return self.adv * adversarial_loss, {"adversarial_loss": adversarial_loss}

    def student_loss(self, teacher_output, student_output, temperature):
        """L1 distance of the logits per sample."""
        del temperature
        return self.problem.task.l1(teacher_output, student_output)

"""ZSKT: Zero-shot Knowledge Transfer via Adversarial Belief Matching (NeurIPS 2019, arXiv 1905.09768).

The generator makes images on which the student differs from the teacher, and nothing else; without the paper's
attention transfer, as in the public code that the family is compared with.
"""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from ssdkd_jax.methods.trained_generator import TrainedGenerator
from ssdkd_jax.settings import setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class ZSKT(TrainedGenerator):
    """ZSKT."""

    needs_batch_norm: ClassVar[bool] = False
    image_losses: ClassVar[tuple[str, ...]] = ("adv",)

    adv: float = setting(1.0, "weight of the adversarial loss -KL(teacher || student) of all images", at_least=0)

    def generator_loss(self, seen, running):
        """`adv * L_adv`."""
        adversarial_loss = jnp.mean(self.problem.task.adversarial(seen.teacher_output, seen.student_output, False))
        return self.adv * adversarial_loss, {"adversarial_loss": adversarial_loss}

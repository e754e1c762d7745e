"""ZSKT: Zero-shot Knowledge Transfer via Adversarial Belief Matching (NeurIPS 2019, arXiv 1905.09768).

The generator makes images on which the student differs from the teacher, and nothing else; without the paper's
attention transfer, as in the public code that the family is compared with.
"""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from ssdkd_jax.methods.trained_generator import TrainedGenerator


@dataclasses.dataclass(frozen=True, kw_only=True)
class ZSKT(TrainedGenerator):
    """ZSKT.

    Attributes (and those of TrainedGenerator and StudentTraining):
      adv: weight of the adversarial loss `-KL(teacher || student)` of all samples.
    """

    needs_batch_norm: ClassVar[bool] = False

    adv: float = 1.0

    def generator_loss(self, seen):
        """`adv * L_adv`."""
        adversarial_loss = jnp.mean(self.problem.task.adversarial(seen.teacher_output, seen.student_output, False))
        return self.adv * adversarial_loss, {"adversarial_loss": adversarial_loss}

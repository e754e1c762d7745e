"""DFQ: Data-Free Network Quantization With Adversarial Knowledge Distillation (CVPRW 2020, arXiv 2005.04136).

The generator makes images on which the student differs from the teacher, while they fit the statistics of the teacher's
BatchNorm layers, the teacher is sure of them, and they are spread evenly over the classes.
"""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from ssdkd_jax import batchnorm
from ssdkd_jax.methods.trained_generator import TrainedGenerator
from ssdkd_jax.settings import setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class DFQ(TrainedGenerator):
    """DFQ."""

    image_losses: ClassVar[tuple[str, ...]] = ("adv", "bn", "oh", "balance")

    adv: float = setting(1.0, "weight of the adversarial loss -KL(teacher || student) of all images", at_least=0)
    bn: float = setting(1.0, "weight of the BatchNorm-statistics loss", at_least=0)
    oh: float = setting(1.0, "weight of the task loss on the teacher's own argmax", at_least=0)
    balance: float = setting(20.0, "weight of the class balance sum p log p, p the mean prediction", at_least=0)
    kd_steps_per_round: int = setting(10, "student steps per round", at_least=1)

    def generator_loss(self, seen, running):
        """`adv * L_adv + bn * L_BN + oh * L_task + balance * L_balance`."""
        task = self.problem.task
        adversarial_loss = jnp.mean(task.adversarial(seen.teacher_output, seen.student_output, False))
        bn_loss = batchnorm.statistics_loss(seen.statistics, running)
        task_loss = jnp.mean(task.task_loss(seen.teacher_output, task.predicted_class(seen.teacher_output)))
        balance_loss = task.class_balance(seen.teacher_output, self.problem.axis_name)
        loss = self.adv * adversarial_loss + self.bn * bn_loss + self.oh * task_loss + self.balance * balance_loss
        metrics = {
            "adversarial_loss": adversarial_loss,
            "bn_loss": bn_loss,
            "task_loss": task_loss,
            "balance_loss": balance_loss,
        }
        return loss, metrics

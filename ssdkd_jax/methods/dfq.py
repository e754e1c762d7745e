"""DFQ: Data-Free Network Quantization With Adversarial Knowledge Distillation (CVPRW 2020, arXiv 2005.04136).

The generator makes images on which the student differs from the teacher, while they fit the statistics of the teacher's
BatchNorm layers, the teacher is sure of them, and they are spread evenly over the classes.
"""

import dataclasses

import jax.numpy as jnp

from ssdkd_jax import batchnorm
from ssdkd_jax.methods.trained_generator import TrainedGenerator


@dataclasses.dataclass(frozen=True, kw_only=True)
class DFQ(TrainedGenerator):
    """DFQ.

    Attributes (and those of TrainedGenerator and StudentTraining):
      adv, bn, oh, balance: weights of the adversarial loss `-KL(teacher || student)` of all samples, of the
        BatchNorm-statistics loss, of the task loss on the teacher's own argmax, and of the class balance.
    """

    adv: float = 1.0
    bn: float = 1.0
    oh: float = 1.0
    balance: float = 20.0
    kd_steps_per_round: int = 10

    def generator_loss(self, seen):
        """`adv * L_adv + bn * L_BN + oh * L_task + balance * L_balance`."""
        task = self.problem.task
        metrics = {
            "adversarial_loss": jnp.mean(task.adversarial(seen.teacher_output, seen.student_output, False)),
            "bn_loss": batchnorm.statistics_loss(seen.statistics, seen.running),
            "task_loss": jnp.mean(task.task_loss(seen.teacher_output, task.predicted_class(seen.teacher_output))),
            "balance_loss": task.class_balance(seen.teacher_output, self.problem.axis_name),
        }
        weights = (self.adv, self.bn, self.oh, self.balance)
        return sum(weight * term for weight, term in zip(weights, metrics.values(), strict=True)), metrics

"""DAFL: Data-Free Learning of Student Networks (ICCV 2019, arXiv 1904.01186).

The generator makes images that the teacher is sure of (task loss on its own argmax), that excite its last features, and
that are spread evenly over the classes; it does not look at the student.
"""

import dataclasses
import functools
from typing import ClassVar

import jax.numpy as jnp

from ssdkd_jax.methods.trained_generator import TrainedGenerator
from ssdkd_jax.settings import setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class DAFL(TrainedGenerator):
    """DAFL."""

    tasks: ClassVar[tuple[str, ...]] = ("classification", "segmentation")
    needs_batch_norm: ClassVar[bool] = False
    needs_features: ClassVar[bool] = True
    image_losses: ClassVar[tuple[str, ...]] = ("oh", "act", "balance")

    oh: float = setting(1.0, "weight of the task loss on the teacher's own argmax", at_least=0)
    act: float = setting(1e-3, "weight of the activation loss -mean |features|", at_least=0)
    balance: float = setting(20.0, "weight of the class balance sum p log p, p the mean prediction", at_least=0)
    latent_size: int = setting(512, "length of a latent vector, in place of generator.latent_size", at_least=1)

    @functools.cached_property
    def _generator(self):
        return self.problem.generator.clone(latent_size=self.latent_size)

    def generator_loss(self, seen, running):
        """`oh * L_task + act * L_activation + balance * L_balance`, all of the teacher."""
        task = self.problem.task
        task_loss = jnp.mean(task.task_loss(seen.teacher_output, task.predicted_class(seen.teacher_output)))
        activation_loss = -jnp.mean(jnp.abs(seen.features))
        balance_loss = task.class_balance(seen.teacher_output, self.problem.axis_name)
        loss = self.oh * task_loss + self.act * activation_loss + self.balance * balance_loss
        return loss, {"task_loss": task_loss, "activation_loss": activation_loss, "balance_loss": balance_loss}

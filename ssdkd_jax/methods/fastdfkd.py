"""FastDFKD: Up to 100x Faster Data-Free Knowledge Distillation (AAAI 2022, arXiv 2112.06253).

One epoch: a meta generator, whose fast copy is optimized with latents for a few steps, makes a batch of images,
which enter a bank that keeps all of them; then the student is distilled on batches drawn uniformly from the bank.
Details follow zju-vipa/Fast-Datafree.
"""

import dataclasses
import functools
from typing import ClassVar

import jax
import jax.numpy as jnp

from ssdkd_jax import inversion
from ssdkd_jax.methods.base import see
from ssdkd_jax.methods.generator_sources import GeneratedImages, MetaGenerator
from ssdkd_jax.methods.image_bank import ImageBank
from ssdkd_jax.settings import setting

# The generator's first linear layer and the BatchNorm behind it, and what the public code re-initializes them with.
FIRST_LAYERS = ("l1.0", "conv_blocks.0")
RESET_DEVIATION = 0.02


@dataclasses.dataclass(frozen=True, kw_only=True)
class FastDFKD(GeneratedImages, ImageBank):
    """FastDFKD with ten inversion steps."""

    tasks: ClassVar[tuple[str, ...]] = ("classification", "segmentation")

    read_with: ClassVar[dict[str, tuple[str, ...]]] = {"bn": ("bn_momentum",)}
    image_losses: ClassVar[tuple[str, ...]] = ("bn", "oh", "adv")

    epochs: int = 220
    warmup_epochs: int = setting(
        20,
        "number of warm-up epochs, which only synthesize; all but the last of them without the adversarial loss",
        at_least=0,
    )
    generator_learning_rate: float = setting(2e-3, "lr_g, Adam learning rate of the generator", at_least=0)
    latent_learning_rate: float = setting(0.01, "lr_z, Adam learning rate of the latents", at_least=0)
    meta_update: str = setting(
        "fomaml", "how the meta generator is updated; none: it becomes the fast copy", choices=inversion.META_UPDATES
    )
    bn: float = setting(10.0, "weight of the BatchNorm-statistics loss", at_least=0)
    oh: float = setting(0.5, "weight of the task loss on drawn classes", at_least=0)
    adv: float = setting(1.33, "weight of the adversarial loss", at_least=0)
    bn_momentum: float = setting(
        0.9, "bn_mmt, share of earlier batches in the BatchNorm statistics; 0 is none", at_least=0, less_than=1
    )
    reset_after: int = setting(
        120, "number of epochs after the warm-up at which the generator's first layers are reset; 0: never", at_least=0
    )
    student_learning_rate: float = setting(
        0.2, "SGD learning rate at the start of a cosine over all student steps", more_than=0
    )

    @functools.cached_property
    def source(self):
        """What images are made by."""
        return MetaGenerator(self)

    def draw(self, state, key):
        """Draws for a whole batch; the generator's first layers are fresh once in a run."""
        reset_key, key = jax.random.split(key)
        drawn = self.source.draw(state, key)
        if not self.reset_after:
            return drawn
        # The public code raises its counter of epochs before it looks at it, here and in `inversion_loss`.
        due = state.epoch + 1 == self.warmup_epochs + self.reset_after
        fresh = {**drawn.generator, "params": reset_first_layers(drawn.generator["params"], reset_key)}
        return drawn._replace(generator=jax.tree.map(lambda new, old: jnp.where(due, new, old), fresh, drawn.generator))

    def inversion_loss(self, state, teacher, images, targets, key):
        """`bn * L_BN + oh * L_task + adv * L_adv`: see `three_term_loss`."""
        adv = jnp.where(state.epoch + 1 < self.warmup_epochs, 0.0, self.adv)
        return three_term_loss(self, state, teacher, images, targets, key, adv)


def three_term_loss(method, state, teacher, images, targets, key, adv):
    """What images are optimized for: `bn * L_BN + oh * L_task + adv * L_adv` (FastDFKD; NAYER has the same).

    Args:
      method: Method of GeneratedImages, with the weights `bn` and `oh`.
      state: image_bank.State whose `synthesis` is an inversion.MetaState.
      teacher: variables.
      images: (n, h, w, c) in [0, 1], this device's part of the batch.
      targets: (n,) int32 drawn classes.
      key: of the augmentation.
      adv: weight of L_adv; scalar, may be traced.

    Returns:
      (loss, the batch's statistics in the teacher, metrics): this device's.
    """
    problem, task = method.problem, method.problem.task
    seen = see(problem, teacher, state.student.variables, images, key)
    bn_loss = method.bn_loss(state, teacher, seen.statistics)
    targets = task.drawn_targets(seen.teacher_output, targets)
    task_loss = jnp.mean(task.task_loss(seen.teacher_output, targets))
    adversarial_loss = jnp.mean(task.adversarial(seen.teacher_output, seen.student_output, True))
    loss = method.bn * bn_loss + method.oh * task_loss + adv * adversarial_loss
    metrics = {
        "inversion_loss": loss,
        "bn_loss": bn_loss,
        "task_loss": task_loss,
        "adversarial_loss": adversarial_loss,
        "teacher_confidence": jnp.mean(task.confidence(seen.teacher_output)),
    }
    return loss, seen.statistics, metrics


def reset_first_layers(params, key):
    """The generator's parameters with fresh FIRST_LAYERS: weights normal with deviation 0.02, biases 0.

    That the BatchNorm's scale becomes small too is as in the public code.
    """
    params = dict(params)
    for name in FIRST_LAYERS:
        key, weight_key = jax.random.split(key)
        layer = dict(params[name])
        for weight in {"kernel", "scale"} & layer.keys():
            layer[weight] = RESET_DEVIATION * jax.random.normal(weight_key, layer[weight].shape, layer[weight].dtype)
        layer["bias"] = jnp.zeros_like(layer["bias"])
        params[name] = layer
    return params

"""NAYER: Noisy Layer Data Generation (CVPR 2024, arXiv 2310.00258), with learned class embeddings.

Images are made through `noisy_layer` and enter a bank that keeps all of them.  Details follow tmtuan1307/NAYER, with
these differences: those of `noisy_layer`; an epoch has one synthesis (two in theirs, and ten in the warm-up); latents
have the config's length (1,000 in theirs); every synthesis has 30 steps by default (30 for CIFAR-10 and 40 for
CIFAR-100 in theirs).
"""

import dataclasses
import functools
from typing import ClassVar

import jax.numpy as jnp

from ssdkd_jax.methods.fastdfkd import three_term_loss
from ssdkd_jax.methods.generator_sources import GeneratedImages, NoisyLayer
from ssdkd_jax.methods.image_bank import ImageBank
from ssdkd_jax.settings import setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class NAYER(GeneratedImages, ImageBank):
    """NAYER with learned embeddings."""

    differs: ClassVar[str] = (
        "one synthesis an epoch (published: two, and ten in the warm-up) and learned class embeddings (published: a "
        "text model's)."
    )

    read_with: ClassVar[dict[str, tuple[str, ...]]] = {"bn": ("bn_momentum",)}
    image_losses: ClassVar[tuple[str, ...]] = ("bn", "oh", "adv")

    epochs: int = 320
    warmup_epochs: int = setting(
        20, "number of warm-up epochs, which only synthesize, without the adversarial loss", at_least=0
    )
    synthesis_batch_size: int = setting(400, "images made per epoch, over all devices", at_least=1)
    kd_batch_size: int = setting(512, "images per student step, over all devices", at_least=1)
    inversion_steps: int = setting(30, "g_steps, optimization steps per synthesis", at_least=1)
    generator_learning_rate: float = setting(
        4e-3, "Adam learning rate; the optimizer is fresh for every synthesis", at_least=0
    )
    bn: float = setting(10.0, "weight of the BatchNorm-statistics loss", at_least=0)
    oh: float = setting(0.5, "weight of the task loss", at_least=0)
    adv: float = setting(1.33, "weight of the adversarial loss after the warm-up", at_least=0)
    bn_momentum: float = setting(
        0.9, "bn_mmt, share of earlier batches in the BatchNorm statistics; 0 is none", at_least=0, less_than=1
    )
    generator_life: int = setting(10, "number of epochs after which the generator is reset", at_least=1)
    embedding_size: int = setting(512, "length of a class's embedding", at_least=1)
    student_learning_rate: float = setting(
        0.2, "SGD learning rate at the start of a cosine over all student steps", more_than=0
    )

    @functools.cached_property
    def source(self):
        """What images are made by."""
        return NoisyLayer(self)

    def draw(self, state, key):
        """Draws with fresh noisy layers, and with a fresh generator every `generator_life` epochs of each phase."""
        due = (state.epoch - self.warmup_epochs) % self.generator_life == 0
        return self.source.draw(state, key, due=due)

    def inversion_loss(self, state, teacher, images, targets, key):
        """`bn * L_BN + oh * L_task + adv * L_adv`: see `fastdfkd.three_term_loss`."""
        adv = jnp.where(state.epoch < self.warmup_epochs, 0.0, self.adv)
        return three_term_loss(self, state, teacher, images, targets, key, adv)

"""NAYER: Noisy Layer Data Generation (CVPR 2024, arXiv 2310.00258), with learned class embeddings.

A generator is fed by an embedding of the wanted class through a noisy layer, a linear layer that is drawn for every
batch: each noisy layer makes one image of each class.  Details follow tmtuan1307/NAYER, with these differences:
embeddings are learned with the generator, from normal vectors (theirs come from a text model), and are normalized over
the classes (theirs over a batch); an epoch has one synthesis (two in theirs, and ten in the warm-up); latents have the
config's length (1,000 in theirs); every synthesis has 30 steps by default (30 for CIFAR-10 and 40 for CIFAR-100 in
theirs).
"""

import dataclasses
import functools
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ssdkd_jax import collectives, inversion
from ssdkd_jax.methods.base import generate
from ssdkd_jax.methods.fastdfkd import three_term_loss
from ssdkd_jax.methods.image_bank import ImageBank
from ssdkd_jax.settings import setting


class Draws(NamedTuple):
    """What a synthesis begins with.

    generator: variables as of `fresh_generator`, with noisy layers that no batch had before.
    targets: (n,) int32 classes, this device's part.
    layers: (n,) int32 numbers of the noisy layers, this device's part.
    """

    generator: dict
    targets: jax.Array
    layers: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class NAYER(ImageBank):
    """NAYER with learned embeddings."""

    differs: ClassVar[str] = (
        "one synthesis an epoch (published: two, and ten in the warm-up) and learned class embeddings (published: a "
        "text model's)."
    )

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

    def init_synthesis(self, key, teacher):
        """inversion.MetaState before the first synthesis."""
        return inversion.init_meta(self.fresh_generator(key), self._optimizers.meta, teacher)

    def fresh_generator(self, key):
        """Variables of generator, embeddings and noisy layers.

        Returns:
          {"params": {"embedding": (classes, e), "noisy": {"kernel": (layers, e, latent_size), "bias":
          (layers, latent_size)}, "generator": ...}, "batch_stats": ...}.
        """
        generator = self.problem.generator
        generator_key, embedding_key, noisy_key = jax.random.split(key, 3)
        variables = generator.init(generator_key, jnp.zeros((1, generator.latent_size)))
        params = {
            "embedding": jax.random.normal(embedding_key, (self.problem.num_classes, self.embedding_size)),
            "noisy": self.noisy_layers(noisy_key),
            "generator": variables["params"],
        }
        return {"params": params, "batch_stats": variables["batch_stats"]}

    def noisy_layers(self, key):
        """Fresh layers for a batch: kernels N(0, 1) and biases 0."""
        layers = -(-self.synthesis_batch_size // self.problem.num_classes)
        shape = (layers, self.embedding_size, self.problem.generator.latent_size)
        return {"kernel": jax.random.normal(key, shape), "bias": jnp.zeros((shape[0], shape[2]))}

    def draw(self, state, key):
        """Fresh noisy layers, and a fresh generator once the old one reaches `generator_life`.

        Each layer is to make every class once.
        """
        problem = self.problem
        life_key, noisy_key, rest_key = jax.random.split(key, 3)
        due = (state.epoch % self.generator_life == 0) | ((state.epoch - self.warmup_epochs) % self.generator_life == 0)
        fresh = self.fresh_generator(life_key)
        generator = jax.tree.map(lambda new, old: jnp.where(due, new, old), fresh, state.synthesis.generator)
        generator["params"]["noisy"] = self.noisy_layers(noisy_key)

        number = jnp.arange(self.synthesis_batch_size)
        whole = self.synthesis_batch_size // problem.num_classes * problem.num_classes
        drawn = jax.random.randint(rest_key, number.shape, 0, problem.num_classes)
        targets = jnp.where(number < whole, number % problem.num_classes, drawn)
        return Draws(generator, *collectives.local_part((targets, number // problem.num_classes), problem.axis_name))

    def make_images(self, state, teacher, drawn, key):
        """Optimizes generator, embeddings and noisy layers: inversion.Synthesis; the state stays as it is."""
        return inversion.meta_synthesis(
            state.synthesis._replace(generator=drawn.generator),
            None,
            key,
            loss_function=lambda images, key: self.inversion_loss(state, teacher, images, drawn.targets, key),
            generate=lambda variables, _: self.generate(variables, drawn.targets, drawn.layers),
            optimizers=self._optimizers,
            steps=self.inversion_steps,
            meta_update="none",
            bn_momentum=self.bn_momentum,
            first=state.epoch == 0,
            axis_name=self.problem.axis_name,
        )

    def generate(self, variables, targets, layers):
        """Images of classes (n,) through the noisy layers (n,): (images, the variables with new running averages)."""
        params = variables["params"]
        embedding = params["embedding"]
        spread = jnp.sqrt(jnp.var(embedding, axis=0) + 1e-5)
        codes = jax.nn.one_hot(targets, self.problem.num_classes)
        embedded = codes @ ((embedding - jnp.mean(embedding, axis=0)) / spread)
        noisy = params["noisy"]
        # All layers on all images and then each image's own: one product instead of a kernel per image.
        through_all = jnp.einsum("ne,lez->nlz", embedded, noisy["kernel"]) + noisy["bias"]
        latents = jnp.take_along_axis(through_all, layers[:, None, None], axis=1)[:, 0]
        inner = {"params": params["generator"], "batch_stats": variables["batch_stats"]}
        images, inner = generate(self.problem.generator, inner, latents)
        return images, {**variables, "batch_stats": inner["batch_stats"]}

    def inversion_loss(self, state, teacher, images, targets, key):
        """`bn * L_BN + oh * L_task + adv * L_adv`: see `fastdfkd.three_term_loss`."""
        adv = jnp.where(state.epoch < self.warmup_epochs, 0.0, self.adv)
        weights = (self.bn, self.oh, adv)
        return three_term_loss(self.problem, state, teacher, images, targets, key, weights, self.bn_momentum)

    @functools.cached_property
    def _optimizers(self):
        adam = optax.adam(self.generator_learning_rate, b1=0.5, b2=0.999)
        return inversion.MetaOptimizers(generator=adam, latents=optax.identity(), meta=optax.identity())

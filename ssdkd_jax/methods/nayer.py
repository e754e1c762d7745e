"""NAYER: Noisy Layer Data Generation (CVPR 2024, arXiv 2310.00258), with learned class embeddings.

A generator is fed by an embedding of the wanted class through a noisy layer, a linear layer that is drawn anew for
every batch: each noisy layer makes one image of each class.  Details follow tmtuan1307/NAYER, but for these, which
are ours: embeddings are learned with the generator, from normal vectors, where the paper's come from a text model, and
are normalized over the classes, not over a batch; an epoch has one synthesis, there two, and ten in the warm-up;
latents have the config's length, there 1,000; CIFAR-100 has 40 steps there, CIFAR-10 these 30.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from ssdkd_jax import collectives, inversion
from ssdkd_jax.methods.image_bank import GrowingBank
from ssdkd_jax.methods.meta_generator import MetaSynthesis, SynthesisState, situation_of


class Wanted(NamedTuple):
    """What each image of a batch is to be, this device's part.

    targets: (n,) int32 classes.
    layers: (n,) int32 numbers of the noisy layers.
    """

    targets: jax.Array
    layers: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class NAYER(GrowingBank):
    """NAYER with learned embeddings.

    Attributes (and those of GrowingBank and StudentTraining):
      generator_learning_rate: of Adam with betas (0.5, 0.999), fresh for every synthesis.
      bn, oh, adv: weights of the BatchNorm-statistics loss, of the task loss, and of the adversarial loss where both
        networks agree, after the warm-up only.
      bn_momentum: bn_mmt, share of earlier batches in the BatchNorm statistics; 0 switches the average off.
      generator_life: epochs after which the generator starts anew.
      embedding_size: length of a class' embedding.
    """

    epochs: int = 320
    warmup_epochs: int = 20
    synthesis_batch_size: int = 400
    kd_batch_size: int = 512
    inversion_steps: int = 30
    generator_learning_rate: float = 4e-3
    bn: float = 10.0
    oh: float = 0.5
    adv: float = 1.33
    bn_momentum: float = 0.9
    generator_life: int = 10
    embedding_size: int = 512
    student_learning_rate: float = 0.2

    @functools.cached_property
    def _synthesis(self):
        """Of which only the loss and the end are used."""
        return MetaSynthesis.of(self, latent_learning_rate=0.0, meta_update="none")

    @functools.cached_property
    def _optimizers(self):
        adam = optax.adam(self.generator_learning_rate, b1=0.5, b2=0.999)
        return inversion.Optimizers(adam, optax.set_to_zero(), optax.set_to_zero())

    @property
    def _layers(self):
        return -(-self.synthesis_batch_size // self.problem.num_classes)

    def init_synthesis(self, key, teacher):
        """meta_synthesis.SynthesisState of the first synthesis."""
        average = jax.tree.map(jnp.zeros_like, teacher["batch_stats"])
        return SynthesisState(self.fresh_generator(key), (), average)

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
        """As many as a batch needs, kernels N(0, 1) and biases 0."""
        shape = (self._layers, self.embedding_size, self.problem.generator.latent_size)
        return {"kernel": jax.random.normal(key, shape), "bias": jnp.zeros((shape[0], shape[2]))}

    def begin(self, state, key):
        """New noisy layers, and a new generator where the old one has lived; each layer is to make every class once."""
        problem = self.problem
        life_key, noisy_key, rest_key = jax.random.split(key, 3)
        due = (state.epoch % self.generator_life == 0) | ((state.epoch - self.warmup_epochs) % self.generator_life == 0)
        fresh = self.fresh_generator(life_key)
        generator = jax.tree.map(lambda new, old: jnp.where(due, new, old), fresh, state.synthesis.generator)
        generator["params"]["noisy"] = self.noisy_layers(noisy_key)
        state = state._replace(synthesis=state.synthesis._replace(generator=generator))

        number = jnp.arange(self.synthesis_batch_size)
        whole = self.synthesis_batch_size // problem.num_classes * problem.num_classes
        drawn = jax.random.randint(rest_key, number.shape, 0, problem.num_classes)
        targets = jnp.where(number < whole, number % problem.num_classes, drawn)
        wanted = Wanted(*collectives.local_part((targets, number // problem.num_classes), problem.axis_name))
        codes = jax.nn.one_hot(wanted.targets, problem.num_classes)
        inverted = inversion.begin_synthesis(
            generator, codes, self._optimizers, problem.image_shape, state.synthesis.statistics_average
        )
        return state, (inverted, wanted)

    def generate(self, variables, codes, layers):
        """Images of class codes (n, classes) through the noisy layers (n,): (images, new batch_stats)."""
        params = variables["params"]
        embedding = params["embedding"]
        spread = jnp.sqrt(jnp.var(embedding, axis=0) + 1e-5)
        embedded = codes @ ((embedding - jnp.mean(embedding, axis=0)) / spread)
        noisy = params["noisy"]
        # All layers on all images and then each image's own: one product instead of a kernel per image.
        through_all = jnp.einsum("ne,lez->nlz", embedded, noisy["kernel"]) + noisy["bias"]
        latents = jnp.take_along_axis(through_all, layers[:, None, None], axis=1)[:, 0]
        variables = {"params": params["generator"], "batch_stats": variables["batch_stats"]}
        images, updated = self.problem.generator.apply(variables, latents, train=True, mutable=["batch_stats"])
        return images, updated["batch_stats"]

    def step(self, state, carry, key):
        """One optimization step of generator, embeddings and noisy layers."""
        inverted, wanted = carry
        situation = situation_of(state, self.problem.num_classes)
        inverted, metrics = inversion.inversion_step(
            inverted,
            lambda images: self._synthesis.loss(images, wanted.targets, key, state.synthesis, situation),
            lambda variables, codes: self.generate(variables, codes, wanted.layers),
            self._optimizers,
            axis_name=self.problem.axis_name,
        )
        return (inverted, wanted), metrics

    def finish(self, state, carry):
        """The generator stays as the last step left it; the best images are what was made."""
        return self._synthesis.end(carry, state.synthesis, situation_of(state, self.problem.num_classes))

"""Where the images of FastDFKD, NAYER and SSD-KD come from: generators, and what is drawn for a batch and optimized."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ssdkd_jax import batchnorm, collectives, inversion, noisy_layer
from ssdkd_jax.methods.base import generate


class Draws(NamedTuple):
    """What a synthesis begins with, this device's part.

    generator: variables.
    targets: classes (n,) int32.
    latents: (n, latent_size) float32, which are optimized too; None where there are none.
    layers: (n,) int32 numbers of noisy layers; None where there are none.
    """

    generator: dict
    targets: jax.Array
    latents: jax.Array | None = None
    layers: jax.Array | None = None


@dataclasses.dataclass(frozen=True)
class MetaGenerator:
    """FastDFKD's: a fast copy of a meta generator, optimized together with latents.

    method: with the settings of FastDFKD's synthesis, and `drawn_classes`.
    """

    method: Any

    def init(self, key):
        """The generator's variables before the first synthesis."""
        generator = self.method.problem.generator
        return generator.init(key, jnp.zeros((1, generator.latent_size)))

    def draw(self, state, key):
        """Draws for a whole batch, of which each device takes its part."""
        problem, size = self.method.problem, self.method.synthesis_batch_size
        latent_key, target_key = jax.random.split(key)
        latents = jax.random.normal(latent_key, (size, problem.generator.latent_size))
        targets = self.method.drawn_classes(state, target_key)
        latents, targets = collectives.local_part((latents, targets), problem.axis_name)
        return Draws(state.synthesis.generator, targets, latents)

    def generate(self, drawn, variables, latents):
        """(images (n, h, w, c) in [0, 1], the variables after it) of latents (n, latent_size)."""
        del drawn
        return generate(self.method.problem.generator, variables, latents)

    @property
    def meta_update(self):
        """One of inversion.META_UPDATES."""
        return self.method.meta_update

    @functools.cached_property
    def optimizers(self):
        """inversion.MetaOptimizers."""
        m = self.method
        return inversion.meta_optimizers(m.generator_learning_rate, m.latent_learning_rate, m.inversion_steps)


@dataclasses.dataclass(frozen=True)
class NoisyLayer:
    """NAYER's: learned embeddings of the drawn classes through layers that no batch had before.

    method: with the settings of NAYER's synthesis.
    """

    method: Any

    meta_update = "none"

    def init(self, key):
        """Variables of generator, embeddings and noisy layers: `noisy_layer.init`."""
        return noisy_layer.init(
            self.method.problem.generator,
            key,
            batch_size=self.method.synthesis_batch_size,
            num_classes=self.method.problem.num_classes,
            embedding_size=self.method.embedding_size,
        )

    def draw(self, state, key, *, due=False):
        """Fresh noisy layers, and a fresh generator once the old one reaches `generator_life`, or where it is `due`."""
        drawn = noisy_layer.draw(
            state.synthesis.generator,
            self.init,
            (state.epoch % self.method.generator_life == 0) | due,
            key,
            batch_size=self.method.synthesis_batch_size,
            axis_name=self.method.problem.axis_name,
        )
        return Draws(drawn.generator, drawn.targets, layers=drawn.layers)

    def generate(self, drawn, variables, latents):
        """(images (n, h, w, c) in [0, 1], the variables after it) of the drawn classes."""
        del latents
        run = functools.partial(generate, self.method.problem.generator)
        return noisy_layer.generate(run, variables, drawn.targets, drawn.layers)

    @functools.cached_property
    def optimizers(self):
        """inversion.MetaOptimizers: Adam, fresh for every synthesis."""
        adam = optax.adam(self.method.generator_learning_rate, b1=0.5, b2=0.999)
        return inversion.MetaOptimizers(generator=adam, latents=optax.identity(), meta=optax.identity())


class GeneratedImages:
    """What methods with a `source`, one of the classes above, have in common."""

    def init_synthesis(self, key, teacher):
        """inversion.MetaState before the first synthesis."""
        return inversion.init_meta(self.source.init(key), self.source.optimizers.meta, teacher)

    def drawn_classes(self, state, key):
        """Classes for a whole batch, uniform ones: (n,) int32."""
        del state
        return jax.random.randint(key, (self.synthesis_batch_size,), 0, self.problem.num_classes)

    def make_images(self, state, teacher, drawn, key):
        """Optimizes what was drawn for `inversion_loss`: inversion.Synthesis; the state stays as it is.

        Args:
          state: State, whose `synthesis` is an inversion.MetaState.
          teacher: variables.
          drawn: Draws.
          key: of the optimization steps.
        """
        return inversion.meta_synthesis(
            state.synthesis._replace(generator=drawn.generator),
            drawn.latents,
            key,
            loss_function=lambda images, key: self.inversion_loss(state, teacher, images, drawn.targets, key),
            generate=functools.partial(self.source.generate, drawn),
            optimizers=self.source.optimizers,
            steps=self.inversion_steps,
            meta_update=self.source.meta_update,
            bn_momentum=self.bn_momentum,
            first=state.epoch == 0,
            axis_name=self.problem.axis_name,
        )

    def bn_loss(self, state, teacher, statistics):
        """L_BN of a batch's statistics in the teacher, blended with those of earlier batches: scalar."""
        momentum = jnp.where(state.epoch == 0, 0.0, self.bn_momentum)
        blended = batchnorm.blend(statistics, state.synthesis.statistics_average, momentum)
        return batchnorm.statistics_loss(blended, teacher["batch_stats"])

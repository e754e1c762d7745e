"""Where SSD-KD's images come from: generators, what is drawn for a batch, and what is optimized."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from ssdkd_jax import collectives, inversion, noisy_layer, replay_buffer
from ssdkd_jax.methods.base import Problem, generate
from ssdkd_jax.methods.ssdkd_settings import SSDKDSettings


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
    """FastDFKD's: a fast copy of a meta generator, optimized together with latents.  [our reading]"""

    problem: Problem
    settings: SSDKDSettings

    def init(self, key):
        """The generator's variables before the first synthesis."""
        return self.problem.generator.init(key, jnp.zeros((1, self.problem.generator.latent_size)))

    def draw(self, state, key):
        """Draws for a whole batch, of which each device takes its part."""
        size = self.settings.synthesis_batch_size
        latent_key, target_key = jax.random.split(key)
        latents = jax.random.normal(latent_key, (size, self.problem.generator.latent_size))
        targets = self.targets(state.buffer, target_key)
        latents, targets = collectives.local_part((latents, targets), self.problem.axis_name)
        return Draws(state.synthesis.generator, targets, latents)

    def targets(self, buffer, key):
        """Classes for a whole batch, (n,) int32: uniform ones, or with `lacking` in inverse proportion to 1 + n[c]."""
        size, num_classes = self.settings.synthesis_batch_size, self.problem.num_classes
        if self.settings.targets != "lacking":
            return jax.random.randint(key, (size,), 0, num_classes)
        counts = replay_buffer.class_counts(buffer, num_classes)
        return jax.random.categorical(key, -jnp.log1p(counts.astype(jnp.float32)), shape=(size,))

    def generate(self, drawn, variables, latents):
        """(images (n, h, w, c) in [0, 1], the variables after it) of latents (n, latent_size)."""
        del drawn
        return generate(self.problem.generator, variables, latents)

    @property
    def meta_update(self):
        """One of inversion.META_UPDATES."""
        return self.settings.meta_update

    @functools.cached_property
    def optimizers(self):
        """inversion.MetaOptimizers."""
        s = self.settings
        return inversion.meta_optimizers(s.generator_learning_rate, s.latent_learning_rate, s.inversion_steps)


@dataclasses.dataclass(frozen=True)
class NoisyLayer:
    """NAYER's: learned embeddings of the drawn classes through layers that no batch had before.  [ours]"""

    problem: Problem
    settings: SSDKDSettings

    meta_update = "none"

    def init(self, key):
        """Variables of generator, embeddings and noisy layers: `noisy_layer.init`."""
        return noisy_layer.init(
            self.problem.generator,
            key,
            batch_size=self.settings.synthesis_batch_size,
            num_classes=self.problem.num_classes,
            embedding_size=self.settings.embedding_size,
        )

    def draw(self, state, key):
        """Fresh noisy layers, and a fresh generator once the old one reaches `generator_life`."""
        drawn = noisy_layer.draw(
            state.synthesis.generator,
            self.init,
            state.epoch % self.settings.generator_life == 0,
            key,
            batch_size=self.settings.synthesis_batch_size,
            axis_name=self.problem.axis_name,
        )
        return Draws(drawn.generator, drawn.targets, layers=drawn.layers)

    def generate(self, drawn, variables, latents):
        """(images (n, h, w, c) in [0, 1], the variables after it) of the drawn classes."""
        del latents
        run = functools.partial(generate, self.problem.generator)
        return noisy_layer.generate(run, variables, drawn.targets, drawn.layers)

    @functools.cached_property
    def optimizers(self):
        """inversion.MetaOptimizers: Adam, fresh for every synthesis."""
        adam = optax.adam(self.settings.generator_learning_rate, b1=0.5, b2=0.999)
        return inversion.MetaOptimizers(generator=adam, latents=optax.identity(), meta=optax.identity())


SOURCES = {"meta": MetaGenerator, "noisy_layer": NoisyLayer}

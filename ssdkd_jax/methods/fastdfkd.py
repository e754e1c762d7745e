"""FastDFKD: Up to 100x Faster Data-Free Knowledge Distillation (AAAI 2022, arXiv 2112.06253).

One epoch: a meta generator, whose fast copy is optimized with latents for a few steps, makes a batch of images,
which enter a bank that keeps all of them; then the student is distilled on batches drawn uniformly from the bank.
Details follow zju-vipa/Fast-Datafree.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from ssdkd_jax import inversion
from ssdkd_jax.methods.image_bank import GrowingBank
from ssdkd_jax.methods.meta_generator import MetaSynthesis, situation_of

# The generator's first linear layer and the BatchNorm behind it, and what the public code re-initializes them with.
FIRST_LAYERS = ("l1.0", "conv_blocks.0")
RESET_DEVIATION = 0.02


@dataclasses.dataclass(frozen=True, kw_only=True)
class FastDFKD(GrowingBank):
    """FastDFKD with ten inversion steps; its methods are pure functions of arrays.

    Attributes (and those of GrowingBank and StudentTraining):
      generator_learning_rate, latent_learning_rate: lr_g and lr_z of Adam.
      meta_update: how the meta generator follows: fomaml, reptile or none ("fast" without the meta step).
      bn, oh, adv: weights of the inversion loss' three terms; adv counts after the warm-up only.
      bn_momentum: bn_mmt, share of earlier batches in the BatchNorm statistics; 0 switches the average off.
      reset_after: epochs after the warm-up at which the generator's first layers start anew; 0 is never.

    Raises:
      ValueError: an unknown `meta_update`.
    """

    epochs: int = 220
    warmup_epochs: int = 20
    generator_learning_rate: float = 2e-3
    latent_learning_rate: float = 0.01
    meta_update: str = "fomaml"
    bn: float = 10.0
    oh: float = 0.5
    adv: float = 1.33
    bn_momentum: float = 0.9
    reset_after: int = 120
    student_learning_rate: float = 0.2

    def __post_init__(self):
        if self.meta_update not in inversion.META_UPDATES:
            known = ", ".join(inversion.META_UPDATES)
            raise ValueError(f"meta_update is {self.meta_update!r}, expected one of {known}")

    @functools.cached_property
    def _synthesis(self):
        return MetaSynthesis.of(self)

    def init_synthesis(self, key, teacher):
        """meta_synthesis.SynthesisState before the first synthesis."""
        return self._synthesis.init(key, teacher)

    def begin(self, state, key):
        """Latents and classes of a new batch, from a generator whose first layers start anew once."""
        reset_key, key = jax.random.split(key)
        if self.reset_after:
            due = state.epoch == self.warmup_epochs + self.reset_after
            generator = state.synthesis.generator
            anew = {**generator, "params": reset_first_layers(generator["params"], reset_key)}
            generator = jax.tree.map(lambda new, old: jnp.where(due, new, old), anew, generator)
            state = state._replace(synthesis=state.synthesis._replace(generator=generator))
        return state, self._synthesis.begin(state.synthesis, key)

    def step(self, state, carry, key):
        """One optimization step of latents and generator."""
        return self._synthesis.step(carry, key, state.synthesis, situation_of(state, self.problem.num_classes))

    def finish(self, state, carry):
        """The meta generator follows; the best images are what was made."""
        return self._synthesis.end(carry, state.synthesis, situation_of(state, self.problem.num_classes))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fast5(FastDFKD):
    """FastDFKD with five inversion steps, as published."""

    inversion_steps: int = 5
    generator_learning_rate: float = 3e-3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fast2(FastDFKD):
    """FastDFKD with two inversion steps, as published."""

    inversion_steps: int = 2
    generator_learning_rate: float = 5e-3
    latent_learning_rate: float = 0.015


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fast(FastDFKD):
    """FastDFKD without the meta step: the fast copy becomes the generator."""

    meta_update: str = "none"


def reset_first_layers(params, key):
    """The generator's parameters with FIRST_LAYERS anew: weights normal with deviation 0.02, biases 0.

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

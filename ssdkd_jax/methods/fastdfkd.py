"""FastDFKD: Up to 100x Faster Data-Free Knowledge Distillation (AAAI 2022, arXiv 2112.06253).

One epoch: a meta generator, whose fast copy is optimised with latents for a few steps, makes a batch of images,
which enter a bank that keeps all of them; then the student is distilled on batches drawn uniformly from the bank.
Details follow zju-vipa/Fast-Datafree.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssdkd_jax import distillation, inversion, replay_buffer
from ssdkd_jax.methods.base import Method, Phase, Problem, networks_input, scanned_epoch
from ssdkd_jax.methods.meta_synthesis import MetaSynthesis, Situation, SynthesisState
from ssdkd_jax.methods.student_training import StudentTraining

# The generator's first linear layer and the BatchNorm behind it, and what the public code re-initialises them with.
FIRST_LAYERS = ("l1.0", "conv_blocks.0")
RESET_DEVIATION = 0.02


class State(NamedTuple):
    """Everything that an epoch changes, and the teacher; one pytree.

    teacher: its variables, never changed.
    student: distillation.StudentState.
    synthesis: meta_synthesis.SynthesisState.
    bank: replay_buffer.ReplayBuffer with room for every image of the run.
    epoch: int32 scalar, epochs done.
    """

    teacher: dict
    student: distillation.StudentState
    synthesis: SynthesisState
    bank: replay_buffer.ReplayBuffer
    epoch: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class FastDFKD:
    """FastDFKD on a problem; its methods are pure functions of arrays, `method` puts them together.

    Attributes:
      problem: networks and kind of images.
      epochs: of one synthesis and `kd_steps` student steps.
      warmup_epochs: first epochs, without student steps and without the adversarial loss.
      synthesis_batch_size: images made per epoch.
      inversion_steps: g_steps; 2, 5 and 10 are published as Fast-2, Fast-5 and Fast-10.
      generator_learning_rate, latent_learning_rate: lr_g and lr_z of Adam.
      meta_update: how the meta generator follows: fomaml, reptile or none ("fast" without the meta step).
      bn, oh, adv: weights of the inversion loss' three terms.
      bn_momentum: bn_mmt, share of earlier batches in the BatchNorm statistics; 0 switches the average off.
      reset_after: epochs after the warm-up at which the generator's first layers start anew; 0 is never.
      bank_dtype: of the stored images: "uint8" or a float dtype.
      kd_steps, kd_batch_size: student steps per epoch, and images per step.
      temperature: T of the student's loss.
      student_learning_rate, student_final_learning_rate: of SGD, a cosine over all student steps.
      student_momentum, student_weight_decay: of SGD.

    Raises:
      ValueError: an unknown `meta_update`.
    """

    problem: Problem
    epochs: int = 220
    warmup_epochs: int = 20
    synthesis_batch_size: int = 256
    inversion_steps: int = 10
    generator_learning_rate: float = 2e-3
    latent_learning_rate: float = 0.01
    meta_update: str = "fomaml"
    bn: float = 10.0
    oh: float = 0.5
    adv: float = 1.33
    bn_momentum: float = 0.9
    reset_after: int = 120
    bank_dtype: str = "uint8"
    kd_steps: int = 400
    kd_batch_size: int = 256
    temperature: float = 20.0
    student_learning_rate: float = 0.2
    student_final_learning_rate: float = 2e-4
    student_momentum: float = 0.9
    student_weight_decay: float = 1e-4

    def __post_init__(self):
        if self.meta_update not in inversion.META_UPDATES:
            known = ", ".join(inversion.META_UPDATES)
            raise ValueError(f"meta_update is {self.meta_update!r}, expected one of {known}")

    def method(self):
        """The Method."""
        return Method(
            init=self.init,
            synthesis=Phase(self.begin_synthesis, self.inversion_step, self.end_synthesis, self.inversion_steps),
            distillation=Phase(
                lambda state, key: state, self.distill_step, self.end_distillation, metrics=("student_loss",)
            ),
            distillation_steps=self._training.steps_of,
            held_back=self.held_back,
            sharded=sharded,
            buffer=lambda state: state.bank,
            student=lambda state: state.student,
        )

    @functools.cached_property
    def _synthesis(self):
        return MetaSynthesis(
            problem=self.problem,
            warmup_epochs=self.warmup_epochs,
            batch_size=self.synthesis_batch_size,
            steps=self.inversion_steps,
            generator_learning_rate=self.generator_learning_rate,
            latent_learning_rate=self.latent_learning_rate,
            meta_update=self.meta_update,
            bn=self.bn,
            oh=self.oh,
            adv=self.adv,
            adv_masked=True,
            bn_momentum=self.bn_momentum,
            augment=True,
            targets="drawn",
            modulate=inversion.Modulation(term="none"),
        )

    @functools.cached_property
    def _training(self):
        return StudentTraining(
            problem=self.problem,
            epochs=self.epochs,
            warmup_epochs=self.warmup_epochs,
            steps=self.kd_steps,
            temperature=self.temperature,
            learning_rate=self.student_learning_rate,
            final_learning_rate=self.student_final_learning_rate,
            momentum=self.student_momentum,
            weight_decay=self.student_weight_decay,
        )

    def init(self, key, teacher):
        """State before the first epoch, from a key and the teacher's variables."""
        student_key, generator_key = jax.random.split(key)
        return State(
            teacher=teacher,
            student=self._training.init(student_key),
            synthesis=self._synthesis.init(generator_key, teacher),
            bank=replay_buffer.init(
                max(1, self.epochs) * self.synthesis_batch_size,
                self.problem.image_shape,
                dtype=jnp.dtype(self.bank_dtype),
                batch_size=self.synthesis_batch_size,
            ),
            epoch=jnp.int32(0),
        )

    def epoch(self, state, key):
        """One epoch, (state, key) -> (state, metrics): synthesis, then this epoch's student steps."""
        return scanned_epoch(self.method())(state, key, self._training.steps_of(state.epoch))

    def begin_synthesis(self, state, key):
        """Latents and classes of a new batch, from a generator whose first layers start anew once."""
        reset_key, key = jax.random.split(key)
        if self.reset_after:
            due = state.epoch == self.warmup_epochs + self.reset_after
            generator = state.synthesis.generator
            anew = {**generator, "params": reset_first_layers(generator["params"], reset_key)}
            generator = jax.tree.map(lambda new, old: jnp.where(due, new, old), anew, generator)
            state = state._replace(synthesis=state.synthesis._replace(generator=generator))
        return state, self._synthesis.begin(state.synthesis, key)

    def inversion_step(self, carry, key):
        """One optimisation step of latents and generator."""
        state, made = carry
        made, metrics = self._synthesis.step(made, key, state.synthesis, self._situation(state))
        return (state, made), metrics

    def _situation(self, state):
        class_counts = jnp.zeros(self.problem.num_classes)  # which only phi asks for
        return Situation(state.teacher, state.student.variables, state.epoch, class_counts)

    def end_synthesis(self, carry, key):
        """The meta generator follows, and the best images enter the bank."""
        del key
        state, made = carry
        problem = self.problem
        synthesis, images, output = self._synthesis.end(made, state.synthesis, self._situation(state))
        bank = replay_buffer.insert(
            state.bank,
            images,
            problem.task.predicted_class(output),
            problem.task.confidence(output),
            state.bank.priority,
            axis_name=problem.axis_name,
        )
        metrics = {"buffer_size": replay_buffer.size(bank).astype(jnp.float32)}
        return state._replace(synthesis=synthesis, bank=bank), metrics

    def distill_step(self, state, key):
        """One student step on a batch drawn uniformly from the bank."""
        problem = self.problem
        sample_key, augment_key = jax.random.split(key)
        indices, weights = replay_buffer.sample(state.bank, sample_key, self.kd_batch_size, alpha=0.0, beta=0.0)
        images = replay_buffer.read(state.bank, indices, axis_name=problem.axis_name)
        images = networks_input(problem, augment_key, images)
        student, loss, _ = self._training.step(state.student, state.teacher, images, weights)
        return state._replace(student=student), {"student_loss": loss}

    def end_distillation(self, state, key):
        """Counts the epoch."""
        del key
        return state._replace(epoch=state.epoch + 1), {"learning_rate": self._training.learning_rate_after(state.epoch)}

    def held_back(self, state, key):
        """A synthesis whose images enter no bank and leave the state as it is."""
        return self._synthesis.make_images(state.synthesis, self._situation(state), key)


def fastdfkd(problem, **settings):
    """FastDFKD as a Method; `settings` are the attributes of `FastDFKD`."""
    return FastDFKD(problem=problem, **settings).method()


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


def sharded(state):
    """Only the bank's images are split over the devices."""
    only_images = jax.tree.map(lambda _: False, state.bank)._replace(images=True)
    return jax.tree.map(lambda _: False, state)._replace(bank=only_images)

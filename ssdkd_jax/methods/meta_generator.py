"""FastDFKD's synthesis of one batch of images, which SSD-KD builds upon (AAAI 2022, arXiv 2112.06253)."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from ssdkd_jax import batchnorm, collectives, inversion
from ssdkd_jax.data.normalization import normalize
from ssdkd_jax.methods.base import Problem, preprocess

UNMODULATED = inversion.Modulation(term="none")


class SynthesisState(NamedTuple):
    """What one synthesis leaves to the next.

    generator: variables of the meta generator.
    meta_optimizer_state: of its optimizer.
    statistics_average: running average of batch statistics (bn_mmt), with the structure of the teacher's `batch_stats`.
    """

    generator: dict
    meta_optimizer_state: optax.OptState
    statistics_average: dict


class Situation(NamedTuple):
    """What a synthesis finds when it begins, and does not change.

    teacher: variables.
    student: variables.
    epoch: int32 scalar, counted from 0.
    class_counts: (classes,) of the images so far.
    """

    teacher: dict
    student: dict
    epoch: jax.Array
    class_counts: jax.Array


def situation_of(state, num_classes):
    """Situation of a growing_bank.State, where nobody asks for the classes of the images so far."""
    return Situation(state.teacher, state.student.variables, state.epoch, jnp.zeros(num_classes))


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetaSynthesis:
    """A meta generator whose fast copy is optimized together with a batch of latents for a few steps.

    Attributes:
      problem: networks and kind of images.
      warmup_epochs: first epochs, without the adversarial loss.
      synthesis_batch_size: images of a synthesis.
      inversion_steps: g_steps.
      generator_learning_rate, latent_learning_rate: lr_g and lr_z of Adam.
      meta_update: how the meta generator follows: fomaml, reptile or none.
      bn, oh, adv: weights of the inversion loss' three terms.
      adv_masked: whether the adversarial term counts only samples on which teacher and student agree.
      bn_momentum: bn_mmt, share of earlier batches in the BatchNorm statistics; 0 switches the average off.
      augment_inversion: whether images are cropped and flipped before the networks see them.
      targets: classes of the task loss: "own", the teacher's own argmax, or "drawn".
      modulate: inversion.Modulation, SSD-KD's phi; its term is "none" elsewhere.
    """

    problem: Problem
    warmup_epochs: int
    synthesis_batch_size: int
    inversion_steps: int
    generator_learning_rate: float
    latent_learning_rate: float
    meta_update: str
    bn: float
    oh: float
    adv: float
    bn_momentum: float
    adv_masked: bool = True
    augment_inversion: bool = True
    targets: str = "drawn"
    modulate: inversion.Modulation = UNMODULATED

    @classmethod
    def of(cls, method, **fixed):
        """The synthesis with the settings that a method has under the same names, and with `fixed` ones; as FastDFKD's.

        Args:
          method: a `student_training.StudentTraining`.
        """
        names = {field.name for field in dataclasses.fields(cls) if hasattr(method, field.name)} - fixed.keys()
        return cls(**{name: getattr(method, name) for name in names}, **fixed)

    @functools.cached_property
    def _optimizers(self):
        return inversion.fastdfkd_optimizers(
            self.generator_learning_rate, self.latent_learning_rate, self.inversion_steps
        )

    def init(self, key, teacher):
        """SynthesisState before the first synthesis; `teacher` are its variables."""
        generator = self.problem.generator
        variables = generator.init(key, jnp.zeros((1, generator.latent_size)))
        return SynthesisState(
            generator=variables,
            meta_optimizer_state=self._optimizers.meta.init(variables["params"]),
            statistics_average=jax.tree.map(jnp.zeros_like, teacher["batch_stats"]),
        )

    def begin(self, state, key):
        """Draws latents and classes; the draws are the whole batch's, of which each device takes its part."""
        problem = self.problem
        latent_key, target_key = jax.random.split(key)
        latents = jax.random.normal(latent_key, (self.synthesis_batch_size, problem.generator.latent_size))
        drawn = jax.random.randint(target_key, (self.synthesis_batch_size,), 0, problem.num_classes)
        return self.batch(state, *collectives.local_part((latents, drawn), problem.axis_name))

    def batch(self, state, latents, drawn):
        """What is carried before the first step, of latents (n, latent_size) and classes (n,), this device's part."""
        inverted = inversion.begin_synthesis(
            state.generator, latents, self._optimizers, self.problem.image_shape, state.statistics_average
        )
        return inverted, drawn

    def step(self, carry, key, state, situation):
        """One optimization step of latents and fast generator: ((carry), metrics)."""
        inverted, drawn = carry
        inverted, metrics = inversion.inversion_step(
            inverted,
            lambda images: self.loss(images, drawn, key, state, situation),
            self._generate,
            self._optimizers,
            axis_name=self.problem.axis_name,
        )
        return (inverted, drawn), metrics

    def _generate(self, variables, latents):
        images, updated = self.problem.generator.apply(variables, latents, train=True, mutable=["batch_stats"])
        return images, updated["batch_stats"]

    def loss(self, images, drawn, key, state, situation):
        """What images (n, h, w, c) in [0, 1] are optimized for: (this device's loss, (statistics, metrics))."""
        problem, first_epoch = self.problem, situation.epoch == 0
        seen = preprocess(problem, key, images, augmented=self.augment_inversion)
        teacher_output, statistics = batchnorm.apply_with_batch_statistics(
            problem.teacher, situation.teacher, seen, axis_name=problem.axis_name
        )
        adv = jnp.where(situation.epoch < self.warmup_epochs, 0.0, self.adv)
        loss, metrics = inversion.inversion_loss(
            teacher_output,
            statistics,
            problem.student.apply(situation.student, seen),
            drawn if self.targets == "drawn" else None,
            task=problem.task,
            weights=inversion.LossWeights(self.bn, self.oh, adv),
            running=situation.teacher["batch_stats"],
            average=state.statistics_average,
            bn_momentum=jnp.where(first_epoch, 0.0, self.bn_momentum),
            class_counts=situation.class_counts,
            modulate=self.modulate,
            masked=self.adv_masked,
        )
        return loss, (statistics, metrics)

    def end(self, carry, state, situation):
        """The meta generator follows: (SynthesisState, images (n, h, w, c), the teacher's output on them)."""
        inverted, _ = carry
        problem = self.problem
        generator, meta_optimizer_state = inversion.meta_update(
            self.meta_update, state.generator, inverted, self._optimizers.meta, state.meta_optimizer_state
        )
        average = inversion.update_average(
            state.statistics_average, inverted.statistics, self.bn_momentum, first=situation.epoch == 0
        )
        images = inverted.best_images
        output = problem.teacher.apply(situation.teacher, normalize(images, problem.mean, problem.std))
        return SynthesisState(generator, meta_optimizer_state, average), images, output

    def make_images(self, state, situation, key):
        """A whole synthesis that leaves nothing to the next one: images (n, h, w, c), this device's part."""
        begin_key, step_key = jax.random.split(key)

        def step(carry, key):
            return self.step(carry, key, state, situation)

        keys = jax.random.split(step_key, self.inversion_steps)
        (inverted, _), _ = jax.lax.scan(step, self.begin(state, begin_key), keys)
        return inverted.best_images

"""SSD-KD: Small Scale Data-Free Knowledge Distillation (CVPR 2024, arXiv 2406.07876).

One epoch: a batch of images is synthesized under the modulating loss and enters a small replay buffer, where it
replaces the entries of lowest reward; then the student is distilled on batches that priority sampling draws from the
buffer, and what it learns sets the priorities anew.  The synthesis and the student's optimizer are FastDFKD's, without
its one reset of the generator's first layer, which is our reading.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssdkd_jax import collectives, inversion, modulation, replay_buffer, train_state
from ssdkd_jax.methods.base import Method, Phase, no_metrics, preprocess, unchanged
from ssdkd_jax.methods.meta_generator import MetaSynthesis, Situation, SynthesisState
from ssdkd_jax.methods.student_training import StudentTraining, only_images_sharded

# Fields that take one of a few names.
SWITCHES = {
    "meta_update": inversion.META_UPDATES,
    "targets": ("own", "drawn"),
    "modulated_term": modulation.MODULATED_TERMS,
    "replacement": ("lowest_priority", "oldest", "lowest_phi", "random"),
    "priority": ("weighted_kl", "kl"),
    "weight_normalization": replay_buffer.NORMALIZATIONS,
}


class State(NamedTuple):
    """Everything that an epoch changes, and the teacher; one pytree.

    teacher: its variables, never changed.
    student: train_state.TrainState.
    synthesis: meta_synthesis.SynthesisState.
    buffer: replay_buffer.ReplayBuffer.
    epoch: int32 scalar, epochs done.
    """

    teacher: dict
    student: train_state.TrainState
    synthesis: SynthesisState
    buffer: replay_buffer.ReplayBuffer
    epoch: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class SSDKD(StudentTraining):
    """SSD-KD; its methods are pure functions of arrays, `method` puts them together.

    Attributes (and those of StudentTraining):
      synthesis_batch_size: images made per epoch.
      inversion_steps: g_steps, optimization steps per synthesis.
      generator_learning_rate, latent_learning_rate: lr_g and lr_z of Adam.
      meta_update: how the meta generator follows: fomaml, reptile or none.
      bn, oh, adv: weights of the inversion loss' three terms; adv counts after the warm-up only.
      adv_masked: whether the adversarial term counts only samples on which teacher and student agree.
      bn_momentum: bn_mmt, share of earlier batches in the BatchNorm statistics; 0 switches the average off.
      augment_inversion: whether images are cropped and flipped before the networks see them in a synthesis.
      targets: classes of the task loss: "own", the teacher's own argmax, or "drawn".  [our reading: own]
      gamma: exponent of phi's difficulty part.  [our reading: 1]
      use_diversity, use_difficulty: the two parts of phi.
      modulated_term: what phi weighs: task, adversarial, both or none.  [our reading: task]
      gradient_through_phi: whether images are also optimized for a small or large phi.  [our reading: no]
      buffer_size: images that the replay buffer holds; the paper's "small" is 10 % of the real training set.
      buffer_dtype: "uint8" or a float dtype.
      replacement: whom a new image replaces: lowest_priority, oldest, lowest_phi or random.  [our reading: priority]
      alpha: exponent of the priorities; 0 samples uniformly.
      beta_start, beta_end: exponent of the importance weights, annealed linearly over the epochs after the warm-up.
      priority: "weighted_kl", the importance weight times KL(teacher || student) at T = 1, or "kl" alone.
      priority_epsilon: added to every priority.
      weight_normalization: of the importance weights, see `replay_buffer.sample`.  [our reading: mean]

    Raises:
      ValueError: an unknown name of a switch.
    """

    epochs: int = 220
    warmup_epochs: int = 20
    synthesis_batch_size: int = 256
    inversion_steps: int = 5
    generator_learning_rate: float = 3e-3
    latent_learning_rate: float = 0.01
    meta_update: str = "fomaml"
    bn: float = 10.0
    oh: float = 0.5
    adv: float = 1.33
    adv_masked: bool = True
    bn_momentum: float = 0.9
    augment_inversion: bool = True
    targets: str = "own"
    gamma: float = 1.0
    use_diversity: bool = True
    use_difficulty: bool = True
    modulated_term: str = "task"
    gradient_through_phi: bool = False
    buffer_size: int = 5000
    buffer_dtype: str = "uint8"
    replacement: str = "lowest_priority"
    alpha: float = 0.6
    beta_start: float = 0.4
    beta_end: float = 1.0
    priority: str = "weighted_kl"
    priority_epsilon: float = 1e-6
    weight_normalization: str = "mean"
    student_learning_rate: float = 0.2

    def __post_init__(self):
        for field, known in SWITCHES.items():
            if getattr(self, field) not in known:
                raise ValueError(f"{field} is {getattr(self, field)!r}, expected one of {', '.join(known)}")

    def method(self):
        """The Method."""
        return Method(
            init=self.init,
            synthesis=Phase(self.begin_synthesis, self.inversion_step, self.end_synthesis, self.inversion_steps),
            distillation=Phase(
                unchanged,
                self.distill_step,
                no_metrics,
                metrics=("student_loss", "divergence", "importance_ratio"),
            ),
            distillation_steps=self.steps_of,
            end=self.end,
            new_images=lambda epoch: self.synthesis_batch_size,
            batch_sizes=(self.synthesis_batch_size, self.kd_batch_size),
            held_out=self.held_out,
            sharded=lambda state: only_images_sharded(state, "buffer"),
            buffer=lambda state: state.buffer,
            student=lambda state: state.student,
        )

    @functools.cached_property
    def _synthesis(self):
        phi = inversion.Modulation(
            self.gamma, self.use_diversity, self.use_difficulty, self.modulated_term, self.gradient_through_phi
        )
        return MetaSynthesis.of(self, modulate=phi)

    def init(self, key, teacher):
        """State before the first epoch, from a key and the teacher's variables."""
        student_key, generator_key = jax.random.split(key)
        return State(
            teacher=teacher,
            student=self.init_student(student_key),
            synthesis=self._synthesis.init(generator_key, teacher),
            buffer=replay_buffer.init(
                self.buffer_size,
                self.problem.image_shape,
                dtype=jnp.dtype(self.buffer_dtype),
                batch_size=self.synthesis_batch_size,
            ),
            epoch=jnp.int32(0),
        )

    def begin_synthesis(self, state, key):
        """Latents and classes of a new batch."""
        return state, self._synthesis.begin(state.synthesis, key)

    def inversion_step(self, carry, key):
        """One optimization step of latents and generator under the modulating loss."""
        state, made = carry
        made, metrics = self._synthesis.step(made, key, state.synthesis, self._situation(state))
        return (state, made), metrics

    def _situation(self, state):
        class_counts = replay_buffer.class_counts(state.buffer, self.problem.num_classes)
        return Situation(state.teacher, state.student.variables, state.epoch, class_counts)

    def end_synthesis(self, carry, key):
        """The meta generator follows, and the best images enter the buffer."""
        state, made = carry
        problem = self.problem
        synthesis, images, output = self._synthesis.end(made, state.synthesis, self._situation(state))
        buffer = replay_buffer.insert(
            state.buffer,
            images,
            problem.task.predicted_class(output),
            problem.task.confidence(output),
            self._replacement_reward(state.buffer, key),
            axis_name=problem.axis_name,
        )
        return state._replace(synthesis=synthesis, buffer=buffer), _buffer_metrics(buffer, problem.num_classes)

    def _replacement_reward(self, buffer, key):
        if self.replacement == "lowest_priority":
            return buffer.priority
        if self.replacement == "oldest":
            return -buffer.age.astype(jnp.float32)
        if self.replacement == "random":
            return jax.random.uniform(key, buffer.priority.shape)
        return modulation.phi(
            replay_buffer.class_counts(buffer, self.problem.num_classes),
            buffer.predicted_class,
            buffer.confidence,
            gamma=self.gamma,
            use_diversity=self.use_diversity,
            use_difficulty=self.use_difficulty,
        )

    def distill_step(self, state, key):
        """One student step on a batch that priority sampling draws; its divergences are the new priorities."""
        problem = self.problem
        sample_key, augment_key = jax.random.split(key)
        indices, weights = replay_buffer.sample(
            state.buffer,
            sample_key,
            self.kd_batch_size,
            alpha=self.alpha,
            beta=self._beta(state.epoch),
            epsilon=self.priority_epsilon,
            normalize_by=self.weight_normalization,
        )
        images = replay_buffer.read(state.buffer, indices, axis_name=problem.axis_name)
        images = preprocess(problem, augment_key, images)
        student, loss, divergence = self.student_step(state.student, state.teacher, images, weights)
        divergence = collectives.all_gather(divergence, problem.axis_name)
        priorities = divergence * weights if self.priority == "weighted_kl" else divergence
        buffer = replay_buffer.update_priorities(state.buffer, indices, priorities)
        metrics = {
            "student_loss": loss,
            "divergence": jnp.mean(divergence),
            "importance_ratio": jnp.min(weights) / jnp.max(weights),
        }
        return state._replace(student=student, buffer=buffer), metrics

    def _beta(self, epoch):
        progress = (epoch - self.warmup_epochs) / max(1, self.epochs - self.warmup_epochs)
        return self.beta_start + (self.beta_end - self.beta_start) * jnp.clip(progress, 0.0, 1.0)

    def held_out(self, state, key):
        """A synthesis whose images enter no buffer and leave the state as it is."""
        return self._synthesis.make_images(state.synthesis, self._situation(state), key)


def _buffer_metrics(buffer, num_classes):
    """How full the buffer is, and the entropy of its classes as a share of the largest possible (1 = balanced)."""
    shares = replay_buffer.class_counts(buffer, num_classes) / jnp.maximum(replay_buffer.size(buffer), 1)
    entropy = -jnp.sum(shares * jnp.log(jnp.maximum(shares, 1e-12))) / jnp.log(num_classes)
    return {
        "buffer_size": replay_buffer.size(buffer).astype(jnp.float32),
        "class_entropy": entropy,
    }

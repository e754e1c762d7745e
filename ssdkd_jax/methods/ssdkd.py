"""SSD-KD: Small Scale Data-Free Knowledge Distillation (CVPR 2024, arXiv 2406.07876).

One epoch: a batch of images is synthesized under the modulating loss and enters a small replay buffer, where it
replaces the entries of lowest priority, by default; then the student is distilled on batches that priority sampling
draws from the buffer, and what it learns sets their priorities.  The synthesis and the student's optimizer are
FastDFKD's, without its one reset of the generator's first layer, which is our reading.
"""

import dataclasses
import functools
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from ssdkd_jax import collectives, inversion, kept_views, modulation, replay_buffer
from ssdkd_jax.data.preprocessing import normalize
from ssdkd_jax.methods.base import see
from ssdkd_jax.methods.generator_sources import GeneratedImages, MetaGenerator, NoisyLayer
from ssdkd_jax.methods.ssdkd_settings import SSDKDSettings
from ssdkd_jax.train_state import TrainState

# What the key of the kept views is folded from: no other key of a synthesis comes from this number.
VIEWS = 1


class State(NamedTuple):
    """Everything that an epoch changes; one pytree.

    student: TrainState.
    synthesis: inversion.MetaState.
    buffer: replay_buffer.ReplayBuffer.
    draws: how often a student step drew each entry since it came in, (B,) int32.
    views: kept_views.KeptViews of the buffer's entries; () where none are kept.
    epoch: int32 scalar, epochs done.
    """

    student: TrainState
    synthesis: inversion.MetaState
    buffer: replay_buffer.ReplayBuffer
    draws: jax.Array
    views: kept_views.KeptViews | tuple
    epoch: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class SSDKD(GeneratedImages, SSDKDSettings):
    """SSD-KD, with the settings of `ssdkd_settings`."""

    tasks: ClassVar[tuple[str, ...]] = ("classification", "segmentation")

    def init(self, key, teacher):
        """State before the first epoch: a fresh student and generator, and an empty buffer."""
        student_key, generator_key = jax.random.split(key)
        return State(
            student=self.init_student(student_key),
            synthesis=self.init_synthesis(generator_key, teacher),
            buffer=replay_buffer.init(
                self.buffer_size,
                self.problem.image_shape,
                dtype=jnp.dtype(self.buffer_dtype),
                batch_size=self.synthesis_batch_size,
                predicted_class=self.problem.task.no_image_classes(self.buffer_size, self.problem.num_classes),
            ),
            draws=jnp.zeros(self.buffer_size, jnp.int32),
            views=self.init_views(self.buffer_size),
            epoch=jnp.int32(0),
        )

    # ---- synthesis

    def synthesize(self, state, teacher, key):
        """A batch of images enters the buffer, in place of the entries of lowest reward."""
        draw_key, step_key, replacement_key = jax.random.split(key, 3)
        made = self.make_images(state, teacher, self.source.draw(state, draw_key), step_key)
        problem, task = self.problem, self.problem.task
        output = problem.teacher.apply(teacher, normalize(made.images, problem.mean, problem.std))
        reward = self.reward(state.buffer, replacement_key)
        buffer = replay_buffer.insert(
            state.buffer,
            made.images,
            task.image_classes(output),
            task.confidence(output),
            reward,
            first_priority=self.insertion,
            axis_name=problem.axis_name,
        )
        views = state.views
        if self.views:
            slots = replay_buffer.slots_to_fill(state.buffer, reward, self.synthesis_batch_size)
            views = self.keep_views(views, buffer, teacher, state.epoch, slots, jax.random.fold_in(key, VIEWS))
        draws = jnp.where(buffer.age == 0, 0, state.draws)
        state = state._replace(synthesis=made.state, buffer=buffer, draws=draws, views=views)
        metrics = {
            "buffer_size": replay_buffer.size(buffer).astype(jnp.float32),
            "class_entropy": replay_buffer.evenness(replay_buffer.class_counts(buffer, problem.num_classes)),
        }
        return state, {**made.metrics, **metrics}

    @functools.cached_property
    def source(self):
        """What images are made by: FastDFKD's meta generator [our reading], or NAYER's noisy layer [ours]."""
        return MetaGenerator(self) if self.synthesis == "meta" else NoisyLayer(self)

    def drawn_classes(self, state, key):
        """Classes for a whole batch, (n,) int32: uniform ones, or with `lacking` in inverse proportion to 1 + n[c]."""
        if self.targets != "lacking":
            return super().drawn_classes(state, key)
        counts = replay_buffer.class_counts(state.buffer, self.problem.num_classes)
        logits = -jnp.log1p(counts.astype(jnp.float32))
        return jax.random.categorical(key, logits, shape=(self.synthesis_batch_size,))

    def inversion_loss(self, state, teacher, images, drawn_targets, key):
        """What images are optimized for: `bn * L_BN + oh * mean(phi * L_task) + adv * L_adv`, by default.

        Args:
          state: State.
          teacher: variables.
          images: (n, h, w, c) in [0, 1], this device's part of the batch.
          drawn_targets: (n,) int32, used with `targets="drawn"`.
          key: of the augmentation.

        Returns:
          (loss, the batch's statistics in the teacher, metrics): this device's.
        """
        problem, task = self.problem, self.problem.task
        seen = see(problem, teacher, state.student.variables, images, key, augmented=self.augment_inversion)
        output, confidence = seen.teacher_output, task.confidence(seen.teacher_output)
        phi = self.phi(state.buffer, task.image_classes(output), confidence)
        weight = phi if self.phi_scale == "raw" else modulation.of_mean_one(phi, axis_name=problem.axis_name)
        own = self.targets == "own"
        task_loss, adversarial_loss = modulation.modulating_loss(
            weight,
            task.task_loss(output, task.predicted_class(output) if own else task.drawn_targets(output, drawn_targets)),
            task.adversarial(output, seen.student_output, self.adv_masked),
            term=self.modulated_term,
            through_phi=self.gradient_through_phi,
        )
        bn_loss = self.bn_loss(state, teacher, seen.statistics)
        adv = jnp.where(state.epoch < self.warmup_epochs, 0.0, self.adv)
        loss = self.bn * jnp.maximum(bn_loss - self.bn_floor, 0.0) + self.oh * task_loss + adv * adversarial_loss
        metrics = {
            "inversion_loss": loss,
            "bn_loss": bn_loss,
            "task_loss": task_loss,
            "adversarial_loss": adversarial_loss,
            "phi": jnp.mean(phi),
            "teacher_confidence": jnp.mean(confidence),
        }
        return loss, seen.statistics, metrics

    def phi(self, buffer, predicted_class, confidence):
        """The modulating function phi(x), (n,), of images with these classes and confidences, given the buffer."""
        return modulation.phi(
            replay_buffer.class_counts(buffer, self.problem.num_classes),
            predicted_class,
            confidence,
            gamma=self.gamma,
            use_diversity=self.use_diversity,
            use_difficulty=self.use_difficulty,
        )

    def keep_views(self, views, buffer, teacher, epoch, slots, key):
        """The kept views: new ones of the entries at `slots`, which are new, and of the next entries in turn."""
        new_key, renewal_key = jax.random.split(key)
        views = self.with_new_views(views, buffer, teacher, slots, new_key)
        if not self.renewed_views:
            return views
        turn = (epoch * self.renewed_views + jnp.arange(self.renewed_views)) % self.buffer_size
        return self.with_new_views(views, buffer, teacher, turn, renewal_key)

    def reward(self, buffer, key):
        """(B,) what each entry is worth; new images replace the lowest."""
        if self.replacement == "oldest":
            return -buffer.age.astype(jnp.float32)
        if self.replacement == "random":
            return jax.random.uniform(key, buffer.priority.shape)
        if self.replacement == "lowest_phi":
            return self.phi(buffer, buffer.predicted_class, buffer.confidence)
        if self.replacement == "quota":
            return -replay_buffer.rank_in_class(buffer).astype(jnp.float32)
        return buffer.priority

    # ---- student

    def distill_step(self, state, teacher, key):
        """One student step on a batch that priority sampling draws; its divergences are the entries' new priorities."""
        problem = self.problem
        sample_key, augment_key = jax.random.split(key)
        indices, weights = replay_buffer.sample(
            state.buffer,
            sample_key,
            self.kd_batch_size,
            alpha=self.alpha,
            beta=self.beta(state.epoch),
            epsilon=self.priority_epsilon,
            normalize_by=self.weight_normalization,
        )
        modulated = weights
        if self.modulate_student:
            phi = self.phi(state.buffer, state.buffer.predicted_class[indices], state.buffer.confidence[indices])
            modulated = weights * modulation.of_mean_one(phi)
        student, loss, divergence = self.step_on_stored(state, state.buffer, teacher, indices, modulated, augment_key)
        divergence = collectives.all_gather(divergence, problem.axis_name)
        priorities = divergence * weights if self.priority == "weighted_kl" else divergence
        buffer = replay_buffer.update_priorities(state.buffer, indices, priorities)
        metrics = {
            "student_loss": loss,
            "divergence": jnp.mean(divergence),
            "importance_ratio": jnp.min(weights) / jnp.max(weights),
        }
        draws = state.draws.at[indices].add(1)
        return state._replace(student=student, buffer=buffer, draws=draws), metrics

    def beta(self, epoch):
        """Exponent of the importance weights: linear over the epochs after the warm-up."""
        progress = (epoch - self.warmup_epochs) / max(1, self.epochs - self.warmup_epochs)
        return self.beta_start + (self.beta_end - self.beta_start) * jnp.clip(progress, 0.0, 1.0)

    # ---- for the training loop

    def held_out(self, state, teacher, key):
        """A synthesis whose images enter no buffer and leave the state as it is."""
        draw_key, step_key = jax.random.split(key)
        return self.make_images(state, teacher, self.source.draw(state, draw_key), step_key).images

    def buffer(self, state):
        """The replay buffer."""
        return state.buffer

    def draw_counts(self, state):
        """How often each entry was drawn."""
        return state.draws

    def with_buffer(self, state, buffer):
        """The state with another buffer."""
        return state._replace(buffer=buffer)

    def images_made(self, epoch):
        """Images of one synthesis."""
        del epoch
        return self.synthesis_batch_size

    def images_processed(self, epoch):
        """Images processed by synthesis and student steps."""
        return self.synthesis_batch_size + self.student_steps(epoch) * self.kd_batch_size

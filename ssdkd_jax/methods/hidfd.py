"""HiDFD: Hybrid Data-Free Knowledge Distillation (AAAI 2025), from a few collected images without labels.

Stage 1 (the warm-up, `guided_generation`) trains a class-conditional GAN that the frozen teacher guides against the
collected images; its last epoch fills a bank with generated images.  Stage 2 distills the student on the hybrid set,
which is the bank, and the collected images as many times as `inflation` says.  The released code
(tangjialiang97/HiDFD) does not run; where it and the paper differ, the default is the paper's intent, and the preset
`hidfd_released` is the code.
"""

import dataclasses
import functools
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ssdkd_jax import collectives, guided_gan, modulation, replay_buffer, train_state
from ssdkd_jax.data.preprocessing import normalize, random_flip, random_resized_crop, to_unit
from ssdkd_jax.loops import repeat
from ssdkd_jax.methods.base import preprocess
from ssdkd_jax.methods.guided_generation import GuidedGeneration
from ssdkd_jax.models import simkd
from ssdkd_jax.train_state import TrainState
from ssdkd_jax.user_code import is_user_code

# Shares of stage 2 after which the learning rate is a tenth: epochs 150, 180 and 210 of 240, as published.
DROPS = (0.625, 0.75, 0.875)
# What the key of a batch that enters the bank in stage 2 is folded from: no other key of an epoch comes from it.
FILL = 1


class State(NamedTuple):
    """Everything that an epoch changes; one pytree.

    student: TrainState.
    gan: guided_gan.GANState; () where no generator is trained.
    bank: replay_buffer.ReplayBuffer of generated images; () where there are none.
    epoch: int32 scalar, epochs done.
    """

    student: TrainState
    gan: guided_gan.GANState | tuple
    bank: replay_buffer.ReplayBuffer | tuple
    epoch: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class HiDFD(GuidedGeneration):
    """HiDFD, with the settings of `hidfd_settings`."""

    needs_batch_norm: ClassVar[bool] = False
    uses_generator: ClassVar[bool] = False
    given: ClassVar[str] = "collected"

    @classmethod
    def student_network(cls, student, teacher, values):
        """With SimKD, the student with the teacher's classifier on top."""
        if values["distillation"] != "simkd":
            return student
        for name in (student, teacher):
            if is_user_code(name):
                raise ValueError(f"distillation is simkd, which joins networks of this project; expected kd for {name}")
        return f"{student}{simkd.JOINT}{teacher}"

    def init(self, key, teacher):
        """State before the first epoch: fresh networks and an empty bank."""
        student_key, gan_key = jax.random.split(key)
        gan, bank = (), ()
        if self.generated_images:
            judged = self.problem.image_shape if self.discriminator == "plain" else (self._feature_size(teacher),)
            gan = guided_gan.init(self.gan(teacher), gan_key, judged, self.problem.num_classes)
            bank = replay_buffer.init(
                self.generated_images, self.problem.image_shape, batch_size=self.synthesis_batch_size
            )
        student = self.init_student(student_key)
        if self.distillation == "simkd":
            classifier = simkd.classifier_path(self.problem.teacher, self.problem.image_shape)
            student = student._replace(params={**student.params, simkd.CLASSIFIER: teacher["params"][classifier]})
        return State(student, gan, bank, epoch=jnp.int32(0))

    # ---- stage 2

    def train_student(self, state, teacher, key):
        """The epoch's student steps; with replay, a batch enters the bank first."""
        if self.replay:
            fill_key, fills = jax.random.fold_in(key, FILL), jnp.where(state.epoch < self.warmup_epochs, 0, 1)
            state, _ = repeat(lambda state, key: self.fill(state, teacher, key), state, fill_key, fills)
        return super().train_student(state, teacher, key)

    def distill_step(self, state, teacher, key):
        """One student step on a batch of the hybrid set."""
        sample_key, source_key, view_key = jax.random.split(key, 3)
        given, axis_name = teacher["given"]["images"], self.problem.axis_name
        collected = self.inflation * len(given)
        rows = jax.random.randint(source_key, (self.kd_batch_size,), 0, len(given))
        images, weights = to_unit(given[collectives.local_part(rows, axis_name)]), jnp.ones(self.kd_batch_size)
        if self.generated_images:
            share = self.generated_images / (self.generated_images + collected)
            generated = jax.random.bernoulli(jax.random.fold_in(source_key, 1), share, (self.kd_batch_size,))
            indices, drawn = self.sample(state.bank, sample_key)
            weights = jnp.where(generated, drawn, weights)
            here = collectives.local_part(generated, axis_name)[:, None, None, None]
            images = jnp.where(here, replay_buffer.read(state.bank, indices, axis_name=axis_name), images)
        student, loss, divergence = self.student_step(state.student, teacher, self.view(view_key, images), weights)
        if self.replay:
            divergence = collectives.all_gather(divergence, axis_name)
            # Rows of collected images are out of range, and are dropped.
            indices = jnp.where(generated, indices, self.generated_images)
            state = state._replace(bank=replay_buffer.update_priorities(state.bank, indices, divergence))
        return state._replace(student=student), {"student_loss": loss}

    def sample(self, bank, key):
        """(indices, weights) of a batch of the bank, (kd_batch_size,), whose mean weight is 1."""
        if not self.replay:
            return replay_buffer.sample(bank, key, self.kd_batch_size, alpha=0.0, beta=0.0)
        sampling = {"alpha": self.alpha, "beta": self.beta, "normalize_by": "mean"}
        indices, weights = replay_buffer.sample(bank, key, self.kd_batch_size, **sampling)
        counts = replay_buffer.class_counts(bank, self.problem.num_classes)
        phi = modulation.phi(counts, bank.predicted_class[indices], bank.confidence[indices], gamma=self.gamma)
        weights = weights * modulation.of_mean_one(phi)
        return indices, weights / jnp.mean(weights)

    def view(self, key, images):
        """What the networks see of images in [0, 1]: a random resized crop, by default, and a flip; normalized."""
        problem = self.problem
        if self.resized_crop == 1:
            return preprocess(problem, key, images)
        crop_key, flip_key = jax.random.split(key)
        images = random_resized_crop(crop_key, images, self.resized_crop, axis_name=problem.axis_name)
        if problem.flip:
            images = random_flip(flip_key, images, axis_name=problem.axis_name)
        return normalize(images, problem.mean, problem.std)

    def student_step(self, student, teacher, images, weights):
        """A step towards the teacher's last feature map with SimKD, towards its logits with KD."""
        if self.distillation == "kd":
            return super().student_step(student, teacher, images, weights)
        teacher_map = self.problem.teacher.apply(teacher, images, return_features="map")
        return self.student_step_given(student, images, weights, teacher_map)

    def student_loss(self, teacher_output, student_output, temperature):
        """Per sample: the distance of the last maps with SimKD, `T^2 * KL` with KD."""
        if self.distillation == "kd":
            return super().student_loss(teacher_output, student_output, temperature)
        return simkd.map_distance(teacher_output, student_output)

    def apply_student(self, variables, images):
        """The student in training mode: (output, new batch_stats); with SimKD, the projected map."""
        if self.distillation == "kd":
            return super().apply_student(variables, images)
        return train_state.apply_training(self.problem.student, variables, images, return_features="map")

    @functools.cached_property
    def _schedule(self):
        if self.has_final_learning_rate:
            return super()._schedule
        steps = max(1, (self.epochs - self.warmup_epochs) * self.kd_steps)
        return optax.piecewise_constant_schedule(
            self.student_learning_rate, {round(share * steps): 0.1 for share in DROPS}
        )

    @functools.cached_property
    def _optimizer(self):
        optimizer = super()._optimizer
        if self.distillation == "kd":
            return optimizer

        def is_teachers_classifier(params):
            return {name: name == simkd.CLASSIFIER for name in params}

        # Without a gradient it would still decay.
        return optax.chain(optimizer, optax.masked(optax.set_to_zero(), is_teachers_classifier))

    # ---- for the training loop

    def held_out(self, state, teacher, key):
        """Fresh generated images, or, where no generator is trained, a sample of the collected ones."""
        if self.generated_images:
            return guided_gan.sample(self.gan(teacher), state.gan, self.draw(key))
        given = teacher["given"]["images"]
        rows = jax.random.randint(key, (self.kd_batch_size,), 0, len(given))
        return to_unit(given[collectives.local_part(rows, self.problem.axis_name)])

    def buffer(self, state):
        """The bank; None where no generator is trained."""
        return state.bank if self.generated_images else None

    def with_buffer(self, state, buffer):
        """The state with another bank."""
        return state._replace(bank=buffer)

    def images_made(self, epoch):
        """The whole bank in the last epoch of stage 1; with replay, a batch in each of stage 2."""
        if self.generated_images and epoch == self.warmup_epochs - 1:
            return self._fills * self.synthesis_batch_size
        return self.synthesis_batch_size if self.replay and epoch >= self.warmup_epochs else 0

    def images_processed(self, epoch):
        """Real and generated images of the GAN's steps, those that fill the bank, and those of the student steps."""
        gan = 3 * self.gan_steps * self.synthesis_batch_size if self.synthesizes(epoch) else 0
        return gan + self.images_made(epoch) + self.student_steps(epoch) * self.kd_batch_size

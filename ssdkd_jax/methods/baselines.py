"""What data-free methods are measured against: the same student, trained on images that are given.

Upper baselines: KD on the real training set or on a share of it, and training on its labels without a teacher.  Lower
ones: KD on noise, and on images of another data set.
"""

import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from ssdkd_jax import collectives, train_state
from ssdkd_jax.data.preprocessing import to_unit
from ssdkd_jax.methods.base import preprocess
from ssdkd_jax.methods.student_training import StudentTraining
from ssdkd_jax.settings import setting


class State(NamedTuple):
    """Everything that an epoch changes; one pytree.

    student: TrainState.
    epoch: int32 scalar, epochs done.
    """

    student: train_state.TrainState
    epoch: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class VanillaKD(StudentTraining):
    """KD (Hinton et al. 2015) on batches drawn uniformly from the real training set."""

    tasks: ClassVar[tuple[str, ...]] = ("classification", "segmentation")
    needs_batch_norm: ClassVar[bool] = False
    makes_images: ClassVar[bool] = False
    uses_generator: ClassVar[bool] = False
    given: ClassVar[str] = "train"

    share: float = setting(1.0, "of the real training set, of each class, which is given", more_than=0, at_most=1)

    def init(self, key, teacher):
        """State before the first epoch."""
        del teacher
        return State(self.init_student(key), epoch=jnp.int32(0))

    def synthesize(self, state, teacher, key):
        """Nothing: images are given."""
        del teacher, key
        return state, {}

    def draw(self, given, key):
        """(images (n, h, w, c) in [0, 1], labels) of this device's part of a batch drawn uniformly."""
        indices = jax.random.randint(key, (self.kd_batch_size,), 0, given["images"].shape[0])
        indices = collectives.local_part(indices, self.problem.axis_name)
        return to_unit(given["images"][indices]), given["labels"][indices]

    def distill_step(self, state, teacher, key):
        """One student step on a batch of given images, augmented."""
        draw_key, augment_key = jax.random.split(key)
        images, labels = self.draw(teacher["given"], draw_key)
        images = preprocess(self.problem, augment_key, images)
        student, loss = self.learn(state.student, teacher, images, labels, augment_key)
        return state._replace(student=student), {"student_loss": loss}

    def learn(self, student, teacher, images, labels, augment_key):
        """One student step on a batch whose images were augmented with this key: (TrainState, loss)."""
        del labels, augment_key
        student, loss, _ = self.student_step(student, teacher, images, jnp.ones(self.kd_batch_size))
        return student, loss

    def held_out(self, state, teacher, key):
        """A sample of the given images."""
        del state
        return self.draw(teacher["given"], key)[0]

    def images_made(self, epoch):
        """None."""
        del epoch
        return 0

    def images_processed(self, epoch):
        """Those of the student steps."""
        return self.student_steps(epoch) * self.kd_batch_size


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scratch(VanillaKD):
    """The student trained on the real training set's labels, without a teacher."""

    without_effect: ClassVar[tuple[str, ...]] = ("temperature",)

    def learn(self, student, teacher, images, labels, augment_key):
        """One step of cross-entropy training on a batch: (TrainState, loss)."""
        del teacher
        problem = self.problem
        labels = problem.task.augment_labels(
            augment_key, labels, padding=problem.crop_padding, flip=problem.flip, axis_name=problem.axis_name
        )

        def loss_function(variables):
            output, batch_stats = self.apply_student(variables, images)
            return jnp.mean(problem.task.label_loss(output, labels)), (batch_stats, None)

        student, loss, _ = train_state.training_step(
            student, loss_function, self._optimizer, axis_name=problem.axis_name
        )
        return student, loss


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoiseKD(VanillaKD):
    """KD on uniform noise, drawn afresh in every step."""

    given: ClassVar[str] = "noise"
    without_effect: ClassVar[tuple[str, ...]] = ("share",)

    def draw(self, given, key):
        """(images, labels) of this device's part of a batch, without looking at what is given."""
        del given
        noise = jax.random.uniform(key, (self.kd_batch_size, *self.problem.image_shape))
        noise = collectives.local_part(noise, self.problem.axis_name)
        return noise, jnp.zeros(len(noise), jnp.int32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransferKD(VanillaKD):
    """KD on another data set's training images, shaped like the run's."""

    given: ClassVar[str] = "named"
    without_effect: ClassVar[tuple[str, ...]] = ("share",)

    images: str = setting("", "data set whose images are used, such as cifar100 or folder:/path; must be given")

"""What data-free methods are measured against: the same student, trained on images that are given.

Upper baselines: KD on the real training set, and training on its labels without a teacher.  Lower ones: KD on noise,
and on images of another data set.
"""

import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssdkd_jax import collectives, losses, train_state
from ssdkd_jax.data.normalization import to_unit
from ssdkd_jax.methods.base import Method, Phase, no_metrics, preprocess, unchanged
from ssdkd_jax.methods.student_training import StudentTraining, replicated


class Given(NamedTuple):
    """What stands in the place of the teacher's variables.

    teacher: its variables.
    images: (n, h, w, c) uint8.
    labels: (n,) int32; of use only where the student learns them.
    """

    teacher: dict
    images: np.ndarray | jax.Array
    labels: np.ndarray | jax.Array


class State(NamedTuple):
    """Everything that an epoch changes, and what is given; one pytree.

    teacher: Given, never changed.
    student: train_state.TrainState.
    epoch: int32 scalar, epochs done.
    """

    teacher: Given
    student: train_state.TrainState
    epoch: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class VanillaKD(StudentTraining):
    """KD (Hinton et al. 2015) on batches drawn uniformly from the real training set."""

    needs_batch_norm: ClassVar[bool] = False
    given: ClassVar[str] = "train"
    # Whether the student learns the labels and not the teacher's output.
    learns_labels: ClassVar[bool] = False

    def method(self):
        """The Method; its `init` is given a Given."""
        return Method(
            init=lambda key, given: State(given, self.init_student(key), epoch=jnp.int32(0)),
            synthesis=Phase(unchanged, no_metrics, no_metrics, 0),
            distillation=Phase(unchanged, self.student_step_on_given, no_metrics, metrics=("student_loss",)),
            distillation_steps=self.steps_of,
            end=self.end,
            new_images=lambda epoch: 0,
            batch_sizes=(0, self.kd_batch_size),
            held_out=lambda state, key: self.draw(state.teacher, key)[0],
            sharded=replicated,
            buffer=None,
            student=lambda state: state.student,
        )

    def draw(self, given, key):
        """(images (n, h, w, c) in [0, 1], labels (n,)) of this device's part of a batch drawn uniformly."""
        indices = jax.random.randint(key, (self.kd_batch_size,), 0, given.images.shape[0])
        indices = collectives.local_part(indices, self.problem.axis_name)
        return to_unit(given.images[indices]), given.labels[indices]

    def student_step_on_given(self, state, key):
        """One student step on a batch of given images, augmented."""
        draw_key, augment_key = jax.random.split(key)
        images, labels = self.draw(state.teacher, draw_key)
        images = preprocess(self.problem, augment_key, images)
        if self.learns_labels:
            student, loss = self._supervised_step(state.student, images, labels)
        else:
            weights = jnp.ones(self.kd_batch_size)
            student, loss, _ = self.student_step(state.student, state.teacher.teacher, images, weights)
        return state._replace(student=student), {"student_loss": loss}

    def _supervised_step(self, student, images, labels):
        def loss_function(variables):
            output, batch_stats = self._apply_student(variables, images)
            return jnp.mean(losses.cross_entropy(output, labels)), (batch_stats, None)

        axis_name = self.problem.axis_name
        student, loss, _ = train_state.training_step(student, loss_function, self._optimizer, axis_name=axis_name)
        return student, loss


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scratch(VanillaKD):
    """The student trained on the real training set's labels, without a teacher."""

    learns_labels: ClassVar[bool] = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoiseKD(VanillaKD):
    """KD on uniform noise, drawn afresh in every step."""

    given: ClassVar[str] = "noise"

    def draw(self, given, key):
        """As VanillaKD, without looking at what is given."""
        del given
        noise = jax.random.uniform(key, (self.kd_batch_size, *self.problem.image_shape))
        noise = collectives.local_part(noise, self.problem.axis_name)
        return noise, jnp.zeros(len(noise), jnp.int32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransferKD(VanillaKD):
    """KD on another data set's training images, shaped like the run's.

    Attributes (and those of StudentTraining):
      images: the data set's name, which the run must give: `--config.transfer_kd.images=NAME`.
    """

    given: ClassVar[str] = "named"

    images: str = ""

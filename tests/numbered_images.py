"""A method with a bank of all images whose n-th image is the number n, and whose student counts which images it saw."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from ssdkd_jax import collectives, tasks
from ssdkd_jax.inversion import Synthesis
from ssdkd_jax.methods.base import Problem
from ssdkd_jax.methods.image_bank import ImageBank
from ssdkd_jax.train_state import TrainState

SHAPE = (1, 2, 1)
CLASSES = 3


class Logits:
    """A teacher whose class of an image is its number modulo CLASSES, and which is the surer the larger that is."""

    @staticmethod
    def apply(variables, images):
        number = numbers(images)
        return 0.1 * number[:, None] * (number[:, None] % CLASSES == jnp.arange(CLASSES))


def a_problem(axis_name=None):
    return Problem(Logits, None, None, tasks.CLASSIFICATION, SHAPE, CLASSES, (0.0,), (1.0,), axis_name=axis_name)


def megabytes(images, itemsize=1):
    """Memory of so many images."""
    return images * np.prod(SHAPE) * itemsize / 1e6


def numbers(images):
    """What images (n, h, w, c), floats in [0, 1], show: (n,) int32."""
    return jnp.round(images[:, 0, 0, 0] * 255).astype(jnp.int32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NumberedImages(ImageBank):
    """At most 256 images; `student.params["seen"]` counts how often each was in a batch."""

    epochs: int = 8
    synthesis_batch_size: int = 8
    inversion_steps: int = 1
    kd_steps: int = 5
    kd_batch_size: int = 16

    def init_synthesis(self, key, teacher):
        return jnp.int32(0)

    def make_images(self, state, teacher, drawn, key):
        made = state.synthesis + jnp.arange(self.synthesis_batch_size)
        images = jnp.broadcast_to(made[:, None, None, None] / 255, (len(made), *SHAPE))
        images = collectives.local_part(images, self.problem.axis_name)
        return Synthesis(state.synthesis + self.synthesis_batch_size, images, {"inversion_loss": jnp.float32(0)})

    def init_student(self, key):
        return TrainState({"seen": jnp.zeros(self.epochs * self.synthesis_batch_size, jnp.int32)}, {}, ())

    def student_step(self, student, teacher, images, weights):
        shown = numbers(collectives.all_gather(images, self.problem.axis_name))
        seen = student.params["seen"].at[shown].add(weights.astype(jnp.int32))
        return student._replace(params={"seen": seen}), jnp.float32(0), jnp.zeros(len(images))

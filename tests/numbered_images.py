"""A method with a growing bank whose n-th image is the number n, and whose student counts which images it saw."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from ssdkd_jax import collectives, tasks
from ssdkd_jax.methods.base import Problem
from ssdkd_jax.methods.image_bank import GrowingBank
from ssdkd_jax.train_state import TrainState

SHAPE = (1, 2, 1)
CLASSES = 3


def a_problem(axis_name=None):
    return Problem(None, None, None, tasks.CLASSIFICATION, SHAPE, CLASSES, (0.0,), (1.0,), axis_name=axis_name)


def megabytes(images, itemsize=1):
    """Memory of so many images."""
    return images * np.prod(SHAPE) * itemsize / 1e6


def numbers(images):
    """What images (n, h, w, c), floats in [0, 1], show: (n,) int32."""
    return jnp.round(images[:, 0, 0, 0] * 255).astype(jnp.int32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NumberedImages(GrowingBank):
    """At most 256 images; `student.params["seen"]` counts how often each was in a batch."""

    epochs: int = 8
    synthesis_batch_size: int = 8
    inversion_steps: int = 1
    kd_steps: int = 5
    kd_batch_size: int = 16

    def init_synthesis(self, key, teacher):
        return jnp.int32(0)

    def begin(self, state, key):
        return state, state.synthesis

    def step(self, state, carry, key):
        return carry, {"inversion_loss": jnp.float32(0)}

    def finish(self, state, carry):
        made = carry + jnp.arange(self.synthesis_batch_size)
        images = jnp.broadcast_to(made[:, None, None, None] / 255, (len(made), *SHAPE))
        output = 0.1 * made[:, None] * jax.nn.one_hot(made % CLASSES, CLASSES)
        local = collectives.local_part((images, output), self.problem.axis_name)
        return carry + self.synthesis_batch_size, *local

    def init_student(self, key):
        return TrainState({"seen": jnp.zeros(self.epochs * self.synthesis_batch_size, jnp.int32)}, {}, ())

    def student_step(self, student, teacher, images, weights):
        shown = numbers(collectives.all_gather(images, self.problem.axis_name))
        seen = student.params["seen"].at[shown].add(weights.astype(jnp.int32))
        return student._replace(params={"seen": seen}), jnp.float32(0), jnp.zeros(len(images))

"""What FastDFKD, CMI, DeepInversion and NAYER share: a bank that keeps every image, sampled uniformly."""

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssdkd_jax import replay_buffer, train_state
from ssdkd_jax.methods.base import Method, Phase, Window, no_metrics, preprocess, unchanged
from ssdkd_jax.methods.student_training import StudentTraining, only_images_sharded


class State(NamedTuple):
    """Everything that an epoch changes, and the teacher; one pytree.

    teacher: its variables, never changed.
    student: train_state.TrainState.
    synthesis: whatever one synthesis leaves to the next.
    bank: replay_buffer.ReplayBuffer with room for every image of the run, or a window on such a one.
    epoch: int32 scalar, epochs done.
    """

    teacher: dict
    student: train_state.TrainState
    synthesis: Any
    bank: replay_buffer.ReplayBuffer
    epoch: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class GrowingBank(StudentTraining):
    """One epoch: a synthesis, whose images enter the bank; then the student learns from uniform batches of the bank.

    A method adds its synthesis: `init_synthesis`, `begin`, `step`, `finish`, as below.

    A bank that the devices have no room for lives in host memory, and the state's is a window on it, which the runtime
    fills anew before every epoch with what `window_on` draws.  Every draw still takes each image made so far with the
    same probability, but within one epoch the student sees at most as many different images as the window holds.
    [ours, not the papers']  Who calls `epoch` without the runtime has the newest images in the window.

    Attributes (and those of StudentTraining):
      synthesis_batch_size: images made per epoch.
      inversion_steps: g_steps, optimization steps per synthesis.
      bank_dtype: of the stored images: "uint8" or a float dtype.
      bank_megabytes: device memory for the bank's images, in 10^6 bytes over all devices; a bank that needs more lives
        in host memory.

    Raises:
      ValueError: `bank_megabytes` is too little for all images and for two batches.
    """

    synthesis_batch_size: int = 256
    inversion_steps: int = 10
    bank_dtype: str = "uint8"
    bank_megabytes: float = 4096.0

    def init_synthesis(self, key, teacher):
        """What the first synthesis finds: any pytree."""
        raise NotImplementedError

    def begin(self, state, key):
        """State -> (State, carry): before the first step."""
        raise NotImplementedError

    def step(self, state, carry, key):
        """One optimization step: (carry, metrics); the state stays as it is."""
        raise NotImplementedError

    def finish(self, state, carry):
        """After the last step: (what the next synthesis finds, images (n, h, w, c) in [0, 1], teacher's output)."""
        raise NotImplementedError

    def method(self):
        """The Method."""

        def step(carry, key):
            state, made = carry
            made, metrics = self.step(state, made, key)
            return (state, made), metrics

        return Method(
            init=self.init,
            synthesis=Phase(self.begin, step, self._keep, self.inversion_steps),
            distillation=Phase(unchanged, self.distill_step, no_metrics, metrics=("student_loss",)),
            distillation_steps=self.steps_of,
            end=self.end,
            new_images=lambda epoch: self.synthesis_batch_size,
            batch_sizes=(self.synthesis_batch_size, self.kd_batch_size),
            held_out=self.held_out,
            sharded=lambda state: only_images_sharded(state, "bank"),
            buffer=lambda state: state.bank,
            student=lambda state: state.student,
            window=self._window,
        )

    @property
    def _images_of_the_run(self):
        return max(1, self.epochs) * self.synthesis_batch_size

    @functools.cached_property
    def _window_size(self):
        """Entries of the window; None where the device has room for every image."""
        image_bytes = math.prod(self.problem.image_shape) * jnp.dtype(self.bank_dtype).itemsize
        size = round(self.bank_megabytes * 1e6) // image_bytes
        if self._images_of_the_run <= size:
            return None
        if size < 2 * self.synthesis_batch_size:
            raise ValueError(
                f"bank_megabytes is {self.bank_megabytes}, expected at least "
                f"{2 * self.synthesis_batch_size * image_bytes / 1e6}, room for two batches of "
                f"{self.synthesis_batch_size} images"
            )
        return size

    @property
    def _window(self):
        if self._window_size is None:
            return None
        return Window(
            capacity=self._images_of_the_run,
            fill=lambda bank, rng: window_on(bank, self._window_size, self.synthesis_batch_size, rng),
            replace=lambda state, bank: state._replace(bank=bank),
        )

    def init(self, key, teacher):
        """State before the first epoch, from a key and the teacher's variables."""
        student_key, synthesis_key = jax.random.split(key)
        return State(
            teacher=teacher,
            student=self.init_student(student_key),
            synthesis=self.init_synthesis(synthesis_key, teacher),
            bank=replay_buffer.init(
                self._window_size or self._images_of_the_run,
                self.problem.image_shape,
                dtype=jnp.dtype(self.bank_dtype),
                batch_size=self.synthesis_batch_size,
            ),
            epoch=jnp.int32(0),
        )

    def _keep(self, carry, key):
        del key
        state, made = carry
        task = self.problem.task
        synthesis, images, output = self.finish(state, made)
        bank = replay_buffer.insert(
            state.bank,
            images,
            task.predicted_class(output),
            task.confidence(output),
            state.bank.priority,
            axis_name=self.problem.axis_name,
        )
        size = replay_buffer.size(bank)
        if self._window_size:
            # They got the largest priority, which is that of an image drawn for many.
            new = bank.valid & (bank.age == 0)
            bank = bank._replace(priority=jnp.where(new, replay_buffer.FIRST_PRIORITY, bank.priority))
            size = (state.epoch + 1) * self.synthesis_batch_size
        return state._replace(synthesis=synthesis, bank=bank), {"buffer_size": size.astype(jnp.float32)}

    def distill_step(self, state, key):
        """One student step on a batch drawn uniformly from the bank."""
        problem = self.problem
        sample_key, augment_key = jax.random.split(key)
        indices, weights = self.draw(state.bank, sample_key)
        images = replay_buffer.read(state.bank, indices, axis_name=problem.axis_name)
        images = preprocess(problem, augment_key, images)
        student, loss, _ = self.student_step(state.student, state.teacher, images, weights)
        return state._replace(student=student), {"student_loss": loss}

    def draw(self, bank, key):
        """A student's batch, every image of the whole bank equally likely: indices and weights 1, (kd_batch_size,)."""
        if self._window_size:
            return replay_buffer.sample(bank, key, self.kd_batch_size, alpha=1.0, beta=0.0, epsilon=0.0)
        return replay_buffer.sample(bank, key, self.kd_batch_size, alpha=0.0, beta=0.0)

    def held_out(self, state, key):
        """A synthesis whose images enter no bank and leave the state as it is."""
        begin_key, step_key = jax.random.split(key)
        state, made = self.begin(state, begin_key)
        keys = jax.random.split(step_key, self.inversion_steps)
        made, _ = jax.lax.scan(lambda made, key: self.step(state, made, key), made, keys)
        return self.finish(state, made)[1]


def window_on(bank, size, batch_size, rng):
    """A window for one epoch on a bank in host memory, with empty slots for the batch that the epoch will make.

    Of the bank's n images, m = min(n, size - batch_size) are drawn without replacement, with priority n / m; a new one
    has priority 1.  Drawn by priority, each of all n + batch_size images comes with probability 1 / (n + batch_size):
    a new one is there for sure; an old one with probability m / n, and then it is n / m times as likely as a new one.

    Args:
      bank: ReplayBuffer of NumPy arrays, its n valid entries first.
      size: entries of the window, more than batch_size.
      batch_size: images that the epoch will make.
      rng: numpy.random.Generator; unused while all images fit, which then keep their order.

    Returns:
      ReplayBuffer of NumPy arrays with `size` entries, the m valid ones first.
    """
    count = int(np.sum(bank.valid))
    drawn = min(count, size - batch_size)
    chosen = np.arange(count) if drawn == count else rng.choice(count, drawn, replace=False)
    rows = np.pad(chosen, (0, size - drawn))
    valid = np.arange(size) < drawn
    return jax.tree.map(lambda x: x[rows], bank)._replace(
        priority=np.where(valid, count / max(1, drawn), 0).astype(np.float32),
        # Equal, so that the new images enter the empty slots in their order.
        age=np.zeros(size, np.int32),
        valid=valid,
    )

"""What FastDFKD, CMI, DeepInversion and NAYER share: a bank that keeps every image, sampled uniformly."""

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssdkd_jax import collectives, kept_views, replay_buffer
from ssdkd_jax.data.preprocessing import normalize
from ssdkd_jax.inversion import Synthesis, check_images, share_outside
from ssdkd_jax.methods.base import PIXELS_OUTSIDE, Window
from ssdkd_jax.methods.view_keeping import ViewKeeping
from ssdkd_jax.settings import setting
from ssdkd_jax.train_state import TrainState


class State(NamedTuple):
    """Everything that an epoch changes; one pytree.

    student: TrainState.
    synthesis: state carried from one synthesis to the next.
    bank: replay_buffer.ReplayBuffer with room for every image of the run, or a window onto such a bank.
    epoch: int32 scalar, epochs done.
    views: kept_views.KeptViews of the bank's images; () where none are kept.
    """

    student: TrainState
    synthesis: Any
    bank: replay_buffer.ReplayBuffer
    epoch: jax.Array
    views: kept_views.KeptViews | tuple = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageBank(ViewKeeping):
    """One epoch: a synthesis, whose images enter the bank; then the student learns from uniform batches of the bank.

    A method adds `make_images`, and where it needs them `draw` and `init_synthesis`.

    A bank too large for the devices is kept in host memory; the state then holds a window onto it, which the training
    loop fills again before every epoch with what `window_on` draws.  Every draw still takes each image made so far with
    the same probability, but within one epoch the student sees at most as many different images as the window holds.
    [ours, not the papers']  Without the training loop, `epoch` has the newest images in the window.

    Raises:
      ValueError: a setting outside its range; `bank_megabytes` is too little for all images and for two batches, or for
        all images although views are kept.
    """

    synthesis_batch_size: int = setting(256, "images made per epoch, over all devices", at_least=1)
    inversion_steps: int = setting(10, "g_steps, optimization steps per synthesis", at_least=1)
    bank_dtype: str = setting("uint8", "dtype of stored images", choices=("uint8", "bfloat16", "float32"))
    bank_megabytes: float = setting(
        4096.0,
        "device memory for the bank's images, in 10^6 bytes over all devices; a larger bank is kept in host memory",
        more_than=0,
    )

    def __post_init__(self):
        super().__post_init__()
        # Which itself refuses too little memory.
        window_size = self._window_size
        if window_size and self.views:
            raise ValueError(
                f"views is {self.views}, expected 0 where the devices have no room for all {self._images_of_the_run:,} "
                f"images: bank_megabytes is {self.bank_megabytes}"
            )

    def init_synthesis(self, key, teacher) -> Any:
        """What the first synthesis finds: any pytree."""
        del key, teacher
        return ()

    def draw(self, state, key) -> Any:
        """Everything random that a synthesis begins with, this device's part of it."""
        del state
        return key

    def make_images(self, state, teacher, drawn, key) -> Synthesis:
        """A synthesis from what was drawn; the state stays as it is.

        Args:
          state: State.
          teacher: variables.
          drawn: as from `draw`.
          key: of the optimization steps.
        """
        raise NotImplementedError

    def synthesize(self, state, teacher, key):
        """A batch of images enters the bank."""
        draw_key, step_key, view_key = jax.random.split(key, 3)
        made = self.make_images(state, teacher, self.draw(state, draw_key), step_key)
        problem, task = self.problem, self.problem.task
        count = self.synthesis_batch_size // collectives.axis_size(problem.axis_name)
        check_images(made, (count, *problem.image_shape), type(self).__name__)
        output = problem.teacher.apply(teacher, normalize(made.images, problem.mean, problem.std))
        bank = replay_buffer.insert(
            state.bank,
            made.images,
            task.image_classes(output),
            task.confidence(output),
            state.bank.priority,
            axis_name=problem.axis_name,
        )
        views = state.views
        if self.views:
            slots = replay_buffer.slots_to_fill(state.bank, state.bank.priority, self.synthesis_batch_size)
            views = self.with_new_views(views, bank, teacher, slots, view_key)
        size = replay_buffer.size(bank)
        if self._window_size:
            # They got the largest priority, which is that of an image drawn for many.
            new = bank.valid & (bank.age == 0)
            bank = bank._replace(priority=jnp.where(new, replay_buffer.FIRST_PRIORITY, bank.priority))
            size = (state.epoch + 1) * self.synthesis_batch_size
        state = state._replace(synthesis=made.state, bank=bank, views=views)
        outside = collectives.pmean(share_outside(made.images), problem.axis_name)
        return state, {**made.metrics, PIXELS_OUTSIDE: outside, "buffer_size": size.astype(jnp.float32)}

    def distill_step(self, state, teacher, key):
        """One student step on a batch drawn uniformly from the bank."""
        sample_key, view_key = jax.random.split(key)
        indices, weights = self.sample(state.bank, sample_key)
        student, loss, _ = self.step_on_stored(state, state.bank, teacher, indices, weights, view_key)
        return state._replace(student=student), {"student_loss": loss}

    def sample(self, bank, key):
        """A student's batch, every image of the whole bank equally likely: indices and weights 1, (kd_batch_size,)."""
        if self._window_size:
            return replay_buffer.sample(bank, key, self.kd_batch_size, alpha=1.0, beta=0.0, epsilon=0.0)
        return replay_buffer.sample(bank, key, self.kd_batch_size, alpha=0.0, beta=0.0)

    def held_out(self, state, teacher, key):
        """A synthesis whose images enter no bank and leave the state as it is."""
        draw_key, step_key = jax.random.split(key)
        return self.make_images(state, teacher, self.draw(state, draw_key), step_key).images

    def init(self, key, teacher):
        """State before the first epoch."""
        student_key, synthesis_key = jax.random.split(key)
        capacity = self._window_size or self._images_of_the_run
        return State(
            student=self.init_student(student_key),
            synthesis=self.init_synthesis(synthesis_key, teacher),
            bank=replay_buffer.init(
                capacity,
                self.problem.image_shape,
                dtype=jnp.dtype(self.bank_dtype),
                batch_size=self.synthesis_batch_size,
                predicted_class=self.problem.task.no_image_classes(capacity, self.problem.num_classes),
            ),
            epoch=jnp.int32(0),
            views=self.init_views(capacity),
        )

    def buffer(self, state):
        """The bank."""
        return state.bank

    def with_buffer(self, state, buffer):
        """The state with another bank."""
        return state._replace(bank=buffer)

    def images_made(self, epoch):
        """Images of one synthesis."""
        del epoch
        return self.synthesis_batch_size

    def images_processed(self, epoch):
        """Images processed by synthesis and student steps."""
        return self.synthesis_batch_size + self.student_steps(epoch) * self.kd_batch_size

    @property
    def _images_of_the_run(self):
        return max(1, self.epochs) * self.synthesis_batch_size

    @functools.cached_property
    def _window_size(self):
        """Entries of the window; None if the devices have room for every image."""
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
    def window(self):
        """The window onto the bank, if the devices have no room for every image; else None."""
        if self._window_size is None:
            return None
        return Window(
            capacity=self._images_of_the_run,
            fill=lambda bank, rng: window_on(bank, self._window_size, self.synthesis_batch_size, rng),
        )


def window_on(bank, size, batch_size, rng):
    """A window for one epoch onto a bank in host memory, with empty slots for the batch that the epoch will make.

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

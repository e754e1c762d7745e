"""The interface of every method, and what all methods do with images."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssdkd_jax import batchnorm, settings
from ssdkd_jax.data.preprocessing import augment, normalize
from ssdkd_jax.models.layers import Layers
from ssdkd_jax.tasks import Task

# The metric that holds the share of generated pixels outside [0, 1], which only a user's own method can produce.  The
# training loop takes it out of the metrics, and stops the run unless it is 0.
PIXELS_OUTSIDE = "pixels_outside"


class Problem(NamedTuple):
    """The networks and the kind of images; the same for every method that is compared.

    teacher, student: Linen modules called as `apply(variables, normalized images, train=...)`.
    generator: Linen module, latents (n, latent_size) to images (n, h, w, c) in [0, 1]; None for methods that use none.
    task: pure functions on the networks' outputs.
    image_shape: (h, w, c).
    num_classes: classes of the teacher.
    mean, std: channel normalization that both networks expect, on the scale of [0, 1].
    crop_padding, flip: augmentation of the images that the networks see.
    axis_name: the pmapped axis or None.
    layers: of which methods make networks of their own.
    """

    teacher: nn.Module
    student: nn.Module
    generator: nn.Module | None
    task: Task
    image_shape: tuple
    num_classes: int
    mean: tuple
    std: tuple
    crop_padding: int = 0
    flip: bool = False
    axis_name: str | None = None
    layers: Layers = Layers()


class Window(NamedTuple):
    """Describes a window (on the device) onto a full image bank (in host memory); see `training.host_bank`.

    capacity: images of the whole run.
    fill: (bank, numpy.random.Generator) -> the coming epoch's window; both ReplayBuffers of NumPy arrays.
    """

    capacity: int
    fill: Callable


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method:
    """A method of data-free distillation: its settings as fields, its work as pure functions of arrays.

    An epoch is one call of `synthesize` and one of `train_student`, or `rounds` of such pairs; the training loop
    compiles each of the two as a program of its own.  A state is a NamedTuple of arrays with a field `student`, a
    `train_state.TrainState`; the teacher is an argument and never changes.  On several devices each function runs on
    every device at once, with the same keys; `Problem.axis_name` is their axis.

    Attributes:
      problem: networks and kind of images.
      epochs: of the whole run.
    """

    # Whether the teacher must have BatchNorm layers.
    needs_batch_norm: ClassVar[bool] = True
    # Whether there is anything to synthesize.
    makes_images: ClassVar[bool] = True
    # Whether it uses the problem's generator.
    uses_generator: ClassVar[bool] = True
    # Source of the images passed to the method, in `teacher["given"]`, {"images": uint8 (n, h, w, c), "labels": as in a
    # data.Dataset}: "" for data-free methods; "train" the real training set's, "named" those of the data set
    # that its field `images` names, "noise" none but what it draws itself, "collected" images from anywhere, which its
    # field `images` names, with the teacher's most likely classes for labels.
    given: ClassVar[str] = ""
    # Names of the tasks that it is for.
    tasks: ClassVar[tuple[str, ...]] = ("classification",)
    # Inherited settings that change nothing; a config does not have them.
    without_effect: ClassVar[tuple[str, ...]] = ()
    # {weight of a loss, or exponent: settings that nothing reads where it is 0}.
    read_with: ClassVar[dict[str, tuple[str, ...]]] = {}
    # Weights of the losses that shape the images; where all are 0, nothing does.
    image_losses: ClassVar[tuple[str, ...]] = ()
    # What differs from the published method, in a sentence, for tables that compare it with others.
    differs: ClassVar[str] = ""

    problem: Problem
    epochs: int = 200

    def __post_init__(self):
        settings.check(self)

    def init(self, key, teacher) -> Any:
        """The state before the first epoch, as one device holds it.

        Args:
          key: PRNG key.
          teacher: its variables.
        """
        raise NotImplementedError

    def synthesize(self, state, teacher, key) -> tuple[Any, dict]:
        """Makes images: (new state, {name: float32 scalar})."""
        raise NotImplementedError

    def train_student(self, state, teacher, key) -> tuple[Any, dict]:
        """Takes a round's student steps: (new state, {name: float32 scalar})."""
        raise NotImplementedError

    def epoch(self, state, teacher, key) -> tuple[Any, dict]:
        """One epoch, pure: (new state, metrics averaged over the rounds).

        The training loop compiles its two parts as programs of their own, and leaves out what a warm-up does not need.
        """

        def one_round(state, number):
            synthesis_key, student_key = self.round_keys(key, number)
            state, made = self.synthesize(state, teacher, synthesis_key)
            state, learned = self.train_student(state, teacher, student_key)
            return state, {**made, **learned}

        if self.rounds == 1:
            return one_round(state, 0)
        state, metrics = jax.lax.scan(one_round, state, jnp.arange(self.rounds))
        return state, jax.tree.map(jnp.mean, metrics)

    @property
    def rounds(self) -> int:
        """Rounds of synthesis and student training in each epoch."""
        return 1

    def round_keys(self, key, number) -> tuple[jax.Array, jax.Array]:
        """The keys of `synthesize` and `train_student` in a round, from the epoch's key."""
        if self.rounds > 1:
            key = jax.random.fold_in(jax.random.split(key, 3)[1], number)
        synthesis_key, student_key = jax.random.split(key)
        return synthesis_key, student_key

    @classmethod
    def unread(cls, values: dict) -> dict[str, str]:
        """{setting: why nothing reads it, such as "with replay=false"} where the other settings are these."""
        off = {weight: names for weight, names in cls.read_with.items() if values[weight] == 0}
        return {name: f"with {weight}=0" for weight, names in off.items() for name in names}

    @classmethod
    def student_network(cls, student: str, teacher: str, values: dict) -> str:
        """Name of the network that is trained, from the config's student, its teacher, and the method's settings.

        Raises:
          ValueError: a setting that is not for these networks.
        """
        del teacher, values
        return student

    def synthesizes(self, epoch: int) -> bool:
        """Whether `synthesize` is called in an epoch counted from 0."""
        del epoch
        return self.makes_images

    def concern(self, epoch: int, metrics: dict) -> str:
        """What an epoch's metrics, averaged over its steps, give reason to worry about, in a line; else ""."""
        del epoch, metrics
        return ""

    def held_out(self, state, teacher, key) -> jax.Array:
        """Images (n, h, w, c) in [0, 1], this device's, that never reach the student.

        A method that is given images has a sample of those.
        """
        raise NotImplementedError

    def student_steps(self, epoch: int) -> int:
        """Student steps in an epoch counted from 0; none in a warm-up."""
        raise NotImplementedError

    def images_made(self, epoch: int) -> int:
        """Images made for the student in an epoch counted from 0."""
        raise NotImplementedError

    def images_processed(self, epoch: int) -> int:
        """Images of all synthesis and student steps of an epoch, for images per second."""
        raise NotImplementedError

    def buffer(self, state):
        """The state's ReplayBuffer, of which each device holds a part of the images; None where no image is kept."""
        del state

    def draw_counts(self, state):
        """How often student steps drew each of the buffer's entries, (B,) int32; None where that is not counted."""
        del state

    def with_buffer(self, state, buffer):
        """The state with another pytree in the buffer's place."""
        raise NotImplementedError

    @property
    def window(self) -> Window | None:
        """The Window, if the buffer is one onto a bank in host memory, filled again before each epoch; else None."""
        return None

    def sharded(self, state):
        """Pytree of bools like the state: leaves whose first axis is split over the devices; the rest is on each."""
        everywhere = jax.tree.map(lambda _: False, state)
        if self.buffer(state) is None:
            return everywhere
        return self.with_buffer(everywhere, self.buffer(everywhere)._replace(images=True))


def preprocess(problem: Problem, key, images, *, augmented=True):
    """Images in [0, 1] -> what teacher and student see: cropped, flipped, normalized; this device's part of a batch."""
    if augmented:
        images = augment(key, images, padding=problem.crop_padding, flip=problem.flip, axis_name=problem.axis_name)
    return normalize(images, problem.mean, problem.std)


def generate(generator: nn.Module, variables, latents):
    """Latents -> (images (n, h, w, c) in [0, 1], the generator's variables with new running averages)."""
    images, updated = generator.apply(variables, latents, train=True, mutable=["batch_stats"])
    return images, {**variables, **updated}


class Seen(NamedTuple):
    """Outputs of both networks, in evaluation mode, for the current images; this device's part of the batch.

    teacher_output, student_output: of the networks.
    statistics: of the inputs of the teacher's BatchNorm layers, of the whole batch (`batchnorm`).
    features: (n, ..., f) what the teacher's last layer is given, if asked for; else None.
    """

    teacher_output: Any
    student_output: Any
    statistics: dict
    features: jax.Array | None = None


def see(problem: Problem, teacher, student, images, key, *, augmented=True, features=False) -> Seen:
    """Runs both networks on images (n, h, w, c) in [0, 1] and returns Seen.

    Args:
      problem: Problem.
      teacher, student: variables.
      images: this device's part of the batch.
      key: of the augmentation.
      augmented: whether to augment the images.
      features: whether to return what the teacher's last layer is given.
    """
    images = preprocess(problem, key, images, augmented=augmented)
    kwargs = {"return_features": True} if features else {}
    output, statistics = batchnorm.apply_with_batch_statistics(
        problem.teacher, teacher, images, axis_name=problem.axis_name, **kwargs
    )
    teacher_output, last_features = output if features else (output, None)
    return Seen(teacher_output, problem.student.apply(student, images), statistics, last_features)

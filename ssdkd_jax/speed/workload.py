"""What is timed: a config's networks and method, as a run builds them, with random weights and images."""

import copy
import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ssdkd_jax import data, replay_buffer, settings
from ssdkd_jax.errors import UserError
from ssdkd_jax.jobs import config_checks
from ssdkd_jax.jobs.context import Context
from ssdkd_jax.jobs.image_spec import ImageSpec, describe_images, shape_and_classes
from ssdkd_jax.jobs.largest_part import size_of
from ssdkd_jax.jobs.network_checks import check_statistics
from ssdkd_jax.jobs.networks import make_method, make_model
from ssdkd_jax.jobs.plausibility import check_sizes, check_task
from ssdkd_jax.jobs.run_settings import TeacherSettings
from ssdkd_jax.jobs.schedule import with_fitting_warmup
from ssdkd_jax.methods import METHODS, find_method, section_of
from ssdkd_jax.methods.base import Method
from ssdkd_jax.methods.ssdkd import SSDKD
from ssdkd_jax.methods.view_keeping import ViewKeeping
from ssdkd_jax.training.clock import Clock
from ssdkd_jax.training.compilation import jit_for_one_call
from ssdkd_jax.training.devices import local_devices
from ssdkd_jax.training.memory import check_memory

# Fields of a config that change nothing about the work.
UNUSED = (
    *(f"teacher.{name}" for name in settings.fields(TeacherSettings) if name not in ("name", "batch_size")),
    *("evaluate_on", "evaluate_every", "checkpoint_every", "baselines", "export_torch", "allow_weak_teacher"),
    *("held_out_batches", "distributed", "seed", "epochs"),
    *(f"{name}.warmup_epochs" for name in METHODS),
)


class Workload(NamedTuple):
    """Work to be timed.

    context: Context without a folder.
    images: ImageSpec.
    method: Method.
    teacher: its variables; like the state, on the host.
    state: the method's, as one device holds it, in the first epoch after the warm-up, with a full buffer.
    """

    context: Context
    images: ImageSpec
    method: Method
    teacher: dict
    state: Any


def make_workload(config) -> Workload:
    """Builds what `jobs.run` would train, without any data set or teacher's file.

    Raises:
      UserError: a config that no run takes; a method that is given real images or keeps its bank in host memory.
    """
    config_checks.check_values(config)
    config = _without_teacher_file(with_fitting_warmup(config)[0])
    context = Context(config, local_devices(config.devices), Clock(), False, None)
    config_checks.check_batches(config, context.devices)
    check_task(config)
    check_sizes(config, context.devices)
    shape, class_names = shape_and_classes(config)
    images = describe_images(config, shape, class_names, {})
    method = make_method(context, config.teacher.name, images)
    _check_method(config, method)
    network = make_model(context, config.teacher.name, len(class_names))
    key, teacher_key, method_key = jax.random.split(jax.random.key(config.seed), 3)
    teacher = jit_for_one_call(network.init)(teacher_key, jnp.zeros((1, *shape)))
    check_statistics(method, config.method, config.teacher.name, teacher)
    _check_state(jax.eval_shape(method.init, method_key, teacher), context.devices[0])
    state = jit_for_one_call(method.init)(method_key, teacher)
    state = _under_way(method, state, len(class_names), key)
    # On the host, or they would count as memory that the programs use.
    return Workload(context, images, method, *jax.device_get((teacher, state)))


def _without_teacher_file(config):
    config = copy.deepcopy(config)
    config.teacher.path = ""
    return config


def _check_method(config, method):
    if config.epochs == 0:
        raise UserError(
            "epochs is 0, in which nothing is trained and nothing can be timed; choose a --config that trains"
        )
    check_makes_images(config)
    if method.window:
        raise UserError(
            f"the bank of {config.method} does not fit into bank_megabytes={method.bank_megabytes:g}, and copying it "
            f"from host memory is not timed; allow more: --config.{section_of(config.method)}.bank_megabytes=N"
        )


def check_makes_images(config) -> None:
    """Raises UserError where the config's method is given images, without which it does nothing."""
    if find_method(config.method).method.given:
        raise UserError(
            f"method is {config.method}, which is given images; choose one that makes them: --config.method=ssdkd"
        )


def _check_state(shapes, device):
    """Raises UserError where the state cannot be held, on the host and, if that is the device too, once more."""
    copies = 2 if device.platform == "cpu" else 1
    check_memory(
        copies * size_of(shapes), jax.devices("cpu")[0], "the run's arrays", "time a smaller buffer or smaller networks"
    )


def _under_way(method, state, num_classes, key):
    """The state when the warm-up is over and every entry of the buffer holds an image."""
    if hasattr(state, "epoch"):
        state = state._replace(epoch=jnp.int32(method.warmup_epochs))
    buffer = method.buffer(state)
    if buffer is None:
        return state
    return method.with_buffer(state, filled(buffer, num_classes, key))


def filled(buffer: replay_buffer.ReplayBuffer, num_classes: int, key) -> replay_buffer.ReplayBuffer:
    """A buffer whose entries are all valid, with random images, classes, confidences and priorities."""
    keys, capacity, classes = jax.random.split(key, 4), len(buffer.valid), buffer.predicted_class
    # A few images over and over: random numbers for a large buffer take several times its memory.
    pixels = jax.random.bits(keys[0], (min(capacity, 1000), *buffer.images.shape[1:]), jnp.uint8)
    pixels = pixels[jnp.arange(capacity) % len(pixels)]
    return buffer._replace(
        images=pixels if buffer.images.dtype == jnp.uint8 else data.to_unit(pixels, buffer.images.dtype),
        # Of maps there are shares of the pixels instead, about as many of each class.
        predicted_class=jax.random.randint(keys[1], classes.shape, 0, num_classes)
        if jnp.issubdtype(classes.dtype, jnp.integer)
        else jnp.full_like(classes, 1 / num_classes),
        confidence=jax.random.uniform(keys[2], (capacity,)),
        priority=jax.random.uniform(keys[3], (capacity,)),
        valid=jnp.ones(capacity, bool),
    )


# Kept views of an entry where the config keeps none; their number hardly changes the time of a step.
VIEWS = 8


def keeps_views(method: Method) -> bool:
    """Whether the student learns from kept views, without the teacher."""
    return isinstance(method, ViewKeeping) and method.views > 0


def other_views(work: Workload) -> Workload | None:
    """The same work with kept views where it has none, and without them where it has; None where none can be kept."""
    method = work.method
    if not isinstance(method, ViewKeeping) or work.images.task.name == "segmentation":
        return None
    renewed = {"renewed_views": 0} if isinstance(method, SSDKD) else {}
    other = dataclasses.replace(method, views=0 if method.views else VIEWS, **renewed)
    shapes = jax.eval_shape(other.init, jax.random.key(0), work.teacher).views
    # The values make no difference to the time.
    views = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    return work._replace(method=other, state=work.state._replace(views=views))

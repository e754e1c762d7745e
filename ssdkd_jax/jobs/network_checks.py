"""What can be known to be wrong with a run's networks before any work."""

import jax
import jax.numpy as jnp

from ssdkd_jax.batchnorm import has_batch_norm
from ssdkd_jax.errors import UserError
from ssdkd_jax.files import check_room, make_folder
from ssdkd_jax.jobs import baselines, config_checks
from ssdkd_jax.jobs.context import Context
from ssdkd_jax.jobs.image_spec import describe_images, shape_and_classes
from ssdkd_jax.jobs.networks import make_method, make_model
from ssdkd_jax.jobs.plausibility import check_crop, check_memory, check_sizes
from ssdkd_jax.jobs.teacher import load_teacher
from ssdkd_jax.methods import find_method
from ssdkd_jax.training.clock import Clock
from ssdkd_jax.training.devices import local_devices

# The latest two and the best, each with its successor while that is written.
CHECKPOINTS_AT_ONCE = 5
_SMALLER = "choose a smaller buffer, fewer epochs or smaller images"


def teacher_architecture(config):
    """The config's own, or what its teacher's file says."""
    config_checks.check_teacher_exists(config)
    return config.teacher.name or load_teacher(config.teacher.path).architecture


def check_job(config, folder, architecture):
    """Raises UserError where `run_job` would before any training, as far as that is known without the images.

    Args:
      config: as for `run_job`, its values and batches checked (`config_checks`).
      folder: existing, where there must be room.
      architecture: the teacher's.
    """
    baselines.check_given_images(config)
    context = Context(config, local_devices(config.devices), Clock(), False, folder)
    check_sizes(config, context.devices)
    shape, class_names = shape_and_classes(config)
    images = describe_images(config, shape, class_names, {})
    given = baselines.no_given_images(shape) if find_method(config.method).method.given else None
    check_networks(context, architecture, images, given)


def check_networks(context, architecture, images, given):
    """Raises UserError where no method can be made of these networks for these images, or its state cannot be saved.

    Args:
      context: Context.
      architecture: the teacher's.
      images: ImageSpec.
      given: GivenImages, or None for a data-free method.
    """
    check_crop(context.config, images.shape)
    method, name = make_method(context, architecture, images), context.config.method
    model = make_model(context, architecture, len(images.class_names))
    teacher = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *images.shape)))
    if method.needs_batch_norm and not has_batch_norm(teacher):
        raise UserError(
            f"the teacher {architecture} has no BatchNorm layers, but {name} needs their statistics; "
            "use a teacher with BatchNorm"
        )
    try:
        state = jax.eval_shape(method.init, jax.random.key(0), baselines.with_given(teacher, given))
        window = method.window
    except ValueError as error:
        raise UserError(f"{name}: {error}") from error
    saved, buffer = _bytes(state), method.buffer(state)
    if window is not None:
        saved += (window.capacity - len(buffer.valid)) * (_bytes(buffer) // len(buffer.valid))
    device = context.devices[0]
    check_memory(_bytes(state) // len(context.devices), device, f"{name}'s state and its images", _SMALLER)
    if window is not None:
        check_memory(saved, jax.devices("cpu")[0], "the images of the whole run", _SMALLER)
    check_room(context.folder, CHECKPOINTS_AT_ONCE * saved)
    if not context.config.teacher.path:
        flag = "--config.teacher.cache_dir"
        cache_dir = make_folder(context.config.teacher.cache_dir, flag)
        check_room(cache_dir, CHECKPOINTS_AT_ONCE * _bytes(teacher), flag)


def _bytes(shapes):
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))

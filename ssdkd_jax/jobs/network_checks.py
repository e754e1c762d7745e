"""What can be known to be wrong with a run's networks before any work."""

import jax
import jax.numpy as jnp
import numpy as np

from ssdkd_jax.batchnorm import has_batch_norm
from ssdkd_jax.errors import UserError
from ssdkd_jax.jobs import baselines, config_checks, largest_part
from ssdkd_jax.jobs.context import Context
from ssdkd_jax.jobs.image_spec import describe_images, shape_and_classes
from ssdkd_jax.jobs.largest_part import size_of
from ssdkd_jax.jobs.networks import make_method, make_model
from ssdkd_jax.jobs.plausibility import check_crop, check_sizes, check_task, check_work, work_of
from ssdkd_jax.jobs.teacher import load_teacher
from ssdkd_jax.limits import check_file_size, check_room
from ssdkd_jax.methods import find_method
from ssdkd_jax.models.user_network import check_outputs
from ssdkd_jax.outputs import make_folder
from ssdkd_jax.training.checkpoints import LARGEST_FILE
from ssdkd_jax.training.clock import Clock
from ssdkd_jax.training.compilation import jit_for_one_call
from ssdkd_jax.training.devices import AXIS, local_devices, pmap, spread_shapes
from ssdkd_jax.training.memory import check_memory, memory_of
from ssdkd_jax.training.multiprocess import count, from_first
from ssdkd_jax.training.saved_network import problem_with_numbers
from ssdkd_jax.user_code import is_user_code, reported_errors

# The latest two and the best, each with its successor while that is written.
CHECKPOINTS_AT_ONCE = 5
# Of probabilities in bfloat16, which have eight bits.
SUM_TOLERANCE = 0.02
_FEWER = "choose fewer epochs with --config.epochs=N, or smaller images with --config.image_size=N"


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

    Returns:
      images that the run processes, see `plausibility.work_of`.
    """
    baselines.check_given_images(config)
    context = Context(config, local_devices(config.devices), Clock(), False, folder)
    check_task(config)
    check_sizes(config, context.devices)
    shape, class_names = shape_and_classes(config)
    # Which normalization a given teacher has, and that it is assumed, is told by the run, which reads the teacher.
    images = describe_images(config, shape, class_names, {}, tell=False)
    given = baselines.no_given_images(shape, images.task) if find_method(config.method).method.given else None
    return work_of(config, check_networks(context, architecture, images, given))


def check_networks(context, architecture, images, given, variables=None):
    """Raises UserError where no method can be made of these networks for these images, or its state cannot be saved.

    Args:
      context: Context.
      architecture: the teacher's.
      images: ImageSpec.
      given: GivenImages, or None for a data-free method.
      variables: of a teacher that is trained already, or None.

    Returns:
      the Method.
    """
    config, name = context.config, context.config.method
    check_crop(config, images.shape)
    teacher = _check_network(context, architecture, images, "--config.teacher.name")
    _check_network(context, config.student.name, images, "--config.student.name")
    method = make_method(context, architecture, images)
    check_work(config, method)
    check_statistics(method, name, architecture, teacher)
    teacher_and_given = baselines.with_given(teacher, given)
    try:
        with reported_errors(name), reported_errors(architecture), reported_errors(config.student.name):
            state = jax.eval_shape(method.init, jax.random.key(0), teacher_and_given)
        window = method.window
    except ValueError as error:
        raise UserError(f"{name}: {error}") from error
    _check_room_for(context, method, window, architecture, images, state, teacher_and_given)
    # A pmapped function is not traced where some of its devices belong to other processes.
    if count() == 1 and any(map(is_user_code, (architecture, config.student.name, name))):
        with reported_errors(architecture), reported_errors(config.student.name), reported_errors(name):
            check_method(method, name, state, teacher_and_given, context.devices)
    for network in filter(is_user_code, dict.fromkeys((architecture, config.student.name))):
        _refuse_probabilities(context, network, images)
    if variables is not None:
        check_given_teacher(variables, config.teacher.path)
    if not config.teacher.path:
        flag = "--config.teacher.cache_dir"
        room = CHECKPOINTS_AT_ONCE * size_of(teacher)
        from_first(lambda: check_room(make_folder(config.teacher.cache_dir, flag), room, flag))
    return method


def check_statistics(method, name, architecture, teacher):
    """Raises UserError where a method needs BatchNorm statistics that the teacher has not.

    Args:
      method: Method.
      name: its name in the config.
      architecture: the teacher's.
      teacher: its variables, or their shapes.
    """
    if method.needs_batch_norm and not has_batch_norm(teacher):
        raise UserError(
            f"the teacher {architecture} has no BatchNorm layers, but {name} needs their statistics; "
            "use a teacher with BatchNorm"
        )


def network_shapes(context, name, images):
    """Shapes of a network's variables for an ImageSpec."""
    model = make_model(context, name, len(images.class_names))
    return jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *images.shape)))


def _check_network(context, name, images, flag):
    """Returns a network's `network_shapes`; raises UserError where it is of no use for these images."""
    classes = len(images.class_names)
    if is_user_code(name):
        model = make_model(context, name, classes, bn_axis_name=AXIS)
        check_outputs(name, model, images.shape, (*images.task.label_shape(images.shape), classes), AXIS)
        with reported_errors(name):
            return network_shapes(context, name, images)
    try:
        return network_shapes(context, name, images)
    except UserError as error:
        raise UserError(f"{error}: --config.image_size=N, {flag}=NAME") from error


def _refuse_probabilities(context, name, images):
    """Raises UserError where a user's network ends in a softmax, since the losses take one of its outputs themselves.

    Only its outputs tell, which are computed with random weights, once it is known that they fit into memory.
    """
    model = make_model(context, name, len(images.class_names), bn_axis_name=AXIS)

    def outputs(key):
        pixels = jax.random.normal(key, (1, 2, *images.shape))
        variables = model.init(key, pixels[0])
        return jax.vmap(lambda batch: model.apply(variables, batch), axis_name=AXIS)(pixels)

    with reported_errors(name):
        found = np.asarray(jit_for_one_call(outputs)(jax.random.key(0)), np.float32)
    # A last layer that begins with zeros may have such outputs too, but the same ones for all images and classes.
    if found.min() >= 0 and np.ptp(found) > 0 and np.allclose(found.sum(-1), 1, atol=SUM_TOLERANCE):
        raise UserError(
            f"{name} returned probabilities (0 or more, with the sum 1 for each image), expected logits: leave out the "
            "softmax at its end"
        )


def _check_room_for(context, method, window, architecture, images, state, teacher):
    """Raises UserError where a method's state has no room on the devices, in this machine or on the disk."""
    name, device = context.config.method, context.devices[0]
    needed = size_of(state) // len(context.devices)
    if needed > memory_of(device):
        fix = largest_part.advice(context, architecture, images, state, teacher)
        check_memory(needed, device, f"{name}'s state and its images", fix)
    saved, buffer = size_of(state), method.buffer(state)
    if window is not None:
        saved += (window.capacity - len(buffer.valid)) * (size_of(buffer) // len(buffer.valid))
        check_memory(saved, jax.devices("cpu")[0], "the images of the whole run", _FEWER)
    from_first(lambda: check_file_size(min(saved, LARGEST_FILE), "a checkpoint"))
    from_first(lambda: check_room(context.folder, CHECKPOINTS_AT_ONCE * saved))


def check_method(method, name, state, teacher, devices):
    """Traces what an epoch runs, as it runs on the devices; what a user's code raises passes unchanged.

    Args:
      method: Method.
      name: its name in the config.
      state, teacher: pytrees of shapes, as one device holds them.
      devices: list of devices.

    Raises:
      UserError: a state of another structure, or of other shapes or dtypes, is returned; metrics are no scalars.
    """
    before = spread_shapes(state, devices, method.sharded(state))
    teacher = spread_shapes(teacher, devices, jax.tree.map(lambda _: False, teacher))
    for step in ("synthesize", "train_student")[0 if method.synthesizes(0) else 1 :]:
        returned = jax.eval_shape(
            pmap(getattr(method, step), devices, in_axes=(0, 0, None)), before, teacher, jax.random.key(0)
        )
        if not isinstance(returned, tuple) or len(returned) != 2 or not isinstance(returned[1], dict):
            raise UserError(f"{name}.{step} returned {type(returned).__name__}, expected (state, {{name: scalar}})")
        after, metrics = returned
        if jax.tree.structure(after) != jax.tree.structure(before):
            raise UserError(f"{name}.{step} returned a state of another structure than it was given, expected the same")
        for (path, old), new in zip(jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after), strict=True):
            if (old.shape, old.dtype) != (new.shape, new.dtype):
                raise UserError(
                    f"{name}.{step} returned a state whose {jax.tree_util.keystr(path).lstrip('.')} is {new.dtype} of "
                    f"shape {new.shape[1:]}, expected {old.dtype} of shape {old.shape[1:]}"
                )
        for metric, value in metrics.items():
            if getattr(value, "shape", None) != (len(devices),):
                raise UserError(f"{name}.{step} returned a metric {metric} that is no scalar, expected float32 scalars")


def check_given_teacher(variables, path):
    """Raises UserError, naming the tensor, where a given teacher's own numbers make everything NaN.

    Args:
      variables: NumPy arrays.
      path: where it came from.
    """
    if problem := problem_with_numbers(variables):
        raise UserError(f"{path}: the teacher's {problem}; give another with --config.teacher.path=FILE_OR_FOLDER")

"""Times the replay buffer's work against the student step that it serves, in one run on one device.

Every figure is the median of repeated calls of a compiled program, after a first call that does not count.
"""

import functools
import math

import jax
import jax.numpy as jnp

from ssdkd_jax import distillation, losses, models, replay_buffer, train_state
from ssdkd_jax.errors import UserError
from ssdkd_jax.files import write_at_once
from ssdkd_jax.jobs import config_checks, provenance
from ssdkd_jax.jobs.image_spec import dataset_info, task_of
from ssdkd_jax.outputs import check_measures_the_same, check_results_file
from ssdkd_jax.speed.timing import Budget, measure
from ssdkd_jax.speed.workload import filled
from ssdkd_jax.training.memory import check_memory

KIND = "buffer_benchmark"
# The config's fields that are measured.
USED = (
    *("teacher.name", "student.name", "dataset", "data_dir", "image_size", "method"),
    *(f"ssdkd.{name}" for name in ("synthesis_batch_size", "kd_batch_size", "buffer_dtype", "temperature")),
    *(f"ssdkd.{name}" for name in ("student_learning_rate", "student_momentum")),
)


def buffer_times(settings, buffer, budget):
    """name of a buffer operation -> `timing.summary` of it as a program of its own."""
    size = settings.synthesis_batch_size
    images = jnp.zeros((size, *buffer.images.shape[1:]))
    new = (images, jnp.zeros_like(buffer.predicted_class[:size]), jnp.zeros(size))
    key = jax.random.key(1)
    sample = jax.jit(lambda b, key: replay_buffer.sample(b, key, settings.kd_batch_size, alpha=0.6, beta=0.4))
    read = jax.jit(replay_buffer.read)
    update = jax.jit(lambda b, i, w: replay_buffer.update_priorities(b, i, w).priority)
    indices, weights = sample(buffer, key)
    # Donated, as in an epoch: the buffer is changed in place, and handed on from call to call.
    insert = jax.jit(lambda b: replay_buffer.insert(b, *new, b.priority), donate_argnums=0)
    held = [jax.tree.map(jnp.copy, buffer)]

    def insert_in_place():
        held[0] = insert(held[0])
        return held[0].age

    operations = {
        "insert": insert_in_place,
        "sample": lambda: sample(buffer, key),
        "read": lambda: read(buffer, indices),
        "update_priorities": lambda: update(buffer, indices, weights),
    }
    return {name: _time(call, budget) for name, call in operations.items()}


def _time(call, budget):
    return measure(lambda: jax.block_until_ready(call()), budget)


def student_step_time(config, settings, image_shape, num_classes, budget):
    """`timing.summary` of teacher, student, gradient and update on one batch, without the buffer."""
    teacher = models.create_model(config.teacher.name, num_classes)
    student = models.create_model(config.student.name, num_classes)
    images = jax.random.normal(jax.random.key(0), (settings.kd_batch_size, *image_shape))
    teacher_variables = jax.jit(teacher.init)(jax.random.key(1), images[:1])
    optimizer = train_state.sgd(settings.student_learning_rate, momentum=settings.student_momentum)
    state = train_state.init_train_state(jax.jit(student.init)(jax.random.key(2), images[:1]), optimizer)

    @jax.jit
    def step(state, teacher_variables, images):
        return distillation.distill_step(
            state,
            images,
            jnp.ones(len(images)),
            teacher.apply(teacher_variables, images),
            apply_student=functools.partial(train_state.apply_training, student),
            kl=losses.kl_divergence,
            temperature=settings.temperature,
            optimizer=optimizer,
        )

    return _time(lambda: step(state, teacher_variables, images), budget)


def benchmark(config, capacity, repeats, out, *, command=""):
    """Measures and writes the results.

    Args:
      config: ConfigDict whose networks, batch sizes and data set are taken; SSD-KD's section says the rest.
      capacity: entries of the buffer.
      repeats: calls whose median counts.
      out: JSON file of the results.
      command: the command line, for the file.

    Raises:
      UserError: anything that the user can fix.
    """
    out = check_results_file(out, KIND)
    config_checks.check_values(config)
    settings = config.ssdkd
    info = dataset_info(config)
    shape, num_classes = tuple(info.image_shape), len(info.class_names)
    _check(config, capacity, shape)
    about = {
        **{"capacity": capacity, "image_shape": shape, "teacher": config.teacher.name, "student": config.student.name},
        "kd_batch_size": settings.kd_batch_size,
    }
    made_with = provenance.made_with(jax.local_devices()[:1])
    check_measures_the_same(out, {"hardware": made_with["hardware"], **about})
    empty = replay_buffer.init(capacity, shape, dtype=jnp.dtype(settings.buffer_dtype))
    buffer = filled(empty, num_classes, jax.random.key(0))
    budget = Budget(repeats, math.inf)
    times = {
        **buffer_times(settings, buffer, budget),
        "student step": student_step_time(config, settings, shape, num_classes, budget),
    }
    result = {
        "kind": KIND,
        "command": command,
        **made_with,
        **about,
        "milliseconds": {name: time["median"] for name, time in times.items()},
    }
    write_at_once(out, result)
    for name, value in result["milliseconds"].items():
        print(f"{name:20s} {value:10.2f} ms", flush=True)


def _check(config, capacity, image_shape):
    """Raises UserError where the method has no such buffer, or the buffer cannot be of this capacity."""
    if config.method != "ssdkd":
        raise UserError(f"method is {config.method}, but the benchmark is of ssdkd's buffer: --config.method=ssdkd")
    if task_of(config).name != "classification":
        raise UserError(
            f"{config.dataset} is for {task_of(config).name}, but the buffer is timed with a class for each image; "
            "choose a data set for classification: --config=configs/digits.py"
        )
    least = config.ssdkd.synthesis_batch_size
    if capacity < least:
        raise UserError(
            f"capacity is {capacity}, expected at least one batch (ssdkd.synthesis_batch_size={least}): --capacity=N"
        )
    device, pixels = jax.local_devices()[0], math.prod(image_shape)
    smaller = "choose smaller images: --config.image_size=N, or " if config.image_size else "choose "
    for name in ("synthesis_batch_size", "kd_batch_size"):
        batch = config.ssdkd[name]
        fix = f"{smaller}smaller batches: --config.ssdkd.{name}=N"
        check_memory(4 * batch * pixels, device, f"batches of {batch:,} images {image_shape}", fix)
    # Twice, since the buffer is copied once.
    size = 2 * capacity * pixels * jnp.dtype(config.ssdkd.buffer_dtype).itemsize
    what = f"two buffers of {capacity:,} images {image_shape}"
    check_memory(size, device, what, f"{smaller}fewer entries: --capacity=N")

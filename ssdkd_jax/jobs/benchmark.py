"""Times the replay buffer's work against the student step that it serves, in one run on one device.

Every figure is the median of repeated calls of a compiled program, after a first call that does not count.
"""

import datetime
import math
import statistics
import time

import jax
import jax.numpy as jnp

from ssdkd_jax import data, distillation, losses, models, replay_buffer, train_state
from ssdkd_jax.errors import UserError
from ssdkd_jax.files import check_results_file, write_at_once
from ssdkd_jax.jobs import config_checks, provenance
from ssdkd_jax.jobs.plausibility import check_memory

KIND = "buffer_benchmark"
# The config's fields that are measured.
USED = (
    *("teacher.name", "student.name", "dataset", "data_dir", "image_size", "method"),
    *(f"ssdkd.{name}" for name in ("synthesis_batch_size", "kd_batch_size", "buffer_dtype", "temperature")),
    *(f"ssdkd.{name}" for name in ("student_learning_rate", "student_momentum")),
)


def median_milliseconds(function, *arguments, repeats):
    """Median wall time of a jitted call, including device work."""
    jax.block_until_ready(function(*arguments))
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)


def filled_buffer(settings, image_shape, num_classes, capacity):
    """A full buffer with random entries."""
    keys = jax.random.split(jax.random.key(0), 3)
    buffer = replay_buffer.init(capacity, image_shape, dtype=jnp.dtype(settings.buffer_dtype))
    return buffer._replace(
        predicted_class=jax.random.randint(keys[0], (capacity,), 0, num_classes),
        confidence=jax.random.uniform(keys[1], (capacity,)),
        priority=jax.random.uniform(keys[2], (capacity,)),
        valid=jnp.ones(capacity, bool),
    )


def buffer_milliseconds(settings, buffer, repeats):
    """name of a buffer operation -> median milliseconds."""
    size = settings.synthesis_batch_size
    images = jnp.zeros((size, *buffer.images.shape[1:]))
    new = (images, jnp.zeros(size, jnp.int32), jnp.zeros(size))
    sample = jax.jit(lambda b, key: replay_buffer.sample(b, key, settings.kd_batch_size, alpha=0.6, beta=0.4))
    indices, weights = sample(buffer, jax.random.key(1))
    # Donated, as in an epoch: the buffer is changed in place, and handed on from call to call.
    insert = jax.jit(lambda b: replay_buffer.insert(b, *new, b.priority), donate_argnums=0)
    held = [jax.tree.map(jnp.copy, buffer)]

    def insert_in_place():
        held[0] = insert(held[0])
        return held[0].age

    return {
        "insert": median_milliseconds(insert_in_place, repeats=repeats),
        "sample": median_milliseconds(sample, buffer, jax.random.key(1), repeats=repeats),
        "read": median_milliseconds(jax.jit(replay_buffer.read), buffer, indices, repeats=repeats),
        "update_priorities": median_milliseconds(
            jax.jit(lambda b, i, w: replay_buffer.update_priorities(b, i, w).priority),
            buffer,
            indices,
            weights,
            repeats=repeats,
        ),
    }


def student_step_milliseconds(config, settings, image_shape, num_classes, repeats):
    """Median milliseconds of teacher, student, gradient and update on one batch, without the buffer."""
    teacher = models.create_model(config.teacher.name, num_classes)
    student = models.create_model(config.student.name, num_classes)
    images = jax.random.normal(jax.random.key(0), (settings.kd_batch_size, *image_shape))
    teacher_variables = jax.jit(teacher.init)(jax.random.key(1), images[:1])
    optimizer = train_state.sgd(settings.student_learning_rate, momentum=settings.student_momentum)
    state = train_state.init_train_state(jax.jit(student.init)(jax.random.key(2), images[:1]), optimizer)

    def apply_student(variables, x):
        logits, updated = student.apply(variables, x, train=True, mutable=["batch_stats"])
        return logits, updated["batch_stats"]

    @jax.jit
    def step(state, teacher_variables, images):
        return distillation.distill_step(
            state,
            images,
            jnp.ones(len(images)),
            teacher.apply(teacher_variables, images),
            apply_student=apply_student,
            kl=losses.kl_divergence,
            temperature=settings.temperature,
            optimizer=optimizer,
        )

    return median_milliseconds(step, state, teacher_variables, images, repeats=repeats)


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
    info = data.dataset_info(config.dataset, config.data_dir or None, image_size=config.image_size or None)
    shape, num_classes = tuple(info.image_shape), len(info.class_names)
    _check(config, capacity, shape)
    buffer = filled_buffer(settings, shape, num_classes, capacity)
    result = {
        "kind": KIND,
        "command": command,
        "hardware": provenance.hardware(jax.local_devices()[:1]),
        "date": datetime.date.today().isoformat(),
        "versions": provenance.versions(),
        "capacity": capacity,
        "image_shape": shape,
        "teacher": config.teacher.name,
        "student": config.student.name,
        "kd_batch_size": settings.kd_batch_size,
        "milliseconds": {
            **buffer_milliseconds(settings, buffer, repeats),
            "student step": student_step_milliseconds(config, settings, shape, num_classes, repeats),
        },
    }
    write_at_once(out, result)
    for name, value in result["milliseconds"].items():
        print(f"{name:20s} {value:10.2f} ms", flush=True)


def _check(config, capacity, image_shape):
    """Raises UserError where the method has no such buffer, or the buffer cannot be of this capacity."""
    if config.method != "ssdkd":
        raise UserError(f"method is {config.method}, but the benchmark is of ssdkd's buffer: --config.method=ssdkd")
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

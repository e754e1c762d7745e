"""Times the replay buffer's work against the student step that it serves, in one run on one device.

    python -m experiments.benchmark --config=configs/cifar10.py:wrn40_2-wrn16_1 --capacity=50000 \\
        --out=results/benchmark_buffer.json

Every figure is the median of repeated calls of a compiled program, after a first call that does not count.
"""

import datetime
import json
import pathlib
import statistics
import time

from absl import flags
from ml_collections import config_flags

from experiments.command_line import launch

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file("config", None, "Config file whose networks, batch sizes and buffer are taken.")
flags.DEFINE_integer("capacity", 50_000, "Entries of the buffer.")
flags.DEFINE_integer("repeats", 20, "Calls whose median counts.", lower_bound=1)
flags.DEFINE_string("out", None, "JSON file with the results.")


def median_milliseconds(function, *arguments, repeats):
    """Of a jitted function, with the time until its results are there."""
    import jax

    jax.block_until_ready(function(*arguments))
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)


def filled_buffer(settings, image_shape, num_classes, capacity):
    """A full buffer with random entries."""
    import jax
    import jax.numpy as jnp

    from ssdkd_jax import replay_buffer

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
    import jax
    import jax.numpy as jnp

    from ssdkd_jax import replay_buffer

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
    import jax
    import jax.numpy as jnp

    from ssdkd_jax import distillation, losses, models, train_state

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


def main(command, interruption):
    """Measures and writes the results."""
    import jax

    from ssdkd_jax import data
    from ssdkd_jax.jobs import run_folder

    del interruption
    config, settings = FLAGS.config, FLAGS.config[FLAGS.config.method]
    out = pathlib.Path(FLAGS.out)
    run_folder.make(out.parent, "--out")
    info = data.dataset_info(config.dataset, config.data_dir or None, image_size=config.image_size or None)
    shape, num_classes = tuple(info.image_shape), len(info.class_names)
    buffer = filled_buffer(settings, shape, num_classes, FLAGS.capacity)
    result = {
        "kind": "buffer_benchmark",
        "command": command,
        "hardware": run_folder.hardware(jax.local_devices()[:1]),
        "date": datetime.date.today().isoformat(),
        "versions": run_folder.versions(),
        "capacity": FLAGS.capacity,
        "image_shape": shape,
        "teacher": config.teacher.name,
        "student": config.student.name,
        "kd_batch_size": settings.kd_batch_size,
        "milliseconds": {
            **buffer_milliseconds(settings, buffer, FLAGS.repeats),
            "student step": student_step_milliseconds(config, settings, shape, num_classes, FLAGS.repeats),
        },
    }
    out.write_text(json.dumps(result, indent=1) + "\n")
    for name, value in result["milliseconds"].items():
        print(f"{name:20s} {value:10.2f} ms", flush=True)


if __name__ == "__main__":
    launch(
        main,
        required=("config", "out"),
        example="--config=configs/cifar10.py:wrn40_2-wrn16_1 --out=results/benchmark_buffer.json",
    )

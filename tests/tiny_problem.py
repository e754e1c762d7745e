"""Networks and images so small that a method's epoch compiles in seconds: three classes, 4x4 gray pixels."""

import functools

import jax
import jax.numpy as jnp

from ssdkd_jax import models, tasks
from ssdkd_jax.methods.base import Problem
from ssdkd_jax.training import devices

CLASSES = 3
IMAGE_SHAPE = (4, 4, 1)
# For several devices: BatchNorm over all of them.
ON_DEVICES = {"bn_axis_name": devices.AXIS}
# Settings of FastDFKD.
FASTDFKD = {
    "epochs": 4,
    "warmup_epochs": 1,
    "synthesis_batch_size": 8,
    "inversion_steps": 2,
    "reset_after": 2,  # so in the third epoch
    "bank_dtype": "float32",
    "kd_steps": 2,
    "kd_batch_size": 8,
}


def problem(**kwargs):
    """Problem, with convolutions whose gradients are fast in loops; `kwargs` are those of `models.create_model`."""
    kwargs = {"conv_general_dilated": models.loop_friendly_conv_general_dilated, **kwargs}
    networks = [models.create_model("convnet_8", CLASSES, **kwargs) for _ in range(2)]
    generator = models.create_generator(IMAGE_SHAPE, 6, 4, **kwargs)
    axis_name = kwargs.get("bn_axis_name")
    return Problem(
        *networks, generator, tasks.CLASSIFICATION, IMAGE_SHAPE, CLASSES, (0.5,), (0.2,), axis_name=axis_name
    )


@functools.cache
def teacher():
    """Its variables."""
    return jax.jit(problem().teacher.init)(jax.random.key(9), jnp.zeros((1, *IMAGE_SHAPE)))


def with_student_like_the_teacher(state, sure=1.0):
    """The state with a student that is the teacher, or one that agrees with it and is that much as sure."""
    params = {**teacher()["params"], "fc": jax.tree.map(lambda x: sure * x, teacher()["params"]["fc"])}
    student = state.student._replace(params=params, batch_stats=teacher()["batch_stats"])
    return state._replace(student=student)


def run(method, epochs):
    """(states, metrics): the initial state and that after every epoch; the metrics of every epoch."""
    epoch = jax.jit(method.epoch)
    states, metrics = [jax.jit(method.init)(jax.random.key(0), teacher())], []
    for i in range(epochs):
        state, found = epoch(states[-1], teacher(), jax.random.key(i + 1))
        states.append(state)
        metrics.append(found)
    return states, metrics


def after_an_epoch(method, count, first_epoch=0):
    """(state, metrics) after an epoch of a method of `problem(**ON_DEVICES)` on so many devices."""
    start = jax.jit(method.init)(jax.random.key(0), teacher())
    if first_epoch:
        start = start._replace(epoch=jnp.int32(first_epoch))
    sharded, chosen = method.sharded(start), devices.local_devices(count)
    epoch = devices.pmap(method.epoch, chosen, in_axes=(0, 0, None))
    state, metrics = epoch(devices.spread(start, chosen, sharded), devices.spread(teacher(), chosen), jax.random.key(1))
    return devices.gather(state, start, sharded), devices.gather(metrics)

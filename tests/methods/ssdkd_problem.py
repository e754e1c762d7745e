"""SSD-KD on tiny networks, mostly without compiling: what is called once costs more to compile."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_array_equal

from ssdkd_jax import tasks
from ssdkd_jax.data import normalize
from ssdkd_jax.methods.base import Problem
from ssdkd_jax.methods.ssdkd import SSDKD

CLASSES = 4
# A small deviation makes much of the little by which images of an untrained generator differ.
MEAN, STD = (0.5,), (0.05,)
TINY = {
    "epochs": 4,
    "warmup_epochs": 1,
    "synthesis_batch_size": 8,
    "inversion_steps": 2,
    "buffer_size": 20,  # full, and half replaced, in the third epoch
    "buffer_dtype": "float32",
    "kd_steps": 3,
    "kd_batch_size": 8,
    "temperature": 4.0,
}


# Without biases before BatchNorm: their gradient is nothing but rounding, of which Adam makes whole steps.
class TinyNetwork(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Dense(12, use_bias=False)(x.reshape(len(x), -1))
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
        return nn.Dense(CLASSES, name="fc")(nn.relu(x))


class TinyGenerator(nn.Module):
    latent_size: int = 6

    @nn.compact
    def __call__(self, z, train=True):
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(nn.Dense(16, use_bias=False)(z))
        return nn.sigmoid(x).reshape(-1, 4, 4, 1)


PROBLEM = Problem(
    TinyNetwork(), TinyNetwork(), TinyGenerator(), tasks.CLASSIFICATION, (4, 4, 1), CLASSES, MEAN, STD, crop_padding=1
)


def a_teacher(problem):
    """Variables by NumPy, with running statistics as of some data set and an opinion of all classes, none too sure."""
    shapes = jax.eval_shape(problem.teacher.init, jax.random.key(0), jnp.zeros((1, *problem.image_shape)))
    rng = np.random.default_rng(7)

    def value(path, leaf):
        drawn = {
            "kernel": lambda: np.sqrt(2 / np.prod(leaf.shape[:-1])) * rng.standard_normal(leaf.shape),
            "scale": lambda: np.ones(leaf.shape),
            "bias": lambda: np.zeros(leaf.shape),
            "mean": lambda: 0.3 * rng.standard_normal(leaf.shape),
            "var": lambda: rng.uniform(0.5, 1.5, leaf.shape),
        }
        return jnp.asarray(drawn[path[-1].key](), jnp.float32)

    variables = jax.tree_util.tree_map_with_path(value, shapes)
    # What an untrained generator makes looks about like this.
    h, w, c = problem.image_shape
    images = 0.5 + 0.07 * rng.standard_normal((64, h // 2, w // 2, c)).repeat(2, axis=1).repeat(2, axis=2)
    logits = jax.jit(problem.teacher.apply)(variables, normalize(jnp.asarray(images, jnp.float32), MEAN, STD))
    scale = 2 / logits.std(0)
    variables["params"]["fc"]["kernel"] *= scale
    variables["params"]["fc"]["bias"] = -scale * logits.mean(0)
    return variables


TEACHER = a_teacher(PROBLEM)


def epoch_key(epoch, seed=0):
    """The key with which `train` runs an epoch."""
    return jax.random.fold_in(jax.random.key(seed + 1), epoch)


def train(method, epoch, seed=0, epochs=TINY["epochs"]):
    """(states, metrics): the initial state and that after every epoch; the metrics of every epoch."""
    states, metrics = [jax.jit(method.init)(jax.random.key(seed), TEACHER)], []
    for i in range(epochs):
        state, of_epoch = epoch(states[-1], TEACHER, epoch_key(i, seed))
        states.append(state)
        metrics.append(of_epoch)
    return states, metrics


def assert_trees_equal(a, b):
    def equal(path, x, y):
        assert_array_equal(x, y, err_msg=jax.tree_util.keystr(path))

    jax.tree_util.tree_map_with_path(equal, a, b)


def differs(a, b):
    return any(not np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def uncompiled_epoch(method):
    def epoch(state, teacher, key):
        with jax.disable_jit():
            return method.epoch(state, teacher, key)

    return epoch


METHOD = SSDKD(problem=PROBLEM, **TINY)
EPOCH = jax.jit(METHOD.epoch)


@functools.cache
def tiny_run():
    return train(METHOD, EPOCH)

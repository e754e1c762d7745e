"""What a batch of images does to the teacher's BatchNorm layers, seen from outside the model.

A Linen interceptor looks at the input of every `nn.BatchNorm` while the network runs, so that models stay plain.  All
statistics have the structure of the model's own `batch_stats` collection: nested dicts of module names that end in
{"mean": (channels,), "var": (channels,)}.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import traverse_util

from ssdkd_jax.collectives import pmean
from ssdkd_jax.losses import NORM_EPSILON


def apply_with_batch_statistics(model, variables, images, *, axis_name=None):
    """Runs a network in evaluation mode and measures the inputs of its BatchNorm layers.

    Args:
      model: a Linen module called as `model.apply(variables, images)`.
      variables: its variables, with `batch_stats`.
      images: (n, h, w, c) normalised, this device's part of the batch.
      axis_name: statistics are those of the whole batch over this axis.

    Returns:
      (the network's output, statistics): mean and biased variance per channel over batch, height and width, float32.
    """
    layers = {}

    def record(next_function, args, kwargs, context):
        if isinstance(context.module, nn.BatchNorm) and context.method_name == "__call__":
            x = args[0].astype(jnp.float32)
            axes = tuple(range(x.ndim - 1))
            layers[context.module.path] = {"mean": jnp.mean(x, axes), "var": jnp.var(x, axes)}
        return next_function(*args, **kwargs)

    with nn.intercept_methods(record):
        output = model.apply(variables, images)
    if axis_name is not None:
        layers = _over_devices(layers, axis_name)
    return output, traverse_util.unflatten_dict(layers)


def _over_devices(layers, axis_name):
    """Law of total variance; two collectives for the whole network instead of two a layer."""
    means = pmean({path: layer["mean"] for path, layer in layers.items()}, axis_name)
    variances = pmean(
        {path: layer["var"] + jnp.square(layer["mean"] - means[path]) for path, layer in layers.items()}, axis_name
    )
    return {path: {"mean": means[path], "var": variances[path]} for path in layers}


def statistics_loss(batch, running):
    """BatchNorm-statistics loss: how far a batch's statistics are from those the teacher remembers of its data.

    `sum over layers of ||mean - running_mean||_2 + ||var - running_var||_2` (DeepInversion, CVPR 2020).

    Args:
      batch: statistics of a batch (see above).
      running: the teacher's `batch_stats`, of the same structure.

    Returns:
      float32 scalar >= 0.
    """
    distances = jax.tree.map(lambda a, b: jnp.sqrt(jnp.sum(jnp.square(a - b)) + NORM_EPSILON), batch, running)
    return sum(jax.tree.leaves(distances))


def blend(batch, average, momentum):
    """`(1 - momentum) * batch + momentum * average`, leaf by leaf."""
    return jax.tree.map(lambda b, a: (1 - momentum) * b + momentum * a, batch, average)


def has_batch_norm(variables):
    """Whether a network has running statistics to compare with."""
    return bool(jax.tree.leaves(variables.get("batch_stats", {})))

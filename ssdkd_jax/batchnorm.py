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


def apply_with_batch_statistics(model, variables, images, *, axis_name=None, **kwargs):
    """Runs a network in evaluation mode and measures the inputs of its BatchNorm layers.

    Args:
      model: a Linen module called as `model.apply(variables, images, **kwargs)`.
      variables: its variables, with `batch_stats`.
      images: (n, h, w, c) normalised, this device's part of the batch.
      axis_name: statistics are those of the whole batch over this axis.
      **kwargs: for the network, such as `return_features=True`.

    Returns:
      (the network's output, statistics): mean and biased variance per channel over batch, height and width, float32.
    """
    output, inputs = _with_inputs(model, variables, images, _statistics, **kwargs)
    return output, _of_whole_batch(inputs, axis_name)


def apply_with_features(model, variables, images, *, axis_name=None):
    """As `apply_with_batch_statistics`, with what CMI (IJCAI 2021) calls a sample's features.

    Returns:
      (the network's output, statistics, features (n, f) float32): spatial means of the inputs of all BatchNorm layers,
      one after the other in the order in which the network calls them; this device's part of the batch.
    """

    def measure(x):
        return _statistics(x), jnp.mean(x, axis=tuple(range(1, x.ndim - 1)))

    output, inputs = _with_inputs(model, variables, images, measure)
    features = jnp.concatenate([spatial_mean for _, spatial_mean in inputs.values()], axis=-1)
    statistics = {path: found for path, (found, _) in inputs.items()}
    return output, _of_whole_batch(statistics, axis_name), features


def _statistics(x):
    axes = tuple(range(x.ndim - 1))
    return {"mean": jnp.mean(x, axes), "var": jnp.var(x, axes)}


def _with_inputs(model, variables, images, measure, **kwargs):
    """(the network's output, {path: measure(float32 input)} of its BatchNorm layers in the order of their calls)."""
    layers = {}

    def record(next_function, args, kwargs, context):
        if isinstance(context.module, nn.BatchNorm) and context.method_name == "__call__":
            layers[context.module.path] = measure(args[0].astype(jnp.float32))
        return next_function(*args, **kwargs)

    with nn.intercept_methods(record):
        output = model.apply(variables, images, **kwargs)
    return output, layers


def _of_whole_batch(layers, axis_name):
    """Nested as the model's own `batch_stats`."""
    if axis_name is not None:
        layers = _over_devices(layers, axis_name)
    return traverse_util.unflatten_dict(layers)


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

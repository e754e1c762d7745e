"""What a batch of images does to the teacher's BatchNorm layers, seen from outside the model.

A Linen interceptor looks at the input of every `nn.BatchNorm` while the network runs, so that models stay plain.  All
statistics have the structure of the model's own `batch_stats` collection: nested dicts of module names that end in
{"mean": (channels,), "var": (channels,)}.
"""

import contextlib

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
      images: (n, h, w, c) normalized, this device's part of the batch.
      axis_name: statistics are those of the whole batch over this axis.
      **kwargs: for the network, such as `return_features=True`.

    Returns:
      (the network's output, statistics): mean and biased variance per channel over batch, height and width, float32.
    """
    output, inputs = _with_inputs(model, variables, images, _statistics, **kwargs)
    return output, _of_whole_batch(inputs, axis_name)


def apply_with_features(model, variables, images, *, layers=(), axis_name=None):
    """Does what `apply_with_batch_statistics` does, and gives what CMI (IJCAI 2021) calls a sample's features.

    Args:
      layers: names of the modules whose inputs are the features; () is all BatchNorm layers.

    Returns:
      (the network's output, statistics, features (n, f) float32): spatial means of those inputs, one after the other in
      the order in which the network calls the modules; this device's part of the batch.

    Raises:
      ValueError: the network has no module of such a name.
    """
    chosen = set(layers)

    def spatial_mean(x):
        return jnp.mean(x, axis=tuple(range(1, x.ndim - 1)))

    with _recording(lambda module: "/".join(module.path) in chosen, spatial_mean) as of_chosen:
        output, inputs = _with_inputs(model, variables, images, lambda x: (_statistics(x), spatial_mean(x)))
    unknown = chosen - {"/".join(path) for path in of_chosen}
    if unknown:
        raise ValueError(f"the network has no layers {', '.join(sorted(unknown))}")
    features = list(of_chosen.values()) or [mean for _, mean in inputs.values()]
    statistics = {path: found for path, (found, _) in inputs.items()}
    return output, _of_whole_batch(statistics, axis_name), jnp.concatenate(features, axis=-1)


def _statistics(x):
    axes = tuple(range(x.ndim - 1))
    return {"mean": jnp.mean(x, axes), "var": jnp.var(x, axes)}


def _with_inputs(model, variables, images, measure, **kwargs):
    """(the network's output, {path: measure(float32 input)} of its BatchNorm layers in the order of their calls)."""
    with _recording(lambda module: isinstance(module, nn.BatchNorm), measure) as layers:
        output = model.apply(variables, images, **kwargs)
    return output, layers


@contextlib.contextmanager
def _recording(is_wanted, measure):
    """{path: measure(float32 input)} of the wanted modules that are called within."""
    found = {}

    def record(next_function, args, kwargs, context):
        if context.method_name == "__call__" and is_wanted(context.module):
            found[context.module.path] = measure(args[0].astype(jnp.float32))
        return next_function(*args, **kwargs)

    with nn.intercept_methods(record):
        yield found


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
    """True if a network has running statistics to compare with."""
    return bool(jax.tree.leaves(variables.get("batch_stats", {})))

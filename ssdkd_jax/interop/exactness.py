"""How exactly our networks agree with their PyTorch definitions, in both directions.  Needs torch."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from ssdkd_jax.errors import UserError
from ssdkd_jax.interop.torch_weights import classes_and_channels, from_torch_state_dict, to_torch_state_dict
from ssdkd_jax.models import count_parameters, create_model

if TYPE_CHECKING:
    import torch

# Of the logits, relative to the largest.
TOLERANCE = 1e-4


def compare(name: str, definition: "torch.nn.Module", weights: dict[str, np.ndarray], images: np.ndarray) -> dict:
    """Carries weights there and back, and compares what both networks compute.

    In: the given weights go into PyTorch and into our network.  Out: our initial weights, with the BatchNorm statistics
    of the images, go into PyTorch by `load_state_dict(strict=True)`.

    Args:
      name: as for `create_model`.
      definition: the network in PyTorch, in evaluation mode; its weights are replaced.
      weights: {PyTorch name: array} of the whole network.
      images: (n, h, w, c) float32; two of them are compared, all decide the BatchNorm statistics.

    Returns:
      {"parameters": their number, "in", "out": largest difference of logits relative to the largest logit,
      "round_trip_exact": whether the weights came back bit for bit}.

    Raises:
      UserError: the logits differ by TOLERANCE or more, or say nothing because two images have the same.
    """
    variables = from_torch_state_dict(name, weights)
    back = to_torch_state_dict(name, variables)
    exact = back.keys() == weights.keys() and all(np.array_equal(back[key], weights[key]) for key in weights)

    model = create_model(name, classes_and_channels(name, variables)[0])
    own = _with_statistics_of(images, model, model.init(jax.random.key(0), images))
    theirs = _logits(definition, weights, images[:2]), _logits(definition, to_torch_state_dict(name, own), images[:2])
    if not np.ptp(theirs[1], axis=0).max() > 1e-3 * np.abs(theirs[1]).max():
        raise UserError(f"{name}: two images have nearly the same logits, which says nothing about the layers before")
    return {
        "parameters": count_parameters(variables),
        "in": _difference(name, model.apply(variables, images[:2]), theirs[0]),
        "out": _difference(name, model.apply(own, images[:2]), theirs[1]),
        "round_trip_exact": exact,
    }


def predictions(
    name: str, variables: dict, definition: "torch.nn.Module", images: Iterable[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Predicts the classes of images with both networks.

    Args:
      name: as for `create_model`.
      variables: of our network.
      definition: the network in PyTorch with its weights, in evaluation mode.
      images: batches (b, h, w, c) float32, normalized; all of one shape.

    Returns:
      our classes and PyTorch's, (n,) int each, or of each pixel.
    """
    model = create_model(name, classes_and_channels(name, variables)[0])
    predict = jax.jit(lambda x: jnp.argmax(model.apply(variables, x), -1))
    ours, theirs = [], []
    for batch in images:
        ours.append(np.asarray(predict(batch)))
        theirs.append(_run(definition, batch).argmax(-1))
    return np.concatenate(ours), np.concatenate(theirs)


def _with_statistics_of(images, model, variables):
    """Gives the network statistics as after training: with the initial ones, deep signals vanish or explode."""
    before = variables.get("batch_stats", {})
    _, updated = model.apply(variables, images, train=True, mutable=["batch_stats"])
    batch = jax.tree.map(lambda new, old: (new - 0.9 * old) / 0.1, updated.get("batch_stats", {}), before)
    return {**variables, "batch_stats": batch}


def _logits(definition, weights, images):
    import torch

    definition.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in weights.items()}, strict=True)
    return _run(definition, images)


def _run(definition, images):
    import torch

    with torch.no_grad():
        logits = definition(torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))).numpy()
    return np.moveaxis(logits, 1, -1)  # of pixels, where there are some


def _difference(name, ours, theirs):
    difference = float(np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max())
    if not difference < TOLERANCE:
        raise UserError(f"{name}: logits differ by {difference:.1e} of the largest, expected less than {TOLERANCE}")
    return difference

"""Networks that a user's own Python file makes."""

import inspect

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp

from ssdkd_jax.errors import UserError
from ssdkd_jax.user_code import load_object, reported_errors


def make_user_network(name: str, num_classes: int, **options) -> nn.Module:
    """Calls a user's function or Linen class.

    Args:
      name: `path/to/file.py:make`.
      num_classes: passed on under this name.
      **options: those that the signature of `make` has are passed on; all of them if it takes `**kwargs`.

    Returns:
      the Linen module that `make` returned.

    Raises:
      UserError: `make` cannot be called like this, fails, or returns anything but a Linen module that is called as
        `model.apply(variables, x, train=False)`.
    """
    make = load_object(name)
    if not callable(make):
        raise UserError(f"{name} is {_described(make)}, expected a function or class that makes a flax.linen.Module")
    with reported_errors(name):
        parameters = inspect.signature(make).parameters
        arguments = {key: value for key, value in options.items() if _takes(parameters, key)}
        if not _takes(parameters, "num_classes"):
            raise UserError(f"{name} takes no num_classes; expected def {name.rpartition(':')[2]}(num_classes, ...)")
        model = make(num_classes=num_classes, **arguments)
    if not isinstance(model, nn.Module):
        raise UserError(f"{name} returned {_described(model)}, expected a flax.linen.Module")
    _check_call(name, model)
    return model


def check_outputs(
    name: str, model: nn.Module, image_shape: tuple[int, int, int], logits_shape: tuple[int, ...], axis_name: str
) -> None:
    """Runs a user's network, without computing anything, in evaluation and in training mode.

    Args:
      name: `path/to/file.py:make`.
      model: what it made.
      image_shape: (h, w, c).
      logits_shape: of one image: (classes,), or (h, w, classes) for segmentation.
      axis_name: the pmapped axis, which it may know.

    Raises:
      UserError: it fails, it cannot be trained, or its outputs are no logits.
    """
    # Two, so that a batch cannot be taken for something else.
    images = jnp.zeros((2, *image_shape))
    with reported_errors(name):
        variables = jax.eval_shape(model.init, jax.random.key(0), images)
    others = sorted(variables.keys() - {"params", "batch_stats"})
    if others:
        raise UserError(f"{name} has variables in {', '.join(others)}, expected none but params and batch_stats")
    if not jax.tree.leaves(variables.get("params", {})):
        raise UserError(f"{name} has no parameters, expected a network that can be trained")
    for train in (False, True):

        def apply(variables, images, train=train):
            output = model.apply(variables, images, train=train, mutable=["batch_stats"] if train else False)
            return output if train else (output, variables)

        with reported_errors(name):
            try:
                found = jax.eval_shape(jax.vmap(apply, (None, 0), axis_name=axis_name), variables, images[None])
            except flax.errors.InvalidRngError as error:
                raise UserError(
                    f"{name} draws at random with train={train}, expected a network that does not, as train steps have "
                    "no random key for it: leave Dropout out, or write nn.Dropout(rate, deterministic=True)"
                ) from error
        output, updated = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), found)
        owner = f"{name} returned for {len(images)} images with train={train}"
        _check_logits(output, (len(images), *logits_shape), owner)
        if _shapes(updated.get("batch_stats", {})) != _shapes(variables.get("batch_stats", {})):
            raise UserError(f"{name} has other batch_stats after a step with train=True than before, expected the same")


def _check_logits(output, expected, owner):
    if not hasattr(output, "shape"):
        raise UserError(f"{owner} {_described(output)}, expected logits {expected}")
    if output.shape != expected or not jnp.issubdtype(output.dtype, jnp.floating):
        raise UserError(f"{owner} {output.dtype} of shape {output.shape}, expected logits {expected} of float32")


def _shapes(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)


def _takes(parameters, name):
    return name in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _check_call(name, model):
    kind = type(model).__name__
    parameters = inspect.signature(type(model).__call__).parameters if callable(model) else {}
    if not _takes(parameters, "train"):
        raise UserError(f"{name} returned a {kind} whose __call__ takes no train; expected __call__(x, train=False)")
    if "train" in parameters and parameters["train"].default is not False:
        raise UserError(f"{name} returned a {kind} whose train is not False by default; expected train=False")


def _described(value):
    return f"the class {value.__name__}" if isinstance(value, type) else f"an object of type {type(value).__name__}"

"""Networks that a user's own Python file makes."""

import inspect

import flax.linen as nn

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

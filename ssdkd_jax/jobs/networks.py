"""A config's networks, and the method that is made of them."""

import jax.numpy as jnp
from ml_collections import ConfigDict

from ssdkd_jax import models
from ssdkd_jax.errors import UserError
from ssdkd_jax.methods import find_method, section_of
from ssdkd_jax.methods.base import Problem
from ssdkd_jax.models.convolution import loop_friendly_conv_general_dilated
from ssdkd_jax.models.layers import Layers
from ssdkd_jax.training.devices import AXIS, spread
from ssdkd_jax.training.evaluation import make_evaluator, make_predictor
from ssdkd_jax.user_code import absolute, is_user_code, reported_errors


def make_model(context, name, num_classes, **kwargs):
    """A network in the config's dtypes, for the run's devices."""
    return models.create_model(name, num_classes, **_layers(context), **kwargs)


def _make_generator(context, image_shape):
    """The config's generator for images of this shape."""
    size = context.config.generator
    layers = _layers(context)
    return models.create_generator(image_shape, size.latent_size, size.width, bn_axis_name=AXIS, **layers)


def _layers(context):
    """What the layers of all networks have in common, fields of Layers."""
    config, on_cpu = context.config, context.devices[0].platform == "cpu"
    return {
        "dtype": jnp.dtype(config.dtype),
        "param_dtype": jnp.dtype(config.param_dtype),
        # On CPUs the one whose gradients stay fast inside loops, else XLA's own.
        "conv_general_dilated": loop_friendly_conv_general_dilated if on_cpu else None,
    }


def make_method(context, architecture, images):
    """The config's Method for a teacher of this architecture and an ImageSpec.

    Raises:
      UserError: a setting that the method refuses.
    """
    config, num_classes = context.config, len(images.class_names)
    uses_generator = find_method(config.method).method.uses_generator
    problem = Problem(
        teacher=make_model(context, architecture, num_classes),
        student=make_model(context, trained_network(config, architecture), num_classes, bn_axis_name=AXIS),
        generator=_make_generator(context, images.shape) if uses_generator else None,
        task=images.task,
        image_shape=images.shape,
        num_classes=num_classes,
        mean=images.mean,
        std=images.std,
        crop_padding=config.crop_padding,
        flip=config.flip,
        axis_name=AXIS,
        layers=Layers(bn_axis_name=AXIS, **_layers(context)),
    )
    preset, settings = find_method(config.method), method_settings(config, config.method)
    with reported_errors(config.method):
        try:
            return preset.method(problem=problem, epochs=config.epochs, **settings)
        except ValueError as error:
            raise UserError(f"{section_of(config.method)}.{error}") from error


def trained_network(config, architecture):
    """Name of the network that the config's method trains for a teacher of this architecture."""
    method, values = find_method(config.method).method, method_settings(config, config.method)
    try:
        return method.student_network(config.student.name, architecture, values)
    except ValueError as error:
        raise UserError(f"{section_of(config.method)}.{error}") from error


def method_settings(config, name):
    """{setting: value} of a method: the config's section, or its preset where the config has none."""
    section = section_of(name)
    return config[section].to_dict() if section in config else find_method(name).settings


def add_section(config, method):
    """Adds the section of a method with its own settings to a config that has none, such as one of a user's method."""
    section = section_of(method)
    if section not in config:
        with config.unlocked():
            config[section] = ConfigDict(method_settings(config, method))


def network_metadata(architecture, images):
    """What `saved_network.save_network` writes next to a network's variables."""
    return {
        "architecture": absolute(architecture) if is_user_code(architecture) else architecture,
        "num_classes": len(images.class_names),
        "image_shape": images.shape,
        "mean": images.mean,
        "std": images.std,
        "class_names": images.class_names,
    }


def make_predictor_of(context, architecture, images, variables=None, *, batch_size=None):
    """(predict, pmapped variables) of a network, see `evaluation.make_predictor`; batches of the config's size."""
    model = make_model(context, architecture, len(images.class_names))
    predict = make_predictor(
        model,
        images.mean,
        images.std,
        images.task,
        context.devices,
        context.clock,
        batch_size=batch_size or context.config.evaluation_batch_size,
    )
    return predict, None if variables is None else spread(variables, context.devices)


def make_evaluator_of(context, architecture, images, variables=None):
    """(evaluate, pmapped variables) of a network, see `evaluation.make_evaluator`."""
    num_classes = len(images.class_names)
    evaluate = make_evaluator(
        make_model(context, architecture, num_classes),
        images.mean,
        images.std,
        images.task,
        num_classes,
        context.devices,
        context.clock,
        batch_size=context.config.evaluation_batch_size,
    )
    return evaluate, None if variables is None else spread(variables, context.devices)

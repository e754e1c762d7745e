"""Linen networks, NHWC: classifiers and segmentation networks by name, and generators by image shape."""

from ssdkd_jax.models.convolution import loop_friendly_conv_general_dilated
from ssdkd_jax.models.generator import create_generator
from ssdkd_jax.models.registry import (
    count_parameters,
    create_model,
    model_names,
    public_definition,
    public_normalization,
    task_of,
    variable_shapes,
)

__all__ = [
    "count_parameters",
    "create_generator",
    "create_model",
    "loop_friendly_conv_general_dilated",
    "model_names",
    "public_definition",
    "public_normalization",
    "task_of",
    "variable_shapes",
]

"""The BatchNorm loss of real images."""

import numpy as np
import pytest

from experiments.real_bn_loss import _checked, real_bn_loss
from ssdkd_jax import batchnorm, data, models
from ssdkd_jax.errors import UserError
from tests.random_networks import random_variables

METADATA = {"architecture": "convnet_8", "num_classes": 10, "mean": (0.5,), "std": (0.5,)}


def test_images_whose_statistics_the_network_has_cost_nothing_and_parts_of_them_something():
    images = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 1), np.uint8)
    model = models.create_model("convnet_8", 10)
    variables = random_variables(model, (8, 8, 1))
    seen = data.normalize(data.to_unit(images), METADATA["mean"], METADATA["std"])
    for _ in variables["batch_stats"]:  # what a layer sees depends on those before it
        variables["batch_stats"] = batchnorm.apply_with_batch_statistics(model, variables, seen)[1]
    assert real_bn_loss(variables, METADATA, images, 32) < 0.01
    assert real_bn_loss(variables, METADATA, images, 4) > 0.1


@pytest.mark.parametrize("given", ["0", "33", "-1", "many"])
def test_batch_sizes_that_are_none(given):
    with pytest.raises(UserError, match=f"BATCH_SIZE is {given}, expected a number from 1 to 32, that of the training"):
        _checked(given, 32)

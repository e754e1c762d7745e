"""The BatchNorm loss of real images."""

import numpy as np
import pytest

from experiments.real_bn_loss import real_bn_loss
from ssdkd_jax import batchnorm, data, models
from ssdkd_jax.training.saved_network import save_network
from tests import programs
from tests.random_networks import random_variables

METADATA = {
    **{"architecture": "convnet_8", "num_classes": 10, "class_names": tuple("0123456789")},
    **{"mean": (0.5,), "std": (0.5,), "image_shape": (8, 8, 1)},
}


def saved(folder, architecture="convnet_8", image_shape=(8, 8, 1)):
    """Folder of a network with random variables."""
    variables = random_variables(models.create_model(architecture, 10), image_shape)
    half = (0.5,) * image_shape[-1]
    about = {"architecture": architecture, "image_shape": image_shape, "mean": half, "std": half}
    save_network(folder, {"batch_stats": {}, **variables}, {**METADATA, **about})
    return folder


def test_images_whose_statistics_the_network_has_cost_nothing_and_parts_of_them_something():
    images = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 1), np.uint8)
    model = models.create_model("convnet_8", 10)
    variables = random_variables(model, (8, 8, 1))
    seen = data.normalize(data.to_unit(images), METADATA["mean"], METADATA["std"])
    for _ in variables["batch_stats"]:  # what a layer sees depends on those before it
        variables["batch_stats"] = batchnorm.apply_with_batch_statistics(model, variables, seen)[1]
    assert real_bn_loss(variables, METADATA, images, 32) < 0.01
    assert real_bn_loss(variables, METADATA, images, 4) > 0.1


def test_images_have_the_size_that_the_teacher_takes(tmp_path):
    status, out, err = programs.run("real_bn_loss", saved(tmp_path / "t", image_shape=(16, 16, 1)), "digits", "4")
    assert (status, err) == (0, "")
    assert float(out) > 0


@pytest.mark.parametrize(
    ("architecture", "shape", "batch_size", "expected"),
    [
        ("convnet_8", (8, 8, 1), "0", "BATCH_SIZE is 0, expected a number from 1 to 1437, the training images"),
        ("convnet_8", (8, 8, 1), "many", "BATCH_SIZE is many, expected a number from 1 to 1437, the training images"),
        ("convnet_8", (8, 8, 3), "4", "digits is of 1 channels, not of the teacher's 3; give another DATASET"),
        ("lenet5", (32, 32, 1), "4", "TEACHER has no BatchNorm layers, whose statistics the loss compares"),
    ],
)
def test_mistakes(tmp_path, architecture, shape, batch_size, expected):
    teacher = saved(tmp_path / "teacher", architecture, shape)
    status, out, err = programs.run("real_bn_loss", teacher, "digits", batch_size)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"error: {expected.replace('TEACHER', str(teacher), 1)}")

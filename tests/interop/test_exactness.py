"""The comparison with PyTorch: equal networks agree, and a difference is noticed."""

import jax
import numpy as np
import pytest

from ssdkd_jax.errors import UserError
from ssdkd_jax.interop import exactness, from_torch_state_dict
from ssdkd_jax.models import create_model
from tests import golden_values

torch = pytest.importorskip("torch")


def resnet8():
    """(definition in PyTorch, weights, images)."""
    from tests.models import torch_reference

    definition = torch_reference.build("resnet8", 10).eval()
    weights = golden_values.state_dict({key: tuple(value.shape) for key, value in definition.state_dict().items()})
    return definition, weights, np.random.default_rng(1).standard_normal((8, 16, 16, 3)).astype(np.float32)


def test_equal_networks_agree():
    definition, weights, images = resnet8()
    found = exactness.compare("resnet8", definition, weights, images)
    variables = from_torch_state_dict("resnet8", weights)
    assert found["parameters"] == sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    assert 0 < found["in"] < 1e-5 and 0 < found["out"] < 1e-5
    assert found["round_trip_exact"]


def test_another_network_is_noticed():
    definition, weights, images = resnet8()
    definition.bn1.eps = 1e-2
    with pytest.raises(UserError, match=r"resnet8: logits differ by .* of the largest, expected less than 0\.0001"):
        exactness.compare("resnet8", definition, weights, images)


def test_images_that_say_nothing_are_noticed():
    definition, weights, images = resnet8()
    images[1] = images[0]
    with pytest.raises(UserError, match="two images have nearly the same logits"):
        exactness.compare("resnet8", definition, weights, images)


def test_predictions_of_both():
    definition, weights, images = resnet8()
    definition.load_state_dict({key: torch.from_numpy(value) for key, value in weights.items()})
    variables = from_torch_state_dict("resnet8", weights)
    ours, theirs = exactness.predictions("resnet8", variables, definition, np.split(images, 2))
    expected = np.argmax(create_model("resnet8").apply(variables, images), -1)
    np.testing.assert_array_equal(ours, expected)
    np.testing.assert_array_equal(theirs, expected)

"""PyTorch's side has the networks that the weights and logits of the public implementations are of."""

import numpy as np
import pytest
import torch

from ssdkd_jax.models import model_names
from ssdkd_jax.speed import torch_networks
from ssdkd_jax.speed.peer import is_there
from tests import golden_values

torch.set_num_threads(1)
LAYOUTS, FORWARD = golden_values.layouts(), golden_values.load("forward")
THERE = [name for name in model_names() if is_there(name)]


def with_golden_weights(network):
    weights = golden_values.state_dict({name: tuple(value.shape) for name, value in network.state_dict().items()})
    network.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    return network.eval()


def test_what_is_there():
    asked = {"wrn16_1", "wrn16_2", "wrn40_1", "wrn40_2", "resnet18", "resnet34", "resnet20_option_a", "resnet20"}
    assert asked <= set(THERE) and "resnet50" not in THERE
    for name in set(model_names()) - set(THERE):
        with pytest.raises(ValueError, match=f"there is no {name} here"):
            torch_networks.create(name, 10, 3)


@pytest.mark.parametrize("name", [name for name in THERE if name in LAYOUTS])
def test_names_shapes_and_logits_are_the_public_ones(name):
    layout = {key: tuple(shape) for key, shape in LAYOUTS[name].items()}
    classes = list(layout.values())[-1][0]
    network = torch_networks.create(name, classes, 3)
    assert {key: tuple(value.shape) for key, value in network.state_dict().items()} == layout
    if f"{name}/logits" not in FORWARD:
        return
    images = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)
    with torch.no_grad():
        logits = with_golden_weights(network)(torch.from_numpy(images)).numpy()
    expected = FORWARD[f"{name}/logits"]
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_the_generator_has_the_public_names():
    generator = torch_networks.Generator((32, 32, 3), 256, (128, 64))
    layout = {name: tuple(shape) for name, shape in golden_values.generator_layout().items()}
    assert {name: tuple(value.shape) for name, value in generator.state_dict().items()} == layout

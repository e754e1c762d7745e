"""SimKD's projector against public PyTorch code (`golden/hidfd.npz`), and the whole network."""

import copy
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from ssdkd_jax.errors import UserError
from ssdkd_jax.interop import naming, to_torch_state_dict
from ssdkd_jax.models import create_model, public_definition, simkd
from ssdkd_jax.models.layers import Layers
from tests import golden_values

JOINT = "convnet_8_simkd_strided_convnet_16"


class GivenMap(nn.Module):
    """A backbone whose last map is its input."""

    def __call__(self, x, train=False, return_features="map"):
        return x


def test_projector_and_classifier_equal_pytorch():
    golden = {name: value for name, value in golden_values.load("hidfd").items() if name.startswith("simkd/")}
    student_map, teacher_map = (golden[f"simkd/feat_{which}_nchw"].transpose(0, 2, 3, 1) for which in "st")
    model = simkd.SimKD(GivenMap(), lambda _: teacher_map.shape[1:], 10, Layers())
    layout = json.loads((golden_values.FOLDER / "simkd_layout.json").read_text())
    layout |= {"classifier.weight": (10, 32), "classifier.bias": (10,)}
    template = naming.template(model, student_map)
    variables = naming.from_torch(golden_values.state_dict(layout), template)
    projected = model.apply(variables, student_map, return_features="map")
    assert_allclose(projected.transpose(0, 3, 1, 2), golden["simkd/trans_feat_s_nchw"], rtol=1e-4, atol=1e-5)
    assert_allclose(golden["simkd/feat_t_nchw"], golden["simkd/trans_feat_t_nchw"])
    assert_allclose(model.apply(variables, student_map), golden["simkd/logits"], rtol=1e-4, atol=1e-5)


def test_distance_of_maps_of_two_sizes():
    large, small = (jax.random.normal(jax.random.key(i), (2, side, side, 3)) for i, side in enumerate((4, 2)))
    averaged = large.reshape(2, 2, 2, 2, 2, 3).mean(axis=(2, 4))
    expected = jnp.square(averaged - small).mean(axis=(1, 2, 3))
    assert_allclose(simkd.map_distance(large, small), expected, rtol=1e-5)
    assert_allclose(simkd.map_distance(small, large), expected, rtol=1e-5)


@pytest.mark.parametrize(("length", "parts"), [(7, 3), (7, 7), (5, 2), (4, 2)])
def test_averages_equal_pytorch(length, parts):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).random((2, 3, length, length), np.float32)
    expected = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(x), (parts, parts)).numpy()
    found = simkd.averaged_to(jnp.asarray(x.transpose(0, 2, 3, 1)), (parts, parts))
    assert_allclose(found.transpose(0, 3, 1, 2), expected, rtol=1e-5)


def network(name, image_shape):
    model = create_model(name, 5)
    return model, jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, *image_shape)))


def test_the_whole_network_has_no_classifier_of_the_student():
    _, variables = network(JOINT, (8, 8, 1))
    assert variables["params"].keys() == {
        *("backbone", "classifier"),
        *(f"transfer.{entry}" for entry in (0, 1, 3, 4, 6, 7)),
    }
    assert "fc" not in variables["params"]["backbone"]
    assert simkd.classifier_path(create_model("resnet20_option_a"), (8, 8, 1)) == "linear"


def test_unknown_parts():
    with pytest.raises(UserError, match="unknown model 'convnet_9'; did you mean 'convnet_8'"):
        create_model("convnet_9_simkd_resnet20")


@pytest.mark.parametrize("student", ["convnet_8", "wrn10_1"])
def test_pytorch_computes_the_same(student):
    """The lines of the definition, around the student's own, which is public or ours."""
    torch = pytest.importorskip("torch")
    from tests.models import torch_reference

    name, shape = f"{student}_simkd_convnet_8", (16, 16, 3)
    model, variables = network(name, shape)
    definition = public_definition(name, 5, 3, shape[:2])
    scope = {"torch": torch}
    lines = definition.lines
    if definition.source:
        scope["model"] = torch_reference.build(student, 5)
        lines = lines[lines.index("\nclass SimKD") :]
    exec(lines, scope)
    tensors = {key: torch.from_numpy(value) for key, value in to_torch_state_dict(name, variables).items()}
    scope["model"].load_state_dict(tensors, strict=True)
    images = np.random.default_rng(0).random((2, *shape), np.float32)
    with torch.no_grad():
        # A copy, as of a model that is averaged or pickled.
        expected = copy.deepcopy(scope["model"].eval())(torch.from_numpy(images.transpose(0, 3, 1, 2)))
    assert_allclose(model.apply(variables, images), expected, rtol=1e-4, atol=1e-5)

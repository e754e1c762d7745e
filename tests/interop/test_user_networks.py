"""Networks of a user's own file on their way to and from PyTorch, ONNX and StableHLO."""

import re

import jax
import numpy as np
import pytest

from ssdkd_jax import data
from ssdkd_jax.errors import UserError
from ssdkd_jax.interop import (
    classes_and_channels,
    from_torch_state_dict,
    infer_architecture,
    onnx_stablehlo,
    to_torch_state_dict,
    torch_export,
)
from ssdkd_jax.jobs.teacher import classes_of, load_teacher
from ssdkd_jax.models import create_model
from tests.random_networks import random_variables

NETWORKS = """
import flax.linen as nn


class Pooled(nn.Module):
    num_classes: int

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Conv(4, (3, 3), padding=1, name="stem.conv")(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not train, epsilon=1e-5, momentum=0.9, name="stem.bn")(x))
        return nn.Dense(self.num_classes, name="fc")(x.mean((1, 2)))


class Flat(nn.Module):
    num_classes: int

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.relu(nn.Conv(2, (3, 3), strides=2, padding=1, name="conv")(x))
        return nn.Dense(self.num_classes, name="fc")(x.reshape(x.shape[0], -1))


class Perceptron(nn.Module):
    num_classes: int

    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(self.num_classes, name="fc")(x.reshape(len(x), -1))


class Scaled(nn.Module):
    num_classes: int

    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(self.num_classes, name="fc")(x.mean((1, 2))) * self.param("gain", nn.initializers.ones, ())


class ForGray(nn.Module):
    num_classes: int

    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(self.num_classes, name="fc")(x.reshape(-1, 28 * 28))
"""
IN_PYTORCH = """
import torch


class MyNetwork(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = torch.nn.ModuleDict({"conv": torch.nn.Conv2d(3, 4, 3, padding=1), "bn": torch.nn.BatchNorm2d(4)})
        self.fc = torch.nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(self.stem["bn"](self.stem["conv"](x)).relu().mean((2, 3)))
"""


@pytest.fixture
def network(tmp_path):
    """(class name, image shape) -> (architecture, variables of three classes)."""
    (tmp_path / "nets.py").write_text(NETWORKS)

    def make(name, shape):
        architecture = f"{tmp_path}/nets.py:{name}"
        variables = random_variables(create_model(architecture, 3), shape)
        return architecture, jax.tree.map(lambda x: np.asarray(x) + np.float32(0.01), dict(variables))

    return make


def metadata(architecture, shape):
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    return {
        "architecture": architecture,
        "num_classes": 3,
        "image_shape": list(shape),
        "mean": mean[: shape[-1]],
        "std": std[: shape[-1]],
        "class_names": ["cat", "dog", "cow"],
    }


@pytest.mark.parametrize(
    ("name", "shape"), [("Pooled", (8, 8, 3)), ("Pooled", (8, 8, 1)), ("Flat", (28, 28, 1)), ("Perceptron", (4, 6, 2))]
)
def test_there_and_back(network, name, shape):
    architecture, variables = network(name, shape)
    state_dict = to_torch_state_dict(architecture, variables, shape)
    back = from_torch_state_dict(architecture, state_dict, shape)
    jax.tree.map(np.testing.assert_array_equal, back, {"batch_stats": {}, **variables})
    assert classes_and_channels(architecture, variables, shape) == (3, shape[-1])


def test_a_file_of_a_network_that_flattens_its_images(network, tmp_path):
    """The size comes from the run or from --image_size, the channels from the kernel where nobody says them."""
    safetensors = pytest.importorskip("safetensors.numpy")
    architecture, variables = network("Flat", (28, 28, 1))
    state_dict = to_torch_state_dict(architecture, variables, (28, 28, 1))
    safetensors.save_file(state_dict, tmp_path / "flat.safetensors")
    for channels in (1, None):
        shape = (28, 28, channels)
        teacher = load_teacher(tmp_path / "flat.safetensors", architecture, image_shape=shape)
        jax.tree.map(np.testing.assert_array_equal, teacher.variables, {"batch_stats": {}, **variables})
        assert classes_of(teacher, shape) == 3
    with pytest.raises(UserError, match=r"flat.safetensors is no .*: tensor .fc.weight. has shape"):
        load_teacher(tmp_path / "flat.safetensors", architecture, image_shape=(32, 32, 1))


def test_names_and_channels_without_an_image_shape(network):
    architecture, variables = network("Pooled", (8, 8, 1))
    assert {name: value.shape for name, value in to_torch_state_dict(architecture, variables).items()} == {
        **{"stem.conv.weight": (4, 1, 3, 3), "stem.conv.bias": (4,)},
        **{f"stem.bn.{name}": (4,) for name in ("weight", "bias", "running_mean", "running_var")},
        **{"stem.bn.num_batches_tracked": (), "fc.weight": (3, 4), "fc.bias": (3,)},
    }
    assert classes_and_channels(architecture, variables) == (3, 1)
    assert infer_architecture(to_torch_state_dict(architecture, variables)) == []


def test_a_layout_that_does_not_fit(network):
    architecture, variables = network("Pooled", (8, 8, 3))
    tensors = to_torch_state_dict(architecture, variables) | {"fc.extra": np.ones(2)}
    with pytest.raises(UserError, match=r"nets\.py:Pooled: unexpected tensor 'fc\.extra' of shape \(2,\)"):
        from_torch_state_dict(architecture, tensors)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Perceptron", "has no convolution, whose kernel says how many channels the images have"),
        ("Scaled", r"variable 'params\.gain' has no PyTorch counterpart"),
        ("ForGray", r"nets\.py:ForGray fails with \w+: .* \(.*nets\.py, line 45\)"),
    ],
)
def test_networks_that_cannot_be_read_off(network, name, message):
    architecture, variables = network(name, (28, 28, 1))
    with pytest.raises(UserError, match=message) as caught:
        classes_and_channels(architecture, variables)
    assert "\n" not in str(caught.value)


def test_the_note_runs_with_the_users_own_definition(network, tmp_path, monkeypatch, capsys):
    torch = pytest.importorskip("torch")
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    image.fromarray(pixels).save(tmp_path / "image.png")
    (tmp_path / "my_network.py").write_text(IN_PYTORCH)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    architecture, variables = network("Pooled", (12, 16, 3))
    about = metadata(architecture, (12, 16, 3))
    _, note = torch_export.export_network("student.pth", variables, about)
    text = note.read_text()
    assert f"The definition is your own: {architecture}" in text
    for name, value in to_torch_state_dict(architecture, variables).items():
        assert (f"| `{name}` | {value.shape} |" in text) == (not name.endswith("num_batches_tracked"))
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    scope = {}
    exec(code, scope)
    images = data.normalize(np.float32(pixels)[None] / 255, about["mean"], about["std"])
    logits = create_model(architecture, 3).apply(variables, images)
    assert capsys.readouterr().out.strip() == about["class_names"][int(np.argmax(logits))]
    with torch.no_grad():
        np.testing.assert_allclose(scope["model"](scope["x"]).numpy(), logits, rtol=1e-4, atol=1e-5)


def test_a_network_whose_variables_depend_on_the_image_is_exported(network, tmp_path):
    pytest.importorskip("safetensors")
    architecture, variables = network("Flat", (28, 28, 1))
    _, note = torch_export.export_network(tmp_path / "s.safetensors", variables, metadata(architecture, (28, 28, 1)))
    assert "| `fc.weight` | (3, 392) |" in note.read_text()


def test_a_network_for_a_fixed_number_of_images_is_one_line(network, tmp_path):
    architecture, variables = network("Perceptron", (8, 8, 3))
    with pytest.raises(UserError, match=r"Perceptron fails with TypeError: .*line 29\); .*x\.shape\[0\] for len\(x\)"):
        onnx_stablehlo.to_stablehlo(tmp_path / "n.stablehlo", variables, metadata(architecture, (8, 8, 3)))
    assert not (tmp_path / "n.stablehlo").exists()


@pytest.mark.parametrize(("name", "shape"), [("Pooled", (8, 8, 3)), ("Flat", (28, 28, 1))])
def test_programs(network, tmp_path, name, shape):
    architecture, variables = network(name, shape)
    about = metadata(architecture, shape)
    images = np.random.default_rng(0).random((3, *shape), np.float32)
    logits = create_model(architecture, 3).apply(variables, data.normalize(images, about["mean"], about["std"]))
    onnx_stablehlo.to_stablehlo(tmp_path / "n.stablehlo", variables, about)
    exported = jax.export.deserialize((tmp_path / "n.stablehlo").read_bytes())
    np.testing.assert_allclose(exported.call(images), logits, rtol=1e-5, atol=1e-6)
    pytest.importorskip("jax2onnx")
    assert onnx_stablehlo.to_onnx(tmp_path / "n.onnx", variables, about) < onnx_stablehlo.ONNX_TOLERANCE

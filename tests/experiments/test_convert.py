"""The converter's command line: there and back, and one line for every mistake."""

import json
import os
import pathlib
import subprocess
import sys

import golden_values
import numpy as np
import pytest

from ssdkd_jax.interop import load_torch_file
from ssdkd_jax.jobs.teacher import load_teacher
from ssdkd_jax.jobs.torch_import import describe_conversion
from ssdkd_jax.training import saved_network

torch = pytest.importorskip("torch")

ROOT = pathlib.Path(__file__).parents[2]
LAYOUTS = golden_values.layouts()


def convert(*arguments):
    """(status, stdout, stderr) of the command line."""
    command = [sys.executable, "-m", "experiments.convert", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def resnet8(tmp_path):
    """A PyTorch file as training scripts write it."""
    weights = {f"module.{k}": torch.from_numpy(v) for k, v in golden_values.state_dict(LAYOUTS["resnet8"]).items()}
    torch.save({"epoch": 3, "state_dict": weights}, tmp_path / "resnet8.pth")
    return tmp_path / "resnet8.pth"


def test_there_and_back(resnet8, tmp_path):
    status, out, err = convert("from-torch", resnet8, f"--out={tmp_path / 'network'}")
    assert (status, err) == (0, "")
    assert f"{resnet8}: resnet8 with 10 classes, for images of 3 channels\n" in out
    assert "assuming normalization 'cifar10'" in out
    metadata = json.loads((tmp_path / "network" / "network.json").read_text())
    assert (metadata["architecture"], metadata["num_classes"], metadata["image_shape"]) == ("resnet8", 10, [32, 32, 3])
    assert metadata["mean"] == [0.4914, 0.4822, 0.4465] and metadata["from_torch"] == "resnet8.pth"

    status, out, err = convert("to-torch", tmp_path / "network", f"--out={tmp_path / 'back.pth'}")
    assert (status, err) == (0, "")
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    expected = golden_values.state_dict(LAYOUTS["resnet8"])
    assert list(back) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(back[name].numpy(), value)
    assert "resnet8(num_classes=10)" in (tmp_path / "back.pth.md").read_text()


def test_to_stablehlo_and_to_onnx(resnet8, tmp_path):
    pytest.importorskip("jax2onnx")
    network = load_teacher(resnet8)
    saved_network.save_network(tmp_path / "n", network.variables, describe_conversion(network, resnet8))
    for action in ("stablehlo", "onnx"):
        status, out, err = convert(f"to-{action}", tmp_path / "n", f"--out={tmp_path / action}")
        assert (status, err) == (0, ""), err
        assert f"{tmp_path / action} written" in out
        assert (tmp_path / action).stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "ACTION and PATH and --out missing; for example: python -m experiments.convert to-torch"),
        (["to-torch", "x", "y", "--out=z.pth"], "unexpected arguments y; for example"),
        (["to-keras", "x", "--out=z"], "unknown action 'to-keras'; known are: from-torch, to-torch, to-onnx"),
        (["from-torch", "FILE", "--arch=wrn16_1", "--out=OUT"], "is no wrn16_1: tensor 'bn1.weight' has shape (16,)"),
        (["from-torch", "FILE", "--arch=resnet8", "--num_classes=100", "--out=OUT"], "FILE has 10 classes, not 100"),
        (
            ["from-torch", "FILE", "--arch=resnet8", "--class_names=a,b", "--out=OUT"],
            "FILE has 10 classes, but 2 class names were given",
        ),
        (
            ["from-torch", "FILE", "--arch=resnet8", "--normalization=cifr", "--out=OUT"],
            "unknown normalization 'cifr'; known are: cifar",
        ),
        (
            ["from-torch", "FILE", "--arch=resnet8", "--dataset=cifar100", "--out=OUT"],
            "FILE has 10 classes and 3 channels, but cifar100",
        ),
        (
            ["from-torch", "FILE", "--out=FILE"],
            "FILE ends in .pth, which from-torch does not write; expected a folder",
        ),
        (["to-torch", "FOLDER", "--out=OUT.h5"], "OUT.h5 ends in '.h5', expected a PyTorch file"),
        (["to-torch", "FOLDER", "--out=OUT.pth"], "FOLDER is not a saved network"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes(resnet8, tmp_path, arguments, expected):
    def filled(text):
        for name, path in (("FILE", resnet8), ("OUT", tmp_path / "out"), ("FOLDER", tmp_path)):
            text = text.replace(name, str(path))
        return text

    status, _, err = convert(*map(filled, arguments))
    assert status == 2
    assert err.startswith("error: ") and err.count("\n") == 1
    assert filled(expected) in err
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ((32, 32, 3), (0.4914, 0.4822, 0.4465), tuple("0123456789"))),
        ({"normalization": "half"}, ((32, 32, 3), (0.5, 0.5, 0.5), tuple("0123456789"))),
        ({"normalization": "0.1,0.2,0.3/0.4,0.5,0.6"}, ((32, 32, 3), (0.1, 0.2, 0.3), tuple("0123456789"))),
        ({"image_size": 48, "class_names": tuple("abcdefghij")}, ((48, 48, 3), (0.4914, 0.4822, 0.4465), None)),
        ({"dataset": "svhn_cropped"}, ((32, 32, 3), (0.5, 0.5, 0.5), None)),
    ],
    ids=str,
)  # fmt: skip
def test_what_goes_with_the_weights(resnet8, options, expected, tmp_path):
    metadata = describe_conversion(load_teacher(resnet8), resnet8, data_dir=str(tmp_path), **options)
    shape, mean, class_names = expected
    assert (metadata["image_shape"], metadata["mean"]) == (shape, mean)
    assert metadata["class_names"] == (class_names or options.get("class_names") or tuple("0123456789"))


def test_bfloat16_safetensors(tmp_path):
    from safetensors.torch import save_file

    weights = golden_values.state_dict(LAYOUTS["resnet8"])
    save_file({k: torch.from_numpy(v).bfloat16() for k, v in weights.items()}, tmp_path / "w.safetensors")
    network = load_teacher(tmp_path / "w.safetensors")
    assert network.architecture == "resnet8" and network.from_torch
    assert load_torch_file(tmp_path / "w.safetensors")["conv1.weight"].dtype == np.float32

"""Networks as programs: run where this project is not, for any number of images."""

import functools
import subprocess
import sys

import jax
import numpy as np
import pytest

from ssdkd_jax import data
from ssdkd_jax.errors import UserError
from ssdkd_jax.interop import onnx_stablehlo
from ssdkd_jax.models import create_model
from tests.random_networks import random_variables

METADATA = {
    "architecture": "wrn10_1",
    "num_classes": 5,
    "image_shape": (16, 12, 3),
    "mean": (0.4, 0.5, 0.6),
    "std": (0.2, 0.3, 0.4),
    "class_names": tuple("abcde"),
}
IMAGES = np.random.default_rng(0).random((3, *METADATA["image_shape"]), np.float32)
# Knows JAX and NumPy only.
FRESH_PROCESS = """
import sys
sys.modules["ssdkd_jax"] = sys.modules["flax"] = None
import jax, numpy as np
with open(sys.argv[1], "rb") as file:
    exported = jax.export.deserialize(file.read())
images = np.load(sys.argv[2])
np.save(sys.argv[3], np.concatenate([exported.call(images), exported.call(images[:1])]))
"""


@functools.cache
def variables():
    return random_variables(create_model("wrn10_1", 5), METADATA["image_shape"])


def expected():
    normalized = data.normalize(IMAGES, METADATA["mean"], METADATA["std"])
    return np.asarray(create_model("wrn10_1", 5).apply(variables(), normalized))


def test_stablehlo_in_a_fresh_process(tmp_path):
    onnx_stablehlo.to_stablehlo(tmp_path / "made" / "network.stablehlo", variables(), METADATA)
    np.save(tmp_path / "images.npy", IMAGES)
    files = [tmp_path / name for name in ("made/network.stablehlo", "images.npy", "logits.npy")]
    subprocess.run([sys.executable, "-c", FRESH_PROCESS, *map(str, files)], check=True)
    found = np.load(tmp_path / "logits.npy")
    np.testing.assert_allclose(found[:3], expected(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[3:], expected()[:1], rtol=1e-5, atol=1e-6)


def test_stablehlo_is_for_accelerators_too(tmp_path):
    onnx_stablehlo.to_stablehlo(tmp_path / "network.stablehlo", variables(), METADATA)
    exported = jax.export.deserialize((tmp_path / "network.stablehlo").read_bytes())
    assert set(exported.platforms) == {"cpu", "cuda", "tpu"}


QUICK = ("resnet8", "vgg8", "lenet5")
SLOW = ("resnet18_imagenet", "mobilenetv2", "shufflenetv2", "encoder_decoder_8")
FAMILIES = (*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW))


@pytest.mark.parametrize("name", FAMILIES)
def test_onnx_of_every_family(tmp_path, name):
    pytest.importorskip("jax2onnx")
    channels = 1 if name == "lenet5" else 3
    metadata = METADATA | {"architecture": name, "image_shape": (32, 32, channels)}
    metadata |= {"mean": (0.5,) * channels, "std": (0.25,) * channels}
    network = random_variables(create_model(name, 5), (32, 32, channels))
    assert onnx_stablehlo.to_onnx(tmp_path / "network.onnx", network, metadata) < onnx_stablehlo.ONNX_TOLERANCE


def test_onnx_that_cannot_be_made_is_one_line(tmp_path, monkeypatch):
    jax2onnx = pytest.importorskip("jax2onnx")
    monkeypatch.setattr(jax2onnx, "to_onnx", lambda *_, **__: 1 / 0)
    with pytest.raises(UserError, match=r"cannot convert wrn10_1 \(division by zero\); nothing was written"):
        onnx_stablehlo.to_onnx(tmp_path / "network.onnx", variables(), METADATA)


def test_onnx_computes_the_same(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("jax2onnx")
    difference = onnx_stablehlo.to_onnx(tmp_path / "network.onnx", variables(), METADATA)
    assert difference < onnx_stablehlo.ONNX_TOLERANCE
    session = onnxruntime.InferenceSession(str(tmp_path / "network.onnx"))
    (logits,) = session.run(["logits"], {"images": IMAGES})
    np.testing.assert_allclose(logits, expected(), rtol=1e-4, atol=1e-5)


def test_onnx_that_differs_is_not_written(tmp_path, monkeypatch):
    pytest.importorskip("jax2onnx")
    monkeypatch.setattr(onnx_stablehlo, "ONNX_TOLERANCE", -1.0)
    with pytest.raises(UserError, match=r"differs from the network by .* nothing was written"):
        onnx_stablehlo.to_onnx(tmp_path / "network.onnx", variables(), METADATA)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["jax2onnx", "onnxruntime"])
def test_onnx_without_its_packages(tmp_path, monkeypatch, package):
    pytest.importorskip("jax2onnx")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=f"needs {package}; install it: pip install --no-deps -r requirements-onnx.txt"):
        onnx_stablehlo.to_onnx(tmp_path / "network.onnx", variables(), METADATA)

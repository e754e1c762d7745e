"""The converter's command line: there and back, and one line for every mistake."""

import json
import pathlib
import re

import jax
import numpy as np
import pytest
from PIL import Image

from ssdkd_jax.errors import UserError
from ssdkd_jax.interop import load_torch_file
from ssdkd_jax.jobs.teacher import Teacher, load_teacher
from ssdkd_jax.jobs.torch_import import check_is_file, check_logits, describe_conversion, image_shape_of
from ssdkd_jax.models import create_model
from ssdkd_jax.training import saved_network
from tests import golden_values, programs
from tests.random_networks import random_variables

torch = pytest.importorskip("torch")

ROOT = pathlib.Path(__file__).parents[2]
LAYOUTS = golden_values.layouts()


def convert(*arguments):
    """(status, stdout, stderr) of the command line."""
    return programs.run("convert", *arguments)


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
    network = load_teacher(resnet8, "resnet8")
    saved_network.save_network(tmp_path / "n", network.variables, describe_conversion(network, resnet8))
    for action in ("stablehlo", "onnx"):
        file = tmp_path / f"network.{action}"
        file.write_text("replaced")
        status, out, err = convert(f"to-{action}", tmp_path / "n", f"--out={file}", "--overwrite")
        assert (status, err) == (0, ""), err
        assert f"{file} written" in out
        assert file.stat().st_size > 1000


def test_nothing_is_written_into_the_networks_own_folder(tmp_path):
    (tmp_path / "network.json").write_text("{}")
    (tmp_path / "variables").mkdir()
    status, _, err = convert("to-torch", tmp_path, f"--out={tmp_path / 'student.pth'}")
    assert (
        status == 2 and "is in or at the folder of a saved network, " in err and "choose another: --out=FILE.pth" in err
    )


def test_weights_whose_logits_are_no_numbers_are_refused(resnet8):
    network = load_teacher(resnet8, "resnet8")
    check_logits(network, (32, 32, 3), resnet8)
    params = network.variables["params"]
    # Only the logits overflow: what infinite values before a ReLU become depends on the processor.
    overflowing = {**params, "fc": jax.tree.map(lambda x: np.full_like(x, 3e38), params["fc"])}
    with pytest.raises(UserError, match=r"the resnet8's logits are infinite or NaN on a gray image or on noise"):
        check_logits(network._replace(variables={**network.variables, "params": overflowing}), (32, 32, 3), resnet8)
    zeros = jax.tree.map(np.zeros_like, params)
    with pytest.raises(UserError, match=r"the resnet8's logits are the same for a gray image and for noise, expected"):
        check_logits(network._replace(variables={**network.variables, "params": zeros}), (32, 32, 3), resnet8)


def test_a_saved_network_that_computes_no_numbers_is_not_converted(monkeypatch):
    """Earlier versions saved such."""
    variables = {"params": {"fc": {"bias": np.array([0.0, np.nan])}}}
    monkeypatch.setattr(saved_network, "load_network", lambda folder: (variables, {}))
    with pytest.raises(
        UserError, match=r"^runs/x/student cannot be converted: its fc.bias is not finite; train it aga"
    ):
        saved_network.load_finite("runs/x/student")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "ACTION and PATH and --out missing; for example: python -m experiments.convert to-torch"),
        (["to-torch", "x", "y", "--out=z.pth"], "unexpected arguments y; for example"),
        (["to-keras", "x", "--out=z"], "unknown action 'to-keras'; known are: from-torch, to-torch, to-onnx"),
        (["to-torh", "x", "--out=z"], "unknown action 'to-torh'; did you mean 'to-torch'? known are: from-torch"),
        (["from-torch", "FILE", "--arch=wrn16_1", "--out=OUT"], "is no wrn16_1: tensor 'bn1.weight' has shape (16,)"),
        (["from-torch", "FILE", "--data_dir=x", "--out=OUT"], "--data_dir has no effect without a data set; name it"),
        (
            ["from-torch", "~no-one/x", "--out=OUT"],
            "~no-one/x begins with a home directory that is unknown",
        ),
        (["to-stablehlo", "FOLDER", "--out=FILE"], "ends in '.pth', expected a file that ends in .stablehlo"),
        (["to-torch", "FOLDER", "--out=FILE"], "FILE exists already; choose another name with --out, or replace it"),
        (
            ["from-torch", "FILE", "--out=FILE"],
            "FILE ends in .pth, which from-torch does not write; expected a folder",
        ),
        (["to-torch", "FOLDER", "--out=OUT.h5"], "OUT.h5 ends in '.h5', expected a file that ends in .pth or .pt"),
        (["to-torch", "FOLDER", "--out=OUT.pth"], "FOLDER is not a saved network"),
        (["to-torch", "FILE", "--out=OUT.pth"], "FILE is a file, expected the folder of a saved network; make one"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes(resnet8, tmp_path, arguments, expected):
    def filled(text):
        paths = {"FILE": resnet8, "OUT": tmp_path / "out", "FOLDER": tmp_path}
        return re.sub("|".join(paths), lambda found: str(paths[found[0]]), text)

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
    metadata = describe_conversion(load_teacher(resnet8, "resnet8"), resnet8, data_dir=str(tmp_path), **options)
    shape, mean, class_names = expected
    assert (metadata["image_shape"], metadata["mean"]) == (shape, mean)
    assert metadata["class_names"] == (class_names or options.get("class_names") or tuple("0123456789"))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"num_classes": 100}, "FILE has 10 classes, not 100"),
        ({"class_names": ("a", "b")}, "FILE has 10 classes, but 2 class names were given"),
        ({"normalization": "cifr"}, "unknown normalization 'cifr'; did you mean 'cifar"),
        ({"dataset": "cifar100"}, "FILE has 10 classes and 3 channels, but cifar100 has 100 and 3"),
    ],
    ids=str,
)
def test_what_does_not_go_with_the_weights(resnet8, options, expected, tmp_path):
    with pytest.raises(UserError) as error:
        describe_conversion(load_teacher(resnet8, "resnet8"), resnet8, data_dir=str(tmp_path), **options)
    assert str(error.value).startswith(expected.replace("FILE", str(resnet8)))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (1_000_000, "--image_size=1000000, expected height and width in pixels, at most 4096"),
        (7, r"vgg8 does not run on images of 7 x 7 pixels \(.*\); say what size it is for with --image_size=N"),
    ],
)
def test_images_of_a_size_that_the_network_cannot_take(size, expected):
    variables = random_variables(create_model("vgg8", 10), (32, 32, 3))
    with pytest.raises(UserError, match=expected):
        describe_conversion(Teacher("vgg8", variables, {}), "vgg8.pth", image_size=size)


def test_a_feature_map_that_shrinks_to_nothing_is_named(tmp_path):
    """JAX itself would compute on without an error."""
    (tmp_path / "net.py").write_text(
        "import flax.linen as nn\n"
        "class Net(nn.Module):\n"
        "    num_classes: int = 10\n"
        "    @nn.compact\n"
        "    def __call__(self, x, train=False):\n"
        "        x = nn.Conv(4, (5, 5), padding='VALID', name='conv')(x)\n"
        "        return nn.Dense(self.num_classes)(x.sum((1, 2)))\n"
    )
    name = f"{tmp_path / 'net.py'}:Net"
    variables = random_variables(create_model(name, 10), (32, 32, 3))
    with pytest.raises(UserError, match=r"images of 4 x 4 pixels \(.*nothing is left of them in conv\)"):
        describe_conversion(Teacher(name, variables, {}), "net.pth", image_size=4)


def test_a_folder_of_differing_sizes_is_told_the_converters_own_flag(tmp_path):
    for number in (4, 5):
        (tmp_path / "train" / "a").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (number, 4)).save(tmp_path / "train" / "a" / f"{number}.png")
    with pytest.raises(UserError, match=r"one that all are resized to: --image_size=N$"):
        image_shape_of(f"folder:{tmp_path}", "", 0)
    assert image_shape_of(f"folder:{tmp_path}", "", 8) == (8, 8, 3)


def test_an_image_size_that_is_assumed_is_printed(resnet8, capsys):
    network = load_teacher(resnet8, "resnet8")
    describe_conversion(network, resnet8)
    assert "images of 32 x 32 pixels assumed; say which with --image_size" in capsys.readouterr().out
    describe_conversion(network, resnet8, image_size=32)
    assert "pixels assumed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("network", "network is a saved network already, expected a PyTorch file; use it as it is"),
        (".", "is a directory, expected a PyTorch file"),
        ("missing.pth", "there is no PyTorch file at "),
        ("https://x.org/a.pth", "(addresses are not read: download it, and give the path of the file)"),
    ],
)
def test_what_is_no_file_to_convert(tmp_path, name, expected):
    (tmp_path / "network").mkdir()
    (tmp_path / "network" / saved_network.METADATA).write_text("{}")
    with pytest.raises(UserError, match=re.escape(expected)):
        check_is_file(pathlib.Path(name) if ":" in name else tmp_path / name)


def test_bfloat16_safetensors(tmp_path):
    from safetensors.torch import save_file

    weights = golden_values.state_dict(LAYOUTS["resnet8"])
    save_file({k: torch.from_numpy(v).bfloat16() for k, v in weights.items()}, tmp_path / "w.safetensors")
    network = load_teacher(tmp_path / "w.safetensors")
    assert network.architecture == "resnet8" and network.from_torch
    assert load_torch_file(tmp_path / "w.safetensors")["conv1.weight"].dtype == np.float32

"""Exported students: PyTorch computes what we compute, and the note next to the file works as it stands."""

import functools
import re
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from ssdkd_jax import data
from ssdkd_jax.errors import UserError
from ssdkd_jax.interop import from_torch_state_dict, load_torch_file, to_torch_state_dict, torch_export
from ssdkd_jax.models import create_model, model_names, public_definition
from tests import golden_values
from tests.random_networks import random_variables

torch = pytest.importorskip("torch")

METADATA = {
    "architecture": "strided_convnet_16",
    "num_classes": 3,
    "image_shape": (12, 16, 3),
    "mean": (0.4, 0.5, 0.6),
    "std": (0.2, 0.3, 0.4),
    "class_names": ("cat", "dog's", "cow"),
}


@functools.cache
def variables():
    model = create_model(METADATA["architecture"], 3)
    return random_variables(model, METADATA["image_shape"])


def run_note(note, folder, monkeypatch, capsys):
    """What the note's code prints, run in the folder of its file."""
    (code,) = re.findall(r"```python\n(.*?)```", note.read_text(), re.DOTALL)
    monkeypatch.chdir(folder)
    capsys.readouterr()
    exec(compile(code, str(note), "exec"), {"__name__": "note"})
    return capsys.readouterr().out.strip()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_note_classifies_an_image_as_we_do(tmp_path, monkeypatch, capsys, suffix):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    path, note = torch_export.export_network(tmp_path / f"student{suffix}", variables(), METADATA)
    images = data.normalize(np.float32(pixels)[None] / 255, METADATA["mean"], METADATA["std"])
    logits = create_model(METADATA["architecture"], 3).apply(variables(), images)
    printed = run_note(note, tmp_path, monkeypatch, capsys)
    assert printed == METADATA["class_names"][int(np.argmax(logits))]
    assert {file.name for file in tmp_path.iterdir()} == {"image.png", path.name, note.name}


def test_the_note_counts_the_pixels_of_each_class_for_segmentation(tmp_path, monkeypatch, capsys):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 32, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    metadata = METADATA | {"architecture": "encoder_decoder_8", "image_shape": (16, 32, 3)}
    network = random_variables(create_model("encoder_decoder_8", 3), (16, 32, 3))
    _, note = torch_export.export_network(tmp_path / "student.pth", network, metadata)
    images = data.normalize(np.float32(pixels)[None] / 255, METADATA["mean"], METADATA["std"])
    seen = np.argmax(create_model("encoder_decoder_8", 3).apply(network, images)[0], axis=-1)
    counts = {METADATA["class_names"][number]: int((seen == number).sum()) for number in np.unique(seen)}
    assert run_note(note, tmp_path, monkeypatch, capsys) == str(counts)


def test_the_note_of_a_gray_network(tmp_path, monkeypatch, capsys):
    metadata = METADATA | {"image_shape": (8, 8, 1), "mean": (0.5,), "std": (0.5,), "architecture": "convnet_8"}
    network = random_variables(create_model("convnet_8", 3), (8, 8, 1))
    Image.fromarray(np.full((8, 8), 200, np.uint8)).save(tmp_path / "image.png")
    _, note = torch_export.export_network(tmp_path / "student.pth", network, metadata)
    assert run_note(note, tmp_path, monkeypatch, capsys) in METADATA["class_names"]


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".th", ".safetensors"])
def test_file_keeps_every_bit(tmp_path, suffix):
    path, _ = torch_export.export_network(tmp_path / f"student{suffix}", variables(), METADATA)
    expected = to_torch_state_dict(METADATA["architecture"], variables())
    found = load_torch_file(path)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)
        assert found[name].dtype == value.dtype
    if suffix != ".safetensors":  # which sorts by name
        assert list(found) == list(expected)
    jax.tree.map(np.testing.assert_array_equal, from_torch_state_dict(METADATA["architecture"], found), variables())


def test_every_network_has_a_definition():
    """A public one by its constructor, or our own as code that PyTorch runs."""
    for name in model_names():
        definition = public_definition(name, num_classes=5, channels=3)
        compile(definition.lines, name, "exec")
        if definition.source:
            assert re.search(r"^from [\w.]+ import (\w+)(, \w+)?\n\nmodel = \1\(", definition.lines), definition
        else:
            scope = {"torch": torch}
            exec(definition.lines, scope)
            network = random_variables(create_model(name, 5), (16, 16, 3))
            tensors = {k: torch.from_numpy(v) for k, v in to_torch_state_dict(name, network).items()}
            scope["model"].load_state_dict(tensors, strict=True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("wrn40_2", "from datafree.models.classifiers.wresnet import wrn_40_2\n\nmodel = wrn_40_2(num_classes=7)\n"),
        ("resnet20", "from datafree.models.classifiers.resnet_tiny import resnet20\n"),
        ("resnet18", "from datafree.models.classifiers.resnet import resnet18\n"),
        (
            "resnet20_option_a",
            "from resnet import ResNet, BasicBlock\n\nmodel = ResNet(BasicBlock, [3] * 3, num_classes=7)\n",
        ),
        ("lenet5", "LeNet5(num_classes=7)"),
        ("mobilenetv2_imagenet", "from torchvision.models import mobilenet_v2\n\nmodel = mobilenet_v2(num_classes=7)"),
        ("vgg11", "import vgg11_bn\n"),
    ],
)
def test_public_definitions(name, expected):
    assert expected in public_definition(name, 7, 3).lines


def test_a_gray_student_of_a_public_definition():
    """The printed lines replace the first convolution, so that strict loading works."""
    torch_reference = pytest.importorskip("tests.models.torch_reference")
    for name in ("resnet8", "vgg8", "mobilenetv2", "wrn10_1"):
        lines = public_definition(name, 5, channels=1).lines.partition("\nmodel = ")[2].partition("\n")[2]
        scope = {"torch": torch, "model": torch_reference.build(name, 5)}
        exec(lines, scope)
        network = random_variables(create_model(name, 5), (16, 16, 1))
        tensors = {k: torch.from_numpy(v) for k, v in to_torch_state_dict(name, network).items()}
        scope["model"].load_state_dict(tensors, strict=True)


def test_a_note_for_another_size_of_images():
    assert "AdaptiveAvgPool2d" in public_definition("resnet20", 10, 3, (64, 64)).lines
    assert "AdaptiveAvgPool2d" not in public_definition("resnet20", 10, 3, (32, 32)).lines


def test_a_public_definition_is_named_in_the_note(tmp_path):
    weights = golden_values.state_dict(golden_values.layouts()["resnet8"])
    metadata = METADATA | {"architecture": "resnet8", "num_classes": 10, "class_names": tuple("0123456789")}
    _, note = torch_export.export_network(tmp_path / "s.pth", from_torch_state_dict("resnet8", weights), metadata)
    assert "The definition is in https://github.com/zju-vipa/Fast-Datafree" in note.read_text()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("student.onnx", "ends in '.onnx', expected a PyTorch file: .pth"),
        ("student", "has no suffix, expected a PyTorch"),
    ],
)
def test_unknown_suffix(tmp_path, name, expected):
    with pytest.raises(UserError, match=re.escape(expected)):
        torch_export.export_network(tmp_path / name, variables(), METADATA)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("foreign", "expected"),
    [
        ({"s.pth": "mine"}, "s.pth exists and is not from an export (no note of ours, s.pth.md, stands beside it)"),
        ({"s.pth.md": "mine"}, "s.pth.md exists and is not from an export (it is no note of ours)"),
        ({"s.pth": "mine", "s.pth.md": "\nA PyTorch state_dict for t.pth"}, "s.pth.md exists and is not from an"),
    ],
    ids=str,
)
def test_files_of_anybody_else_are_not_replaced(tmp_path, foreign, expected):
    for name, text in foreign.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=re.escape(expected)):
        torch_export.export_network(tmp_path / "s.pth", variables(), METADATA)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == foreign
    path, _ = torch_export.export_network(tmp_path / "s.pth", variables(), METADATA, overwrite=True)
    assert torch_export.export_network(path, variables(), METADATA)[0] == path, "an earlier export may be replaced"


def test_without_torch_safetensors_and_without_both_a_line(tmp_path, monkeypatch):
    assert torch_export.available_suffix() == ".pth"
    monkeypatch.setitem(sys.modules, "torch", None)
    assert torch_export.available_suffix() == ".safetensors"
    path, _ = torch_export.export_network(tmp_path / "student.safetensors", variables(), METADATA)
    assert set(load_torch_file(path)) == set(to_torch_state_dict(METADATA["architecture"], variables()))
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert torch_export.available_suffix() is None
    with pytest.raises(UserError, match=r"student.pth needs torch; install it: pip install torch"):
        torch_export.check_can_write(tmp_path / "student.pth")

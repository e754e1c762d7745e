"""Files as people have them: nested, wrapped, damaged, hostile."""

import argparse
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from ssdkd_jax.interop import load_torch_file
from ssdkd_jax.interop.torch_files import SUFFIXES
from tests import refusals

torch = pytest.importorskip("torch")

TENSORS = {"conv1.weight": torch.arange(24.0).reshape(2, 3, 2, 2), "bn1.num_batches_tracked": torch.tensor(5)}


def save(path, content, legacy=False):
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def assert_loads(path):
    loaded = load_torch_file(path)
    assert set(loaded) == set(TENSORS)
    for name, value in TENSORS.items():
        np.testing.assert_array_equal(loaded[name], value.numpy())
    assert loaded["conv1.weight"].dtype == np.float32
    assert loaded["bn1.num_batches_tracked"].dtype == np.int64


def refusal(path):
    message = refusals.refusal(load_torch_file, path)
    assert str(path) in message
    return message


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", ["weights.pth", "weights.pt", "weights.th", "weights"])
def test_bare_state_dict(tmp_path, name, legacy):
    assert_loads(save(tmp_path / name, TENSORS, legacy))


@pytest.mark.parametrize(
    "keys", [["state_dict"], ["model"], ["net"], ["module"], ["ema"], ["model", "state_dict"]], ids=".".join
)
def test_nested_state_dict(tmp_path, keys):
    content = TENSORS
    for key in reversed(keys):
        content = {"epoch": 3, key: content, "best_accuracy": torch.tensor(0.9), "optimizer": {"state": {}}}
    assert_loads(save(tmp_path / "weights.pth", content))


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module."])
def test_prefixes_of_wrappers_are_dropped(tmp_path, prefix):
    assert_loads(save(tmp_path / "weights.pth", {prefix + name: value for name, value in TENSORS.items()}))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_other_floating_dtypes(tmp_path, dtype, suffix):
    path = tmp_path / f"weights{suffix}"
    content = {name: value.to(dtype) if value.is_floating_point() else value for name, value in TENSORS.items()}
    if suffix == ".safetensors":
        pytest.importorskip("safetensors.torch").save_file(content, path)
    else:
        save(path, content)
    assert_loads(path)


def test_missing_file(tmp_path):
    assert refusal(tmp_path / "no.pth") == f"no such file: {tmp_path / 'no.pth'}"


def test_directory(tmp_path):
    assert "is a directory" in refusal(tmp_path)


@pytest.mark.parametrize("part", [0, 0.02, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_truncated_file(tmp_path, legacy, part):
    path = save(tmp_path / "weights.pth", {"weight": torch.zeros(1000)}, legacy)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    assert "is truncated or no PyTorch file" in refusal(path)


@pytest.mark.parametrize("kept", [6, -6])
def test_truncated_safetensors(tmp_path, kept):
    path = tmp_path / "weights.safetensors"
    pytest.importorskip("safetensors.torch").save_file(TENSORS, path)
    path.write_bytes(path.read_bytes()[:kept])
    assert "is truncated or no safetensors file" in refusal(path)


def test_text_file(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_text("hello\n")
    assert "is text; give the file of weights that torch.save has written" in refusal(path)


def test_a_flipped_bit_is_found_by_the_checksum(tmp_path):
    path = save(tmp_path / "weights.pth", TENSORS)
    content = bytearray(path.read_bytes())
    content[content.index(TENSORS["conv1.weight"].numpy().tobytes()) + 3] ^= 1
    path.write_bytes(content)
    assert "is damaged, its checksum differs (weights/data/0); copy it again" in refusal(path)


def test_files_without_checksums_are_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        save(tmp_path / "weights.pth", TENSORS)
    finally:
        torch.serialization.set_crc32_options(True)
    assert_loads(tmp_path / "weights.pth")


def test_negative_variances_are_refused(tmp_path):
    path = save(tmp_path / "w.pth", {"module.bn1.running_var": torch.tensor([1.0, -0.5, 0.0])})
    assert "tensor 'module.bn1.running_var' is negative in 1 of 3 numbers, expected variances" in refusal(path)


def test_of_several_sets_of_weights_it_says_which_is_taken(tmp_path, capsys):
    averaged = {name: value + 1 for name, value in TENSORS.items()}
    assert_loads(save(tmp_path / "w.pth", {"ema": averaged, "model": {"state_dict": TENSORS, "student": averaged}}))
    assert capsys.readouterr().out == (
        f"{tmp_path / 'w.pth'}: the weights in ['model']['state_dict'] are taken, not those in ['model']['student'], "
        "['ema']; for those, save them alone: torch.save(torch.load(path)['model']['student'], other_path)\n"
    )


def test_other_weights_are_named_under_any_key_but_an_optimizers(tmp_path, capsys):
    content = {"student": TENSORS, "generator": TENSORS, "epoch": 3, "optimizer": TENSORS}
    assert_loads(save(tmp_path / "w.pth", content))
    assert "the weights in ['student'] are taken, not those in ['generator']; for" in capsys.readouterr().out


class RunsCode:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (self.marker,)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_code_in_a_pickle_is_not_run(tmp_path, legacy):
    marker = tmp_path / "ran"
    path = save(tmp_path / "weights.pth", {"state_dict": TENSORS, "extra": RunsCode(str(marker))}, legacy)
    message = refusal(path)
    assert "(posix.mkdir) that could run code" in message and "torch.save(model.state_dict(), path)" in message
    assert not marker.exists()


def test_harmless_objects_are_refused_by_name(tmp_path):
    path = save(tmp_path / "weights.pth", {"state_dict": TENSORS, "args": argparse.Namespace(lr=0.1)})
    assert "(argparse.Namespace)" in refusal(path)


def test_a_tensor_with_and_without_prefix_is_refused(tmp_path):
    path = save(tmp_path / "w.pth", {"module.fc.bias": torch.ones(2), "fc.bias": torch.zeros(2)})
    assert "has tensor 'fc.bias' twice" in refusal(path)


@pytest.mark.parametrize(
    "tensor",
    [torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8), torch.ones(2, 2).to_sparse()],
    ids=["quantized", "sparse"],
)
def test_tensors_without_plain_numbers_are_refused(tmp_path, tensor):
    assert "tensor 'fc.weight' is quantized, sparse" in refusal(save(tmp_path / "w.pth", {"fc.weight": tensor}))


@pytest.mark.parametrize("suffix", [".h5", ".onnx", ".pkl", ".zip"])
def test_unknown_suffix(tmp_path, suffix):
    path = save(tmp_path / f"weights{suffix}", TENSORS)
    assert refusal(path) == f"{path} ends in {suffix!r}, expected PyTorch weights: {' '.join(SUFFIXES).strip()}"


def test_torchscript_archive_is_refused_by_name(tmp_path):
    path = tmp_path / "program.pt"
    torch.jit.script(torch.nn.Linear(2, 2)).save(path)
    assert "is a TorchScript archive, which holds a program" in refusal(path)


@pytest.mark.parametrize("key", ["optimizer", None])
def test_an_optimizer_without_weights(tmp_path, key):
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([parameter], lr=0.1, momentum=0.9)
    parameter.sum().backward()
    optimizer.step()
    state = optimizer.state_dict()
    path = save(tmp_path / "checkpoint.pth", {"epoch": 3, key: state} if key else state)
    assert "holds an optimizer's state but no weights (its entries: " in refusal(path)


@pytest.mark.parametrize("content", [{"epoch": 3}, {"state_dict": {}}, [TENSORS], torch.ones(2)], ids=str)
def test_no_named_tensors(tmp_path, content):
    assert "holds no tensors" in refusal(save(tmp_path / "weights.pth", content))


@pytest.mark.parametrize(("module", "suffix"), [("torch", "pth"), ("safetensors", "safetensors")])
def test_package_not_installed(tmp_path, monkeypatch, module, suffix):
    path = tmp_path / f"weights.{suffix}"
    path.touch()
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    assert f"needs {module}; install it: pip install {module}" in refusal(path)


def test_interop_is_importable_without_torch():
    program = "import sys; sys.modules['torch'] = sys.modules['safetensors'] = None; import ssdkd_jax.interop"
    root = pathlib.Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", program], check=True, cwd=root)

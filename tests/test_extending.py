"""The additions of docs/extending.md, each from a file outside of the checkout, through the real command line."""

import json
import re
import shlex

import jax
import numpy as np
import pytest

from ssdkd_jax.jobs.teacher import load_teacher
from ssdkd_jax.models import create_model
from tests.tiny_job import ROOT, command_line

GUIDE = (ROOT / "docs" / "extending.md").read_text()
# A run of seconds in place of the config's own length.
SHORT = {"epochs": 2, "teacher.epochs": 3, "baselines": "()", "evaluate_every": 2, "Pixels.kd_steps": 4}


def documented_files():
    """{path: content} of the Python files in the guide."""
    return dict(re.findall(r"`(mine/\w+\.py)`:\n\n```python\n(.*?)```", GUIDE, flags=re.DOTALL))


def documented_command():
    """The arguments of the guide's first command."""
    first, _ = re.findall(r"```\npython -m experiments.main (.*?)```", GUIDE, flags=re.DOTALL)
    return shlex.split(first.replace("\\\n", " "))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outside")
    for path, content in documented_files().items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(content)
    given = [f"--config.{name}={value}" for name, value in SHORT.items()]
    given += [f"--workdir={folder / 'run'}", f"--config.teacher.cache_dir={folder / 'teachers'}"]
    names = {argument.partition("=")[0] for argument in given}
    documented = [argument for argument in documented_command() if argument.partition("=")[0] not in names]
    arguments = [argument.replace("mine/", f"{folder}/mine/") for argument in documented] + given
    status, _, err = command_line(arguments)
    assert (status, err) == (0, "")
    return folder / "run"


def test_a_method_a_network_and_a_data_set_from_outside(finished):
    summary = json.loads((finished / "summary.json").read_text())
    assert (summary["method"], summary["images_made"], summary["student_steps"]) == ("Pixels", 128, 8)
    assert summary["student"].endswith("mine/mlp.py:make") and summary["dataset"].endswith("mine/stripes.py:load")
    assert summary["student_accuracy"] is not None
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["inversion_loss"] < 1e3 and "student_loss" in lines[-1]
    with np.load(finished / "buffer.npz") as buffer:
        assert list(buffer["class_names"]) == ["rows", "columns"]


def test_a_pytorch_teacher_of_a_network_from_outside(tmp_path):
    torch = pytest.importorskip("torch")
    (definition,) = re.findall(r"```python\n(import torch\n.*?)```", GUIDE, flags=re.DOTALL)
    scope = {}
    exec(definition, scope)
    theirs = scope["Pooled"](5)
    theirs(torch.randn(64, 3, 32, 32))  # so that the running statistics are some
    torch.save(theirs.state_dict(), tmp_path / "teacher.pth")
    (tmp_path / "pooled.py").write_text(documented_files()["mine/pooled.py"])
    architecture = f"{tmp_path}/pooled.py:make"
    teacher = load_teacher(tmp_path / "teacher.pth", architecture)
    images = np.random.default_rng(0).standard_normal((4, 32, 32, 3), np.float32)
    logits = jax.jit(create_model(architecture, 5).apply)(teacher.variables, images)
    expected = theirs.eval()(torch.from_numpy(images.transpose(0, 3, 1, 2))).detach()
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)


def test_the_method_is_short():
    """One file of at most 60 lines."""
    for path, content in documented_files().items():
        assert len(content.splitlines()) <= 60, path


def test_help_lists_the_settings_of_a_method_from_outside(tmp_path):
    path = tmp_path / "pixels.py"
    path.write_text(documented_files()["mine/pixels.py"])
    arguments = ["--help", "--config=configs/digits.py", f"--config.method={path}:Pixels"]
    status, out, _ = command_line(arguments)
    assert status == 0
    assert "--config.Pixels.pixel_learning_rate=0.1: Adam learning rate of the pixels (more than 0)" in out

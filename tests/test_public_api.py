"""The names of the package itself, and the README's example."""

import re
import subprocess
import sys

import pytest

import ssdkd_jax
from configs import digits
from tests.tiny_job import ROOT


@pytest.mark.parametrize("name", ssdkd_jax.__all__)
def test_every_public_name_is_there(name):
    assert getattr(ssdkd_jax, name) is not None
    assert name in dir(ssdkd_jax)


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="module 'ssdkd_jax' has no attribute 'distil'"):
        _ = ssdkd_jax.distil


def test_the_package_is_imported_without_jax():
    code = "import sys, ssdkd_jax; assert 'jax' not in sys.modules, 'jax was imported'"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_readme_only_uses_public_names():
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    used = set(re.findall(r"ssdkd_jax\.(\w+)", example))
    assert used and used <= set(ssdkd_jax.__all__)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda wrong: ssdkd_jax.load_network(wrong), "3 is no path, expected a str or pathlib.Path"),
        (lambda wrong: ssdkd_jax.save_network(wrong, {}, {}), "3 is no path, expected"),
        (lambda wrong: ssdkd_jax.load_torch_file(wrong), "3 is no path, expected"),
        (lambda wrong: ssdkd_jax.run(digits.get_config(), wrong), "3 is no path, expected"),
        (lambda wrong: ssdkd_jax.run(wrong, "runs/x"), "the config is a int, expected an ml_collections.ConfigDict"),
        (lambda wrong: ssdkd_jax.load_split(wrong, "train"), "the data set is 3, expected its name, such as 'digits'"),
        (lambda wrong: ssdkd_jax.load_split("digits", wrong), "there is no split '3'"),
        (lambda wrong: ssdkd_jax.load_split("cifar10", "train", data_dir=wrong), "data_dir is 3, expected the path of"),
        (lambda wrong: ssdkd_jax.create_model(wrong), "unknown model 3; known are: "),
        (lambda wrong: ssdkd_jax.create_generator(wrong), "image_shape is 3, expected three integers"),
        (
            lambda wrong: ssdkd_jax.from_torch_state_dict("resnet8", wrong),
            "the state_dict is a int, expected {Py",
        ),
        (
            lambda wrong: ssdkd_jax.to_torch_state_dict("resnet8", wrong),
            'the variables are not {"params": ...',
        ),
    ],
    ids=[
        *("load_network", "save_network", "load_torch_file", "run", "config", "data set", "split", "data_dir"),
        *("create_model", "create_generator", "from_torch", "to_torch"),
    ],
)
def test_an_argument_of_another_kind(call, expected):
    with pytest.raises(ssdkd_jax.UserError) as error:
        call(3)
    assert str(error.value).startswith(expected) and "\n" not in str(error.value)

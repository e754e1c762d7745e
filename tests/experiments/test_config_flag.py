"""Config files that are not there or not in order, fields that are not there, names that can be listed."""

import subprocess
import sys

import pytest

from experiments import config_flag
from ssdkd_jax.errors import UserError
from ssdkd_jax.models import model_names
from tests.tiny_job import ROOT

FILES = {
    "returns something else": ("def get_config(a=None):\n    return {'a': 1}\n", "get_config() returned a dict"),
    "syntax": ("def get_config(a=None:\n    pass\n", "c.py, line 1: "),
    "exception": (
        "def get_config(a=None):\n    x = 1\n    return x / 0\n",
        "c.py, line 3: ZeroDivisionError",
    ),
    "no function": ("x = 1\n", "c.py has no function get_config()"),
    "lacks fields": (
        "import ml_collections\ndef get_config(a=None):\n    return ml_collections.ConfigDict({'seed': 1})\n",
        "the config lacks allow_weak_teacher, baselines, ",
    ),
}


def program(*arguments):
    command = [sys.executable, "-m", "experiments.main", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("case", FILES)
def test_a_config_file_that_is_not_in_order(tmp_path, case):
    content, expected = FILES[case]
    (tmp_path / "c.py").write_text(content)
    status, out, err = program(f"--config={tmp_path / 'c.py'}", f"--workdir={tmp_path / 'run'}")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert expected in err and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--config.ssdkd.alhpa=1", "unknown config field --config.ssdkd.alhpa; did you mean --config.ssdkd.alpha?"),
        ("--config.epocs=3", "unknown config field --config.epocs; did you mean --config.epochs?"),
        ("--config=configs/digts.py", "there is no config file 'configs/digts.py'; did you mean configs/digits.py?"),
        ("--config.cmi.cr=1", "--config.cmi.cr has no effect on ssdkd"),
        ("--config.dfad.temperature=2", "unknown config field --config.dfad.temperature"),
    ],
)
def test_words_that_are_not_known_get_the_closest_match(tmp_path, argument, expected):
    arguments = [argument] if argument.startswith("--config=") else ["--config=digits", argument]
    status, out, err = program(*arguments, f"--workdir={tmp_path / 'run'}")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert expected in err


def test_names_are_listed():
    assert config_flag.names_of("networks") == model_names()
    assert {"ssdkd", "cmi500"} <= set(config_flag.names_of("methods"))
    assert config_flag.names_of("configs") == ["cifar10", "cifar100", "digits", "fashion_mnist"]
    with pytest.raises(UserError, match="--list=x, expected one of: methods, networks, configs"):
        config_flag.names_of("x")


def test_help_prints_every_field_with_its_meaning_and_range():
    status, out, _ = program("--help", "--config=digits")
    assert status == 0
    assert "--config.ssdkd.alpha=0.6: exponent of the priorities; 0 draws uniformly (0 or more)" in out
    assert "--config.epochs=100: " in out and "--list: methods, networks or configs" in out


def test_the_version_names_packages_and_devices():
    status, out, _ = program("--version")
    assert status == 0
    assert out.startswith("ssdkd_jax 0.1.0\npython 3.") and "jax 0." in out and " x " in out.splitlines()[-1]

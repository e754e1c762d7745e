"""The names of the package itself, and the README's example."""

import re
import subprocess
import sys

import pytest

import ssdkd_jax
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

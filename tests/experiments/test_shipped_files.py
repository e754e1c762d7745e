"""Configs and studies that come with the package."""

import pathlib

import pytest

import configs
from experiments import shipped_files
from ssdkd_jax.errors import UserError

SHIPPED = pathlib.Path(configs.__file__).parent / "digits.py"


@pytest.mark.parametrize("path", ["digits", "digits.py", "configs/digits", "configs/digits.py"])
def test_a_file_by_its_name_or_its_path_in_a_checkout(path):
    assert shipped_files.shipped_file(path, configs, "get_config") == SHIPPED


@pytest.mark.parametrize("path", ["digit", "other/digits.py", "common", "digits.yaml"])
def test_files_that_are_not_shipped(path):
    with pytest.raises(UserError, match="shipped are: camvid, "):
        shipped_files.shipped_file(path, configs, "get_config")


def test_names_in_results(monkeypatch):
    monkeypatch.chdir(SHIPPED.parents[1])
    for path in (str(SHIPPED), "configs/digits.py"):
        assert shipped_files.shipped_name(path, configs, "get_config") == "digits"
    assert shipped_files.shipped_name("mine/digits.py", configs, "get_config") == "mine/digits.py"

"""Tests of what a result says it was made with."""

import os
import shutil
import subprocess

import pytest

import ssdkd_jax
from ssdkd_jax.jobs import provenance

# Without the user's own settings and hooks, and never in another repository.
ALONE = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
ALONE |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


def _git(folder, *arguments):
    mine = ("user.name=a", "user.email=a@b", "init.defaultBranch=main")
    settings = [part for setting in mine for part in ("-c", setting)]
    subprocess.run(["git", "-C", folder, *settings, *arguments], check=True, capture_output=True, env=ALONE)


@pytest.fixture
def checkout(tmp_path):
    """A git repository with one commit of a file in ssdkd_jax/ and one beside it."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    (tmp_path / "ssdkd_jax").mkdir()
    for name in ("ssdkd_jax/module.py", "README.md"):
        (tmp_path / name).write_text("first\n")
    _git(tmp_path, "init")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-m", "first")
    return tmp_path


def _commit(folder):
    command = ["git", "-C", folder, "rev-parse", "--short=10", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=ALONE).stdout.strip()


def test_code_version_is_the_commit_of_a_checkout(checkout):
    assert provenance.code_version(checkout) == f"{ssdkd_jax.__version__} at commit {_commit(checkout)}"


@pytest.mark.parametrize("name", ["ssdkd_jax/module.py", "ssdkd_jax/new.py"])
def test_code_version_tells_of_changes_to_the_code(checkout, name, monkeypatch):
    """Whatever git is told elsewhere."""
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    _git(checkout, "config", "status.showUntrackedFiles", "no")
    (checkout / name).write_text("second\n")
    assert provenance.code_version(checkout).endswith(" with changes")


def test_code_version_is_silent_about_changes_beside_the_code(checkout):
    (checkout / "README.md").write_text("second\n")
    assert not provenance.code_version(checkout).endswith(" with changes")


def test_code_version_within_the_checkout_of_something_else_is_the_version_alone(checkout):
    assert provenance.code_version(checkout / "ssdkd_jax") == ssdkd_jax.__version__


def test_code_version_without_git_is_the_version_alone(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert provenance.code_version(checkout) == ssdkd_jax.__version__


def test_code_version_of_a_damaged_repository_is_the_version_alone(checkout):
    (checkout / ".git" / "HEAD").unlink()
    assert provenance.code_version(checkout) == ssdkd_jax.__version__


def test_versions_name_this_package_first():
    assert next(iter(provenance.versions())) == "ssdkd_jax"

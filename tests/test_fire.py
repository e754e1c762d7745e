"""The program that stops a run at random moments, at a tenth of its size."""

import json
import subprocess
import sys

import pytest

from tests import fire
from tests.tiny_job import ROOT


def may_mount(folder):
    """Whether a small disk can be mounted, which takes root and not every container."""
    try:
        with fire.small_disk(folder):
            return True
    except SystemExit:
        return False


@pytest.mark.slow
def test_a_short_run_under_fire(tmp_path):
    command = [sys.executable, "-m", "tests.fire", "--epochs=100", "--kills=2"]
    command += [f"--workdir={tmp_path}/fire", f"--out={tmp_path}/fire.json"]
    if mounted := may_mount(tmp_path / "fire" / "disk"):
        command += ["--full_disks=3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "fire.json").read_text())
    assert found["facts"]["kills"].startswith("2, after epochs ") and found["facts"]["log"] == "every epoch once"
    assert found["facts"]["student"].startswith("the same bits as undisturbed")
    assert found["facts"].get("full disks", "").startswith("3, after epochs ") == mounted

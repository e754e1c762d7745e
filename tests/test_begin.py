"""The program that measures how soon runs begin, with the digits alone."""

import json
import os
import subprocess
import sys

import pytest

from tests.tiny_job import ROOT, xla_flags


@pytest.mark.slow
def test_runs_that_find_programs_begin_sooner(tmp_path):
    command = [
        sys.executable,
        "-m",
        "tests.begin",
        "--repeats=2",
        f"--workdir={tmp_path}/begin",
        f"--out={tmp_path}/out.json",
    ]
    environment = {**os.environ, "XLA_FLAGS": xla_flags()}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    facts = json.loads((tmp_path / "out.json").read_text())["facts"]
    assert list(facts) == ["digits, first run", "digits, programs kept", "digits, programs traced"]
    _, kept, traced = (text.partition("(")[2].partition(")")[0].split(", ") for text in facts.values())
    assert min(map(float, kept)) < min(map(float, traced))

"""Variables of the environment that JAX refuses while it is imported."""

import os
import subprocess
import sys

import pytest

from experiments.jax_variables import variable_in
from tests.tiny_job import ROOT


def test_a_variable_that_jax_refuses_is_one_line():
    command = [sys.executable, "-m", "experiments.main", "--config=configs/digits.py", "--workdir=/nowhere"]
    environment = os.environ | {"JAX_ENABLE_X64": "maybe"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    expected = "JAX_ENABLE_X64 is 'maybe', which JAX does not take; mend it, or take it away: unset JAX_ENABLE_X64"
    assert done.stderr == f"error: {expected}\n"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("invalid truth value 'x' for environment 'JAX_LOG_COMPILES'", "JAX_LOG_COMPILES"),
        ('Invalid value "x" for JAX flag jax_default_matmul_precision', "JAX_DEFAULT_MATMUL_PRECISION"),
        ("invalid literal for int() with base 10: 'abc'", "JAX_SERIALIZATION_VERSION"),
        ("numpy.dtype size changed", None),
    ],
)
def test_which_variable_it_is(message, expected):
    names = ("JAX_LOG_COMPILES", "JAX_DEFAULT_MATMUL_PRECISION", "JAX_PLATFORMS")
    environment = {**dict.fromkeys(names, "x y"), "JAX_SERIALIZATION_VERSION": "abc", "HOME": "abc"}
    assert variable_in(message, environment) == expected

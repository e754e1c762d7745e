"""Programs compiled for a TPU that is not there, from the command line; and what is refused."""

import importlib.util
import json
import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from ssdkd_jax.errors import UserError
from ssdkd_jax.reports import result_checks, tables
from ssdkd_jax.speed import compile_check, tpus
from ssdkd_jax.speed.workload import UNUSED
from ssdkd_jax.training.clock import Clock
from ssdkd_jax.training.devices import pmap
from ssdkd_jax.training.loop import epoch_programs
from tests import programs, tiny_job
from tests.tiny_job import FIELDS, PAIR, ROOT

HAS_LIBTPU = importlib.util.find_spec("libtpu") is not None
ROW = {
    **{"config": "digits", "topology": "v5e:2x2", "dtype": "float32", "devices": 4, "programs": {}, "retraces": []},
    "quick": False,
    **{"memory_bytes": 4e9, "chip_memory_bytes": 16e9, "flops": 2e12, "padded_flops": 16e12, "float32_flops": 1e12},
    **{"bytes": 819e9, "host_transfers": 0, "collectives": {"all-reduce": [60, 3e6], "all-gather": [1, 1e6]}},
    **{"arithmetic_seconds": 0.0102, "padded_arithmetic_seconds": 0.0812, "memory_seconds": 1.0},
}
RESULT = {"kind": "compile_check", "command": "x", "hardware": "none", "date": "2026-01-02", "rows": {"a": ROW}}


@pytest.mark.skipif(not HAS_LIBTPU, reason="libtpu is not installed: pip install -r requirements-tpu.txt")
@pytest.mark.parametrize("quick", [False, True])
def test_a_small_config(tmp_path, quick):
    out = tmp_path / "found.json"
    used = (name for name in FIELDS if name.startswith(("ssdkd", "generator")) and name not in UNUSED)
    settings = {name: FIELDS[name] for name in used} | {"method": "ssdkd"}
    command = [sys.executable, "-m", "experiments.compile_check", f"--config=digits:{PAIR}", "--topology=v5e:2x2"]
    command += [f"--out={out}", f"--quick={quick}", *(f"--config.{name}={value}" for name, value in settings.items())]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"XLA_FLAGS": ""}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "on v5e:2x2, 4 devices, float32" in done.stdout and "warning: activations are float32" in done.stdout
    content = json.loads(out.read_text())
    assert result_checks.problem(content) is None
    (row,) = content["rows"].values()
    assert row["quick"] == quick
    student = row["programs"]["student"]
    # A student step is three of the student's forward passes, and none of the teacher's, which is as large: of 4 of 16
    # images.
    pass_of_one = 2 * 9 * (64 * 8 + 16 * 8 * 16 + 4 * 16 * 32)
    assert 2.5 < student["flops"] / (4 * pass_of_one * FIELDS["ssdkd.kd_steps"]) < 3.5
    assert student["collectives"]["all-reduce"][0] >= 3 * FIELDS["ssdkd.kd_steps"], "one for each BatchNorm layer"
    layers = {"generator": 3, "teacher": 3}
    reduced = row["programs"]["synthesis"]["collectives"]["all-reduce"][0]
    assert reduced <= 4 + FIELDS["ssdkd.inversion_steps"] * (2 * sum(layers.values()) + 2), "and not for kd_steps"
    assert row["retraces"] == [] and row["host_transfers"] == 0
    assert 0 < row["memory_bytes"] < row["chip_memory_bytes"]


@pytest.mark.skipif(HAS_LIBTPU, reason="libtpu is installed")
def test_without_libtpu_it_is_said_how_to_install_it():
    with pytest.raises(UserError, match=r"needs libtpu, which is not installed: pip install -r requirements-tpu\.txt"):
        tpus.devices_of("v5e:2x2")


def test_unknown_chips_are_refused():
    with pytest.raises(UserError, match="--topology=v9:2x2 begins with 'v9', expected v4, v5e, v6e, such as v5e:2x4"):
        tpus.devices_of("v9:2x2")
    with pytest.raises(UserError, match=r"begins with 'v5', did you mean 'v5e'\? expected v4, v5e, v6e, such as v5e"):
        tpus.devices_of("v5:2x4")


def test_what_runs_badly_is_said():
    said = " ".join(compile_check.warnings(ROW))
    assert "activations are float32 (50 % of the products" in said and "fill 12.5 % of the matrix unit" in said
    assert "memory is full" not in said and "transfers" not in said and "compiled again" not in said
    bad = {**ROW, "memory_bytes": 15e9, "host_transfers": 2, "retraces": ["student"], "dtype": "bfloat16"}
    said = " ".join(compile_check.warnings(bad))
    assert "memory is full" in said and "2 transfers" in said and "student returns a state of other shapes" in said
    assert "float32" not in said


@pytest.mark.parametrize(
    ("step", "retraced"),
    [
        (lambda state: {"x": state["x"] + 1}, False),
        (lambda state: {"x": state["x"] + 0.5}, True),
        (lambda state: {"x": state["x"][1:]}, True),
    ],
)
def test_a_state_of_another_type_or_shape_is_compiled_again(step, retraced):
    program = pmap(lambda state, teacher, *_: (step(state), teacher), jax.devices()[:2], in_axes=(0, 0, None, None))
    state, teacher = {"x": jax.ShapeDtypeStruct((2, 3), jnp.int32)}, jax.ShapeDtypeStruct((2,), jnp.float32)
    assert compile_check._figures(program, 1, state, teacher, False)["retraced"] == retraced


def test_images_move_between_devices_as_uint8():
    method, state, teacher = compile_check._shapes(tiny_job.config(""), devices := jax.devices()[:4])
    arguments = (state, teacher, jax.eval_shape(lambda: jax.random.key(0)), jax.ShapeDtypeStruct((), jnp.int32))
    moved = set()
    for program in epoch_programs(method, devices, Clock()):
        text = program.lower(*arguments).as_text()
        moved |= set(re.findall(r"stablehlo\.(all_gather|reduce_scatter).*?: \(tensor<([^>]*)>\)", text, re.DOTALL))
    moved = {(kind, what) for kind, what in moved if "x8x8x1x" in what}
    assert moved == {("all_gather", "4x8x8x1xui8"), ("reduce_scatter", "16x8x8x1xui8")}


def test_table():
    assert result_checks.problem(RESULT) is None
    assert "rows.a.flops is 'many'" in result_checks.problem({**RESULT, "rows": {"a": {**ROW, "flops": "many"}}})
    text = tables.markdown(RESULT)
    assert "| digits | v5e:2x2 | 4,000 | 25.0 % | 2 | 819 | 61 | 4.0 | 0.01 | 1 | 12.5 % |" in text
    assert "within an epoch: none." in text and "--quick" not in text
    text = tables.markdown({**RESULT, "rows": {"a": {**ROW, "quick": True}}})
    assert "| digits | v5e:2x2 | 4,000 | 25.0 % | 2 | up to 819 | 61 | 4.0 | 0.01 | – | 12.5 % |" in text
    assert "compiled with --quick" in text


def test_a_quick_check_gives_no_bound_on_the_memory_traffic():
    said = " ".join(compile_check.report("digits", "v5e:2x2", {**ROW, "quick": True}))
    assert "up to 819 GB moved" in said and "0.0102 s of arithmetic" in said and "traffic" not in said
    assert "1 s of memory traffic" in " ".join(compile_check.report("digits", "v5e:2x2", ROW))


def test_quick_bounds_replace_no_row_of_full_effort(tmp_path, monkeypatch):
    out = tmp_path / "out.json"
    out.write_text(json.dumps(RESULT | {"rows": {"digits v5e:2x2": ROW}}))
    monkeypatch.setattr(compile_check, "check_topology", lambda *_: pytest.fail("compiled"))
    for name in ("chip_of", "devices_of"):  # which need libtpu
        monkeypatch.setattr(compile_check, name, lambda _: None)
    config = tiny_job.config("")
    with pytest.raises(
        UserError, match=r"out\.json has digits v5e:2x2 compiled with full effort, of which --quick kno"
    ):
        compile_check.compile_check(config, "digits", ["v5e:2x2"], str(out), quick=True)


def test_a_topology_given_twice():
    status, _, err = programs.run("compile_check", "--config=digits", "--topology=v5e:2x2,v5e:2x2")
    assert (status, err) == (2, "error: --topology names v5e:2x2 more than once, expected each topology once\n")

"""What every program has: a help, and a line for flags that do nothing."""

import pathlib

import pytest

from tests import programs

PROGRAMS = sorted(
    path.stem for path in (pathlib.Path(programs.ROOT) / "experiments").glob("*.py") if "\ndef run(" in path.read_text()
)


def test_all_programs_are_known():
    assert {"main", "compare", "study", "convert", "benchmark", "accelerator_report", "growth"} <= {*PROGRAMS}


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_is_about_the_program(program):
    status, out, err = programs.run(program, "--help")
    assert (status, err) == (0, "")
    assert f"python -m experiments.{program}" in out and "every program:" in out
    assert (program in ("benchmark", "growth")) == ("--repeats: The most timed calls" in out)


@pytest.mark.parametrize("program", ["accelerator_report", "benchmark", "compare", "growth", "study"])
def test_programs_that_run_in_one_process_say_so(tmp_path, program):
    """`main` is the one that joins others."""
    required = {
        "accelerator_report": [f"--workdir={tmp_path}"],
        "compare": ["--config=digits", "--methods=ssdkd", f"--workdir={tmp_path}"],
        "study": ["--study=digits_ablation", f"--workdir={tmp_path}"],
    }.get(program, ["--config=digits", f"--out={tmp_path}/out.json"])
    several = {"JAX_COORDINATOR_ADDRESS": "127.0.0.1:1", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "0"}
    status, out, err = programs.run(program, *required, **several)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"error: experiments.{program} runs in one process, but the environment tells of several")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            ("--capacity=10", "--against=torch"),
            "--against has no effect with --capacity, which only times the buffer; remove one of them",
        ),
        (("--variants=eager",), "--variants are PyTorch's, which is not timed without --against=torch"),
        (("--against=torch", "--variants=eager,eager"), "--variants names eager more than once, expected each variant"),
    ],
    ids=" ".join,
)
def test_the_benchmark_refuses_flags_that_do_nothing(tmp_path, options, expected):
    status, out, err = programs.run("benchmark", "--config=digits", f"--out={tmp_path}/out.json", *options)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"error: {expected}")

"""How a program ends."""

import errno
import re
import signal
import subprocess
import sys

import jax
import pytest

from experiments import command_line
from ssdkd_jax import user_code
from ssdkd_jax.errors import UserError
from ssdkd_jax.training.interruption import Interrupted
from tests.tiny_job import ROOT

# A program whose work prints more than a pipe holds.
CLOSED = """
import sys
from experiments import command_line

sys.argv = ["experiments/main.py"]
command_line._parse_flags = lambda *_: []
command_line._keep_compiled_programs = lambda: None
command_line.launch(lambda *_: print("x" * 10**6, flush=True), required=(), example="")
"""


@pytest.fixture
def end(monkeypatch, capsys):
    """end(error): (exit status, stdout, stderr) of a program whose work says something and raises that error."""
    monkeypatch.setattr(sys, "argv", ["experiments/main.py", "--workdir=a b"])
    monkeypatch.setattr(command_line, "_parse_flags", lambda *_: [])
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    monkeypatch.setattr(command_line, "_keep_compiled_programs", lambda: None)
    monkeypatch.setattr(command_line.os, "_exit", sys.exit)
    before = signal.getsignal(signal.SIGINT)

    def launch(error=None, resumes=True, say=""):
        def main(command, interruption):
            if say:
                print(say)
            if error:
                raise error

        status = 0
        try:
            command_line.launch(main, required=(), example="", resumes=resumes)
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    yield launch
    signal.signal(signal.SIGINT, before)


def test_done(end):
    assert end() == (0, "", "")


def test_names_of_files_that_are_not_text_are_printed(end):
    assert end(say="caf\udce9.png") == (0, "caf\\udce9.png\n", "")


def test_users_mistake_is_one_line(end):
    assert end(UserError("wrong;\nfix it")) == (2, "", "error: wrong; fix it\n")


@pytest.mark.parametrize(
    ("setting", "name", "reason"),
    [
        (jax.disable_jit(), "JAX_DISABLE_JIT", "all steps are compiled"),
        (jax.enable_x64(True), "JAX_ENABLE_X64", "all numbers are of 32 bits or fewer"),
        (jax.numpy_dtype_promotion("strict"), "JAX_NUMPY_DTYPE_PROMOTION", "types are mixed"),
        (jax.numpy_rank_promotion("raise"), "JAX_NUMPY_RANK_PROMOTION", "shapes are broadcast"),
        (jax.transfer_guard("disallow"), "JAX_TRANSFER_GUARD", "images come from the host"),
    ],
    ids=lambda value: value if str(value).startswith("JAX") else "",
)
def test_nothing_runs_with_settings_of_jax_that_are_not_tested(end, setting, name, reason):
    with setting:
        assert end() == (2, "", f"error: {name} is set, expected not to be, since {reason}: unset {name}\n")


@pytest.mark.parametrize("path", ["b\udcffd", "\udce6\udca8\udca1"])
def test_a_path_that_is_not_text(monkeypatch, path):
    monkeypatch.setattr(sys, "argv", ["experiments/main.py", f"--workdir={path}"])
    shown = path.encode(errors="backslashreplace").decode()
    with pytest.raises(UserError, match=re.escape(f"--workdir={shown} has bytes that are not text, expected UTF-8")):
        command_line._parse_flags((), (), "")


def test_work_whose_output_nobody_reads_is_not_done(end, monkeypatch):
    monkeypatch.setattr(command_line, "_drop_output", lambda: None)
    status, out, err = end(BrokenPipeError())
    assert (status, out) == (141, "")
    assert err.startswith("stopped, since nobody reads the output any more; to resume from the last checkpoint, if")


def test_an_output_that_is_closed_ends_the_program():
    """As `python -m experiments.main ... | head`, whose reader has gone before the first line."""
    process = subprocess.Popen(
        [sys.executable, "-c", CLOSED], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    err = process.stderr.read()
    assert (process.wait(), err.count("\n")) == (141, 1)
    assert err.startswith("stopped, since nobody reads the output any more; to start again: ")
    assert err.endswith("python -m experiments.main\n")


def test_a_users_code_that_fails_in_the_middle_of_a_run_is_one_line(end, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("def fails():\n    return 1 / 0\n")
    with pytest.raises(ZeroDivisionError) as error:
        user_code.load_object(f"{tmp_path}/mine.py:fails")()
    monkeypatch.delenv("JAX_TRACEBACK_FILTERING")
    status, out, err = end(error.value)
    assert (status, out) == (2, "")
    assert err == (
        f"error: {tmp_path}/mine.py fails with ZeroDivisionError: division by zero ({tmp_path}/mine.py, line 2); "
        "JAX_TRACEBACK_FILTERING=off shows the whole traceback\n"
    )


def test_an_installed_program_resumes_by_its_own_name(end, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/bin/ssdkd-main", "--workdir=x"])
    assert end(Interrupted("stopped"))[1] == "stopped; to resume: ssdkd-main --workdir=x\n"


def test_a_current_folder_that_is_gone(end, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert end()[2] == "error: the current folder was deleted; change to one that is there: cd FOLDER\n"


def test_interruption_says_how_to_resume(end):
    expected = "stopped after epoch 3; to resume: python -m experiments.main '--workdir=a b'\n"
    assert end(Interrupted("stopped after epoch 3")) == (130, expected, "")


def test_variables_that_change_numbers_belong_to_the_command(end, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--a=1 --b=2")
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "2")
    monkeypatch.setenv("JAX_DEFAULT_PRNG_IMPL", "rbg")
    variables = "XLA_FLAGS='--a=1 --b=2' JAX_NUM_CPU_DEVICES=2 JAX_DEFAULT_PRNG_IMPL=rbg"
    expected = f"to resume: {variables} python -m experiments.main"
    assert expected in end(Interrupted("stopped"))[1]


@pytest.mark.parametrize(("program", "alone"), [("-m", True), ("/bin/ssdkd-main", True), ("pytest", False)])
def test_ctrl_c_while_it_imports_has_no_traceback(program, alone):
    start = f"import signal, sys; sys.argv = [{program!r}]; sys.modules['jax'] = sys"  # of JAX, nothing is needed here
    lines = f"{start}; import experiments; print(signal.getsignal(signal.SIGINT))"
    found = subprocess.run([sys.executable, "-c", lines], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert ("SIG_DFL" in found or found.strip() == "0") == alone


def test_ctrl_c_while_it_ends_has_no_traceback(end):
    end(Interrupted("stopped"))
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL


def test_second_interrupt(end):
    status, _, err = end(KeyboardInterrupt())
    assert status == 130
    assert "to resume from the last checkpoint, if there is one: python -m experiments.main" in err


def test_programs_that_save_nothing_leave_signals_alone(end):
    assert "stopped at once; to start again: python -m experiments.main" in end(KeyboardInterrupt(), resumes=False)[2]


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--help=5", "--help takes no value"),
        ("--version=1", "--version takes no value"),
        ("--list", "--list needs a kind of names, one of: methods, networks, configs"),
        ("--list=x", "--list=x, expected one of: methods, networks, configs"),
    ],
)
def test_values_of_common_flags(end, monkeypatch, argument, expected):
    monkeypatch.setattr(sys, "argv", ["experiments/main.py", argument])
    status, out, err = end()
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert expected in err


def test_every_list_that_is_asked_for_is_printed(end, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["experiments/main.py", "--list=methods", "--list=configs"])
    out = end()[1]
    assert "ssdkd" in out.split() and "fashion_mnist" in out.split()


def wrapped(error):
    """As Orbax does: the system's error behind one of its own."""
    try:
        raise ValueError("background thread failed") from error
    except ValueError as outer:
        return outer


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/x/metrics.jsonl"),
        wrapped(OSError(errno.ENOSPC, "No space left on device")),
        ValueError('RESOURCE_EXHAUSTED: Failed writing: "/x/.zarray": [OS error 28: No space left on device]'),
    ],
    ids=["system", "wrapped", "tensorstore"],
)
def test_full_disk_is_one_line(end, error):
    status, out, err = end(error)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: the disk is full")
    assert "then run the same command again: python -m experiments.main" in err


@pytest.mark.parametrize(
    ("error", "size"),
    [
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 118480028080 bytes."), " (118.5 GB more were a"),
        (wrapped(MemoryError("Unable to allocate 9 GiB for an array")), "; choose smaller batches"),
    ],
    ids=["device", "host"],
)
def test_too_little_memory_is_one_line(end, error, size):
    status, out, err = end(error)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"error: there is too little memory{size}")


@pytest.mark.parametrize(
    ("error", "file"),
    [
        (OSError(errno.EFBIG, "File too large", "/x/metrics.jsonl"), " (/x/metrics.jsonl)"),
        (wrapped(OSError(errno.EFBIG, "File too large")), ""),
        (ValueError("OUT_OF_RANGE: Failed to write 40573 bytes to file 13: File too large [os_error_code='27']"), ""),
    ],
    ids=["system", "wrapped", "tensorstore"],
)
def test_a_file_beyond_the_limit_is_one_line(end, error, file):
    status, out, err = end(error)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(
        f"error: a file would be larger than the shell or the disk allows{file}; raise the limit (ulimit"
    )
    assert "then run the same command again: python -m experiments.main" in err


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, "Too many open files", "/x/metrics.jsonl"),
        ValueError("RESOURCE_EXHAUSTED: Failed to open: \"/x/.zarray\": Too many open files [os_error_code='24']"),
    ],
    ids=["system", "tensorstore"],
)
def test_too_few_files_that_may_be_open_are_one_line(end, error):
    status, out, err = end(error)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: the shell or the system allows too few open files; raise the limit (ulimit -n 1024)")
    assert "then run the same command again: python -m experiments.main" in err


def test_a_cache_that_cannot_be_written_is_told_once_and_not_used(monkeypatch, capsys, tmp_path):
    (tmp_path / "file").touch()
    before = {name: getattr(jax.config, name) for name in ("jax_compilation_cache_dir", "jax_enable_compilation_cache")}
    try:
        jax.config.update("jax_compilation_cache_dir", f"{tmp_path}/file/cache")
        command_line._keep_compiled_programs()
        assert not jax.config.jax_enable_compilation_cache
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
    out = capsys.readouterr().out
    assert out.startswith("compiled programs are not kept: ") and out.count("\n") == 1
    assert f"{tmp_path}/file/cache" in out and out.endswith("choose another: JAX_COMPILATION_CACHE_DIR=DIR\n")


def test_a_name_too_long_for_the_disk_is_to_be_shortened(end):
    status, out, err = end(OSError(errno.ENAMETOOLONG, "File name too long", f"/tmp/{'x' * 300}/summary.json"))
    assert (status, out) == (2, "")
    assert err == f"error: a name has 300 letters, expected one that the disk takes, mostly at most 255: {'x' * 300}\n"


def test_our_own_mistakes_keep_their_traceback(end):
    with pytest.raises(ZeroDivisionError):
        end(ZeroDivisionError())

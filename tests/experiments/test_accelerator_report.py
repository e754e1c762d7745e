"""The stages of a borrowed accelerator's report: a whole one at tiny size, and where the minutes end."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from configs import cifar10
from ssdkd_jax.errors import UserError
from ssdkd_jax.jobs import accelerator_report as module
from ssdkd_jax.jobs.accelerator_report import (
    Stage,
    accelerator_report,
    check_pairs,
    distilling,
    given_teachers,
    make_stages,
    timing,
)
from ssdkd_jax.jobs.teacher import Teacher
from ssdkd_jax.models import create_model
from ssdkd_jax.speed.timing import Budget
from ssdkd_jax.training.interruption import Interrupted
from tests import programs
from tests.tiny_job import ROOT, SHORT, config, xla_flags

# The program, whose published pair is a tiny one on the digits.
AT_TINY_SIZE = """
import sys
from configs import cifar10
from tests import tiny_job
cifar10.get_config = lambda pair: tiny_job.config("", **tiny_job.SHORT, ssdkd__views=0)
from experiments import accelerator_report
accelerator_report.run()
"""


@pytest.mark.slow
def test_the_whole_program_at_tiny_size(tmp_path):
    """With PyTorch beside it, from the flags to the report; then the same command again, with nothing left to do."""
    command = [sys.executable, "-c", AT_TINY_SIZE, f"--workdir={tmp_path}/report", "--minutes=10", "--dtype=float32"]
    command.append("--pairs=convnet_8-convnet_8")
    environment = {**os.environ, "XLA_FLAGS": xla_flags()}
    for _ in range(2):
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
        assert (done.returncode, done.stderr) == (0, "")
        found = json.loads((tmp_path / "report/accelerator_report.json").read_text())["stages"]
        assert list(found) == ["smoke_test", "benchmark_convnet_8-convnet_8", "convnet_8-convnet_8"]
        assert {stage["state"] for stage in found.values()} == {"done"}
    assert "(PyTorch takes " in found["benchmark_convnet_8-convnet_8"]["says"]
    assert "from 44 synthetic images" in found["convnet_8-convnet_8"]["says"]


@pytest.mark.slow
def test_all_stages_on_a_cpu(finished, cache_dir, tmp_path):
    short = config(cache_dir, **SHORT)
    stages = [
        Stage("smoke_test", short, distilling),
        Stage("benchmark", short, timing("", Budget(1, 0.0))),
        Stage("pair", config(cache_dir, **{**SHORT, "teacher__path": str(tmp_path / "none.pth")}), distilling),
    ]
    report = accelerator_report(stages, tmp_path / "report", 10, command="COMMAND")
    noted = report["stages"]
    assert [noted[stage.name]["state"] for stage in stages] == ["done", "done", "failed"]
    assert "from 44 synthetic images" in noted["smoke_test"]["says"]
    assert noted["benchmark"]["says"].startswith("inversion step ") and "student step " in noted["benchmark"]["says"]
    assert "there is no teacher at" in noted["pair"]["says"]
    assert (tmp_path / "report/smoke_test/report.html").exists()
    assert json.loads((tmp_path / "report/benchmark.json").read_text())["kind"] == "speed"
    text = (tmp_path / "report/accelerator_report.md").read_text()
    assert "| smoke_test | done |" in text and "`COMMAND`, " in text


def stages_that(calls, **results):
    def work(name):
        def one(config, place, interruption):
            calls.append(name)
            if isinstance(results[name], Exception):
                raise results[name]
            return results[name]

        return one

    return [Stage(name, None, work(name)) for name in results]


def test_what_is_done_stays_and_the_rest_goes_on(tmp_path):
    calls = []
    first = accelerator_report(
        stages_that(calls, a="fast", b=Interrupted("after epoch 3"), c=UserError("no")), tmp_path, 1
    )
    assert [noted["state"] for noted in first["stages"].values()] == ["done", "goes on with the next call", "failed"]
    again = accelerator_report(stages_that(calls, a="slow", b="good", c="well"), tmp_path, 1)
    assert calls == ["a", "b", "c", "b", "c"]
    assert [noted["says"] for noted in again["stages"].values()] == ["fast", "good", "well"]
    more = accelerator_report(stages_that(calls, d="new"), tmp_path, 1)
    assert [noted["says"] for noted in more["stages"].values()] == ["fast", "good", "well", "new"]


def test_what_another_machine_or_other_settings_gave_is_not_passed_off_as_ours(tmp_path, monkeypatch):
    calls = []
    stages = [stage._replace(config=config("")) for stage in stages_that(calls, a="fast")]
    accelerator_report(stages, tmp_path, 1)
    elsewhere = [stage._replace(config=config(tmp_path, data_dir=str(tmp_path))) for stage in stages]
    assert accelerator_report(elsewhere, tmp_path, 1)["stages"]["a"]["says"] == "fast"
    before = (tmp_path / "accelerator_report.json").read_bytes()
    other = [stage._replace(config=config("", dtype="bfloat16")) for stage in stages]
    with pytest.raises(UserError, match=r"a was done with other settings, such as another --dtype; choose an"):
        accelerator_report(other, tmp_path, 1)
    monkeypatch.setattr(module.provenance, "hardware", lambda _: "1 x GPU")
    with pytest.raises(
        UserError, match=r"was measured on \d+ cores? of .*, and this is 1 x GPU; choose another folder"
    ):
        accelerator_report(stages, tmp_path, 1)
    assert calls == ["a"] and (tmp_path / "accelerator_report.json").read_bytes() == before


def test_no_stage_begins_when_the_minutes_are_over(tmp_path):
    report = accelerator_report(stages_that(calls := [], a="fast"), tmp_path, 0)
    assert not calls and report["stages"]["a"]["state"] == "to come"
    assert (tmp_path / "accelerator_report.md").exists()


def test_a_signal_stops_it_and_what_is_done_is_noted(tmp_path):
    class AfterOne(list):
        def __bool__(self):
            return len(self) > 0

    calls = AfterOne()
    with pytest.raises(Interrupted, match="what is done is noted"):
        accelerator_report(stages_that(calls, a="fast", b="never"), tmp_path, 1, interruption=calls)
    assert calls == ["a"]
    assert json.loads((tmp_path / "accelerator_report.json").read_text())["stages"]["a"]["says"] == "fast"


def test_the_published_pairs_with_a_given_teacher_and_without_data(tmp_path, monkeypatch):
    names = ["wrn40_2-wrn16_1", "resnet34-resnet18"]
    published = {name: cifar10.get_config(name) for name in names}
    for one in published.values():
        one.data_dir = str(tmp_path / "none")
    monkeypatch.setattr(module, "_check_teacher", lambda *_: None)
    stages = make_stages(config(tmp_path), published, {"wrn40_2": "w.pth"}, tmp_path)
    assert [stage.name for stage in stages] == ["smoke_test", *(f"benchmark_{name}" for name in names), *names]
    configs = {stage.name: stage.config for stage in stages}
    given, trained = configs["wrn40_2-wrn16_1"], configs["resnet34-resnet18"]
    assert (given.teacher.path, given.evaluate_on) == ("w.pth", "none")
    assert (trained.teacher.path, trained.evaluate_on) == ("", "test")
    assert trained.teacher.cache_dir == str(tmp_path / "teachers")
    assert configs["benchmark_wrn40_2-wrn16_1"].teacher.path == ""


@pytest.mark.parametrize(
    ("teachers", "expected"),
    [
        ({"wrn402": "w.pth"}, "names 'wrn402', did you mean 'wrn40_2'\\? expected teachers of the pairs: wrn40_2$"),
        (
            {"wrn40_2": "/none/w.pth"},
            "^there is no teacher at /none/w.pth; give another: --teachers=wrn40_2=FILE_OR_FOLDER$",
        ),
    ],
)
def test_a_teacher_that_no_pair_can_have_is_refused_before_any_stage(tmp_path, teachers, expected):
    with pytest.raises(UserError, match=expected):
        make_stages(config(tmp_path), {"pair": cifar10.get_config("wrn40_2-wrn16_1")}, teachers, tmp_path)


def test_a_teacher_of_another_data_set_is_refused_before_any_stage(tmp_path, monkeypatch):
    network = create_model("convnet_8", 100)
    variables = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    monkeypatch.setattr(module, "load_teacher", lambda *_, **__: Teacher("convnet_8", variables, {}))
    published = cifar10.get_config("convnet_8-convnet_8")
    expected = r"^w.pth: \S+ is \(100,\), expected \(10,\) .* and 3 channels; give another: --teachers=convnet_8=FILE"
    with pytest.raises(UserError, match=expected):
        make_stages(config(tmp_path), {"pair": published}, {"convnet_8": "w.pth"}, tmp_path)


@pytest.mark.parametrize(
    ("check", "given", "expected"),
    [
        (given_teachers, ["a=x", "b=y", "a=z"], "--teachers names a more than once, expected each architecture once"),
        (given_teachers, ["a=x", "b"], "--teachers holds 'b', expected ARCHITECTURE=FILE"),
        (check_pairs, ["a-b", "c-d", "a-b"], "--pairs names a-b more than once, expected each pair once"),
    ],
)
def test_lists_that_name_something_twice_or_by_half(check, given, expected):
    with pytest.raises(UserError, match=expected):
        check(given)


def test_the_folder_of_a_run_takes_no_report(tmp_path):
    (tmp_path / "experiment.json").write_text("{}")
    with pytest.raises(UserError, match="holds a single run, not an accelerator's report; choose another: --workdir"):
        accelerator_report([], tmp_path, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["experiment.json"]


def test_a_damaged_report_is_named(tmp_path):
    (tmp_path / "accelerator_report.json").write_text('{"kind": "accelerator_report"}')
    with pytest.raises(
        UserError, match=r"report\.json: command is missing; move it elsewhere and run the same command again$"
    ):
        accelerator_report([], tmp_path, 0)


@pytest.mark.parametrize(
    ("pairs", "expected"), [("", "names nothing, expected"), ("resnet34-resnet18,small", "'small' is no")]
)
def test_pairs_that_are_none(tmp_path, pairs, expected):
    status, _, err = programs.run("accelerator_report", f"--workdir={tmp_path}/w", f"--pairs={pairs}", "--minutes=0")
    assert status == 2 and err.startswith("error: --pairs") and expected in err and not (tmp_path / "w").exists()

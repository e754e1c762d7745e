"""A study through its real command line: two runs at once, interrupted and continued; and mistakes in its flags."""

import json
import os

import pytest

from experiments import study as program
from ssdkd_jax.errors import UserError
from ssdkd_jax.jobs.study import load_study
from ssdkd_jax.jobs.study_runs import run_study
from ssdkd_jax.reports import result_checks
from ssdkd_jax.training.interruption import BETWEEN_EPOCHS, IN_AN_EPOCH
from tests import programs, tiny_job
from tests.tiny_job import SIGNALS, stop_when

AT_ONCE = min(2, len(os.sched_getaffinity(0)))
XLA_FLAGS = f"{tiny_job.xla_flags()} --xla_backend_optimization_level=0"
# A baseline has little to compile, and what decides nothing here needs no real digits.
FILE = """
import numpy as np
from ssdkd_jax.jobs.study import Study
from tests import programs, tiny_job


def images(split):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (160, 8, 8, 1), np.uint8), np.arange(160) % 10, list("0123456789")


def get_study():
    config = tiny_job.config({cache_dir!r}, epochs=2, evaluate_every=1, teacher__epochs=1, allow_weak_teacher=True)
    config.update(method="noise_kd", dataset=__file__ + ":images")
    config.noise_kd.kd_steps = 4
    return Study(config, {{"default": {{}}, "slow": {{"noise_kd.student_learning_rate": 0.01}}}}, seeds=2)
"""


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """(folder of the study file, what was printed when it was stopped, and the results when it went on to the end)."""
    folder = tmp_path_factory.mktemp("studied")
    (folder / "mine.py").write_text(FILE.format(cache_dir=str(folder / "teachers")))
    arguments = [f"--study={folder}/mine.py", f"--jobs={AT_ONCE}", f"--workdir={folder}/runs"]
    process = programs.Program("experiments.study", arguments, XLA_FLAGS=XLA_FLAGS)
    first = folder / "runs" / "default" / "seed0" / "summary.json"
    status, stopped, err = stop_when(process, SIGNALS["SIGTERM"], first.exists)
    assert (status, err) == (143, "")
    before = first.stat().st_mtime_ns
    assert json.loads((folder / "runs" / "study.json").read_text())["kind"] == "study"
    with pytest.MonkeyPatch.context() as patch:
        # The rest one after another in this process, which costs no further start, and without pages.
        patch.setattr("ssdkd_jax.jobs.run.write_page", lambda folder: None)
        result = run_study(load_study(f"{folder}/mine.py"), folder / "runs", folder / "runs" / "study.json")
    assert first.stat().st_mtime_ns == before, "what was finished was done again"
    return folder, stopped, result


def test_an_interrupted_study_says_how_to_resume_and_does(studied):
    folder, stopped, result = studied
    # The request comes at the end of a run, in its last epoch or after it.
    assert sum(stopped.count(said) for said in (IN_AN_EPOCH, BETWEEN_EPOCHS)) == 1
    assert "to resume: XLA_FLAGS=" in stopped and "python -m experiments.study" in stopped
    assert json.loads(json.dumps(result)) == json.loads((folder / "runs" / "study.json").read_text())
    assert result_checks.problem(result) is None
    for name in ("default", "slow"):
        row = result["variants"][name]
        summaries = [tiny_job.summary(folder / "runs" / name / f"seed{seed}") for seed in (0, 1)]
        assert row["accuracies"] == [summary["student_accuracy"] for summary in summaries]
        assert [curve[-1] for curve in row["step_curves"]] == [[8.0, accuracy] for accuracy in row["accuracies"]]
    assert row["fields"] == {"noise_kd.student_learning_rate": 0.01}
    assert row["paired"]["low"] <= row["paired"]["mean"] <= row["paired"]["high"]
    assert "| slow |" in (folder / "runs" / "study.md").read_text()
    assert (folder / "runs" / "study.png").exists()


def test_the_teacher_is_trained_once_before_all_runs(studied):
    folder, stopped, _ = studied
    assert len(list((folder / "teachers").glob("*/network.json"))) == 1
    if AT_ONCE > 1:
        assert stopped.index("teacher convnet_8: epoch 1/1") < stopped.index("== default, seed 0: run 1 of 4")
        assert f"its output: {folder}/runs/default/seed0/run.log" in stopped
        assert "epoch 2/2" in (folder / "runs" / "default" / "seed0" / "run.log").read_text()
    share = len(os.sched_getaffinity(0)) // AT_ONCE
    first = tiny_job.summary(folder / "runs" / "default" / "seed0")
    assert first["hardware"].startswith(f"{share} core{'s' if share > 1 else ''} of ")


# Without a run


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (
            "studies/digits_ablations.py",
            "did you mean studies/digits_ablation.py? shipped are: camvid_phi, cifar100_16, ",
        ),
        (
            "/none/mine.py",
            "there is no study file '/none/mine.py' (a .py); shipped are: camvid_phi, cifar100_16, cifar10_16, ",
        ),
        ("switches", "there is no study file 'switches' (a .py); shipped are"),
        ("studies/digits_ablation.py:x", "did you mean studies/digits_ablation.py?"),
        ("digits_ablation.yaml", "did you mean studies/digits_ablation.py?"),
    ],
)
def test_a_file_that_is_not_there(path, expected):
    with pytest.raises(UserError) as caught:
        program._file(path)
    assert expected in str(caught.value)


def test_a_config_is_the_studys_own():
    status, out, err = programs.run("study", "--study=switches", "--config.epochs=1")
    assert (status, out) == (2, "")
    assert err.startswith("error: --config.epochs changes a config, which this program does not take; expected its own")


def test_shipped_studies_are_known_by_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for path in ("digits_ablation", "digits_ablation.py", "studies/digits_ablation.py"):
        assert program._file(path) == str(tiny_job.ROOT / "studies" / "digits_ablation.py")


def test_a_study_in_ones_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.py").touch()
    assert program._file("~/mine.py") == str(tmp_path / "mine.py")

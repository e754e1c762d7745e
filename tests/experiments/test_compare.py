"""A comparison: interrupted on its real command line, continued, with a method that diverges, and done again there."""

import contextlib
import io
import json
import shutil

import jax
import jax.numpy as jnp
import pytest

from ssdkd_jax import models
from ssdkd_jax.errors import UserError
from ssdkd_jax.jobs import comparison
from ssdkd_jax.jobs.run import run_job
from ssdkd_jax.jobs.run_folder import read_summary
from ssdkd_jax.jobs.schedule import fitting_warmup
from ssdkd_jax.reports import run_files
from ssdkd_jax.training import saved_network
from ssdkd_jax.training.interruption import Interrupted
from tests import programs, tiny_job
from tests.tiny_job import SIGNALS, finish, stop_when

# With the last two there is little to compile.
METHODS = ("ssdkd", "scratch", "noise_kd")
STUDENT = ("warmup_epochs", "kd_batch_size", "student_learning_rate")
# Nobody looks at the speed of these programs, which take longer to compile than to run.
XLA_FLAGS = f"{tiny_job.xla_flags()} --xla_backend_optimization_level=0"


def settings(cache_dir, methods=METHODS):
    """Fields of the tiny job's config for a comparison; `scratch` diverges."""
    shared = {name: value for name, value in tiny_job.FIELDS.items() if name != "baselines"}
    shared |= {"epochs": 2, "evaluate_every": 1, "teacher.epochs": 1, "teacher.cache_dir": cache_dir}
    shared |= {"allow_weak_teacher": True}
    for method in METHODS:
        shared |= {f"{method}.{name}": tiny_job.FIELDS[f"ssdkd.{name}"] for name in STUDENT} | {f"{method}.kd_steps": 4}
    fields = {**shared, "scratch.student_learning_rate": 1e6}
    # Settings of other methods would have no effect, which is a mistake.
    return {name: value for name, value in fields.items() if name.partition(".")[0] not in {*METHODS} - {*methods}}


def start(workdir, cache_dir, *more):
    """experiments.compare as a program of its own."""
    arguments = [f"--config=configs/digits.py:{tiny_job.PAIR}", f"--workdir={workdir}"]
    arguments += [f"--methods={','.join(METHODS)}", "--seeds=2"]
    arguments += [*more, *(f"--config.{name}={value}" for name, value in settings(cache_dir).items())]
    return programs.Program("experiments.compare", arguments, XLA_FLAGS=XLA_FLAGS)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """(workdir, cache_dir, what was printed when it was stopped, and when it went on to the end)."""
    folder = tmp_path_factory.mktemp("compared")
    workdir, cache_dir = folder / "comparison", folder / "teachers"
    first = workdir / "ssdkd" / "seed0" / "summary.json"
    status, stopped, err = stop_when(start(workdir, cache_dir), SIGNALS["SIGTERM"], first.exists)
    assert (status, err) == (143, "")
    before = first.stat().st_mtime_ns
    # The rest in this process, which costs no further start, and without the runs' own pages.
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as out:
        patch.setattr("ssdkd_jax.jobs.run.write_page", lambda folder: None)
        config = tiny_job.config(cache_dir)
        config.update_from_flattened_dict(settings(str(cache_dir)))
        comparison.compare(config, METHODS, 2, workdir)
    assert first.stat().st_mtime_ns == before, "what was finished was done again"
    return workdir, cache_dir, stopped, out.getvalue()


def result_of(workdir):
    return json.loads((workdir / "comparison.json").read_text())


def test_an_interrupted_comparison_says_how_to_resume_and_does(compared):
    _, _, stopped, out = compared
    assert "to resume: XLA_FLAGS=" in stopped and "python -m experiments.compare" in stopped
    assert stopped.count("== ") < 6, "it was to stop after the first of six runs"
    assert "is finished" in out


@pytest.mark.slow
def test_two_runs_at_once(compared, tmp_path):
    """Each on a core of its own: the same runs, but for rounding, as one after the other."""
    status, out, err = finish(start(tmp_path / "comparison", compared[1], "--jobs=2"))
    assert (status, err) == (0, "") and "ssdkd, seed 1: run " in out
    once, both = result_of(compared[0]), result_of(tmp_path / "comparison")
    assert both["methods"].keys() == once["methods"].keys() and both["seeds"] == once["seeds"]
    for name, row in once["methods"].items():
        assert [run["seed"] for run in both["methods"][name]["diverged"]] == [run["seed"] for run in row["diverged"]]
        assert both["methods"][name]["accuracies"] == pytest.approx(row["accuracies"], abs=1)


def test_all_methods_of_a_seed_come_before_the_next_seed(compared):
    *_, out = compared
    lines = [line.removeprefix("== ").partition(": ") for line in out.splitlines() if line.startswith("== ")]
    order = [run for run, _, _ in lines]
    assert [count.partition(",")[0] for _, _, count in lines] == [f"run {k} of 6" for k in range(1, 7)]
    assert order == [f"{method}, seed {seed}" for seed in (0, 1) for method in METHODS]


def test_the_runs_become_a_comparison(compared):
    workdir, *_ = compared
    result = result_of(workdir)
    assert list(result["methods"]) == list(METHODS)
    for method, made in (("ssdkd", 32), ("noise_kd", 0)):
        row = result["methods"][method]
        summaries = [tiny_job.summary(workdir / method / f"seed{seed}") for seed in (0, 1)]
        assert row["accuracies"] == [summary["student_accuracy"] for summary in summaries]
        assert row["mean"] == pytest.approx(sum(row["accuracies"]) / 2)
        assert row["images_made"] == row["images_kept"] == made
        assert row["memory_bytes"] == max(summary["memory_bytes"] for summary in summaries)
        assert [len(curve) for curve in row["curves"]] == [2, 2]
        assert [curve[-1][1] for curve in row["curves"]] == row["accuracies"]
        assert (row["seconds"]["synthesis"] > 0) == (made > 0)
        assert row["seconds"]["synthesis"] < row["seconds"]["whole"]
    assert {summary["teacher_sha256"] for summary in summaries} == {result["teacher_sha256"]}
    page = (workdir / "comparison.html").read_text()
    assert page.startswith("<!DOCTYPE html>") and page.count("<img") > 2


def test_a_method_that_diverges_costs_no_other_its_run(compared):
    workdir, _, _, out = compared
    row = result_of(workdir)["methods"]["scratch"]
    assert row["accuracies"] == [] and row["mean"] is None
    assert [failure["seed"] for failure in row["diverged"]] == [0, 1]
    assert all("stopped" in failure["message"] for failure in row["diverged"])
    assert "scratch, seed 0 diverged:" in out
    table = (workdir / "comparison.md").read_text()
    assert "| scratch | – (2 diverged) |" in table and "Diverged: scratch, seed 1:" in table


def test_the_program_finds_what_is_finished(compared):
    workdir, cache_dir, *_ = compared
    students = {path: path.stat().st_mtime_ns for path in workdir.rglob("variables")}
    status, out, err = finish(start(workdir, cache_dir))
    assert (status, err) == (0, "")
    assert out.count("is finished") == 4 and "to resume" not in out
    assert {path: path.stat().st_mtime_ns for path in workdir.rglob("variables")} == students != {}


def test_a_second_call_runs_nothing(compared, capsys):
    workdir, cache_dir, *_ = compared
    runs = [path for path in workdir.rglob("*") if path.is_file() and path.parent != workdir and path.name != ".lock"]
    before = {path: path.stat().st_mtime_ns for path in runs}
    earlier = result_of(workdir)["methods"]
    methods = ["noise_kd", "ssdkd"]
    config = tiny_job.config(cache_dir)
    config.update_from_flattened_dict(settings(str(cache_dir), methods))
    comparison.compare(config, methods, 2, workdir)
    out = capsys.readouterr().out
    assert out.count("is finished") == 4
    assert "not in the table" not in out, "scratch diverged"
    assert {path: path.stat().st_mtime_ns for path in runs} == before
    assert result_of(workdir)["methods"] == {name: earlier[name] for name in ("noise_kd", "ssdkd")}


# In this process, without a run


@pytest.mark.parametrize(
    ("methods", "seeds", "fields", "expected"),
    [
        (["ssdkd", "sskd"], 1, {}, "--methods: unknown method 'sskd'; did you mean 'ssdkd'? known are: ssdkd, "),
        (["ssdkd", ""], 1, {}, "--methods: unknown method ''; known are"),
        (["ssdkd", "fast", "ssdkd"], 1, {}, "--methods names ssdkd more than once"),
        (
            ["fastdfkd", "ssdkd", "fastdfkd10"],
            1,
            {},
            "--methods names fastdfkd and fastdfkd10, which are the same with",
        ),
        (["ssdkd"], 0, {}, "--seeds is 0, expected at least 1"),
        (["ssdkd"], 1, {"epochs": 0}, "epochs is 0 and evaluate_on is test"),
        (["ssdkd"], 1, {"evaluate_on": "none"}, "use --config.epochs=1 or more and --config.evaluate_on=test"),
        (["ssdkd", "fast"], 1, {"fast__kd_steps": 0}, "fast.kd_steps is 0, expected at least 1"),
        (["ssdkd"], 2, {"seed": 2**31 - 1}, "the last of 2 seeds is 2147483648"),
        (["ssdkd", "fast"], 1, {"devices": 3}, "cannot be divided over 3 devices"),
    ],
    ids=["unknown", "empty", "repeated", "same", "seeds", "epochs", "evaluation", "section", "last_seed", "devices"],
)
def test_mistakes(tmp_path, methods, seeds, fields, expected):
    with pytest.raises(UserError) as error:
        comparison.compare(tiny_job.config(tmp_path, **fields), methods, seeds, tmp_path / "comparison")
    assert expected in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "comparison").exists()


def test_a_method_of_ones_own_under_two_paths_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("from ssdkd_jax.methods.baselines import NoiseKD\n")
    methods = ["mine.py:NoiseKD", "./mine.py:NoiseKD"]
    with pytest.raises(UserError, match="--methods names NoiseKD more than once, expected each method once"):
        comparison.compare(tiny_job.config(tmp_path), methods, 1, tmp_path / "comparison")


@pytest.mark.parametrize("epochs", [1, 3, 7, 10, 30])
def test_every_method_takes_as_many_student_steps(tmp_path, epochs):
    """Also where a run is so short that its warm-up is shortened."""
    config = tiny_job.config(tmp_path, epochs=epochs, ssdkd__warmup_epochs=10, fast__warmup_epochs=6)
    configs = comparison._configs(config, ["ssdkd", "fast", "scratch"], 1)
    student_epochs = {method: one.epochs - fitting_warmup(one, method) for (method, _), one in configs.items()}
    assert len(set(student_epochs.values())) == 1 and student_epochs["scratch"] >= 1
    assert max(one.epochs for one in configs.values()) == epochs


def test_methods_can_be_added_later(tmp_path):
    config = tiny_job.config(tmp_path, epochs=30, ssdkd__warmup_epochs=20)
    alone, both = (comparison._configs(config, methods, 1) for methods in (["noise_kd"], ["noise_kd", "ssdkd"]))
    assert alone["noise_kd", 0] == both["noise_kd", 0]
    assert comparison._epochs_in_words(both) == "noise_kd 10, ssdkd 30 (20 of them warm-up)"


def test_a_teachers_file_is_asked_for_its_architecture_before_the_first_run(tmp_path, monkeypatch):
    monkeypatch.setattr("ssdkd_jax.jobs.scheduling.run_job", None)
    teacher = tmp_path / "lenet5"
    variables = models.create_model("lenet5").init(jax.random.key(0), jnp.zeros((1, 32, 32, 1)))
    saved_network.save_network(
        teacher,
        variables,
        {
            "architecture": "lenet5",
            "num_classes": 10,
            "image_shape": (32, 32, 1),
            "mean": (0.5,),
            "std": (0.5,),
            "class_names": list("0123456789"),
        },
    )
    config = tiny_job.config(tmp_path, teacher__name="", teacher__path=str(teacher), image_size=32)
    with pytest.raises(UserError, match="the teacher lenet5 has no BatchNorm layers, but fast needs"):
        comparison.compare(config, ["noise_kd", "fast"], 1, tmp_path / "comparison")


def test_the_folder_of_a_run_takes_no_comparison_and_the_other_way_round(compared):
    workdir, cache_dir, *_ = compared
    config = tiny_job.config(cache_dir)
    with pytest.raises(UserError, match="holds a single run, not a comparison; choose another: --workdir=DIR"):
        comparison.compare(config, ["noise_kd"], 1, workdir / "ssdkd" / "seed0")
    with pytest.raises(UserError, match="holds a comparison, not a single run"):
        run_job(config, workdir)


def test_finished_runs_that_stay_out_of_the_table_are_named(compared, capsys):
    workdir, *_ = compared
    comparison._tell_what_stays_out({("noise_kd", 0): None, ("scratch", 0): None}, workdir)
    assert "not in the table: ssdkd; name them in --methods" in capsys.readouterr().out


def test_a_damaged_run_is_to_be_made_again(compared, tmp_path):
    workdir, *_ = compared
    run = shutil.copytree(workdir / "ssdkd" / "seed0", tmp_path / "run")
    (run / "metrics.jsonl").unlink()
    with pytest.raises(UserError, match=r"metrics.jsonl is missing.*; the student beside it is as it was"):
        run_files.read_metrics(run)
    summary = tiny_job.summary(run)
    del summary["teacher_sha256"]
    (run / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(UserError, match=r"summary\.json is damaged: teacher_sha256 is missing; move it elsewhere"):
        read_summary(run)


def test_a_folder_of_another_experiment_is_refused_before_any_work(compared, tmp_path, monkeypatch):
    """Though the first run in order is not finished."""
    workdir, cache_dir, *_ = compared
    (tmp_path / "noise_kd").symlink_to(workdir / "noise_kd")
    monkeypatch.setattr("ssdkd_jax.jobs.run._run", lambda *_: pytest.fail("worked before it looked"))
    with pytest.raises(UserError, match="belongs to another experiment"):
        comparison.compare(tiny_job.config(cache_dir), ["ssdkd", "noise_kd"], 1, tmp_path)


def test_an_interruption_writes_what_is_there(compared, tmp_path, monkeypatch):
    """And leaves the finished runs that it has not reached yet in the table."""
    workdir, cache_dir, *_ = compared
    for method in ("ssdkd", "noise_kd"):
        (tmp_path / method).mkdir()
        (tmp_path / method / "seed1").symlink_to(workdir / method / "seed1")

    def run(config, folder, *, command, interruption):
        if not (folder / "summary.json").exists():
            raise Interrupted("stopped")
        return read_summary(folder)

    monkeypatch.setattr("ssdkd_jax.jobs.scheduling.run_job", run)
    config = tiny_job.config(cache_dir)
    config.update_from_flattened_dict(settings(str(cache_dir), ["ssdkd", "noise_kd"]))
    with pytest.raises(Interrupted):
        comparison.compare(config, ["ssdkd", "noise_kd"], 2, tmp_path)
    methods = result_of(tmp_path)["methods"]
    assert [methods[name]["seeds"] for name in ("ssdkd", "noise_kd")] == [[1], [1]]
    assert "(1 to come)" in (tmp_path / "comparison.md").read_text()


@pytest.mark.parametrize(
    ("method", "fields", "expected"),
    [
        ("transfer_kd", {}, "transfer_kd.images is '', expected another data set"),
        ("transfer_kd", {"transfer_kd__images": "digits"}, "transfer_kd.images is digits, the run's own data set"),
        ("transfer_kd", {"transfer_kd__images": "svhn_cropped", "data_dir": "/none"}, "svhn_cropped is not prepared"),
        ("scratch", {"scratch__share": 0.001}, "scratch.share holds 0.001, which is less than one image of a class"),
        ("dfq", {"dfq__kd_steps": 61}, "dfq.kd_steps is 61, expected a multiple of"),
        ("cmi", {"teacher__name": "lenet5", "image_size": 32}, "the teacher lenet5 has no BatchNorm layers, but cmi"),
        ("cmi", {"cmi__feature_layers": ("layer9.0",)}, "cmi: the network has no layers layer9.0"),
    ],
)
def test_mistakes_of_any_method_are_found_before_the_first_run(tmp_path, monkeypatch, method, fields, expected):
    def forbidden(*args, **kwargs):
        raise AssertionError("something ran")

    monkeypatch.setattr("ssdkd_jax.jobs.scheduling.run_job", forbidden)
    with pytest.raises(UserError) as error:
        comparison.compare(tiny_job.config(tmp_path, **fields), ["noise_kd", method], 1, tmp_path / "comparison")
    assert expected in str(error.value) and "\n" not in str(error.value)

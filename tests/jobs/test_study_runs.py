"""A study's numbers, table and plot, from summaries written by hand."""

import json

import numpy as np
import pytest

from ssdkd_jax.errors import Diverged, UserError
from ssdkd_jax.jobs import study_runs
from ssdkd_jax.jobs.finished_runs import row_of
from ssdkd_jax.jobs.study import Study
from ssdkd_jax.reports import result_checks
from ssdkd_jax.reports.study_plot import study_plot
from tests import tiny_job
from tests.finished_run import compared_run, run_buffer
from tests.reports.sample_results import row, study

VARIANTS = {"default": {}, "no $\\phi": {"ssdkd.modulated_term": "none"}, "slow": {"ssdkd.kd_steps": 9}}
ACCURACIES = {"default": (90.0, 91.0, 92.0), "no $\\phi": (88.0, 89.5, None), "slow": (None, None, 70.0)}


def ended(planned, accuracies):
    """What `run_all` tells of runs with these accuracies, None for one that diverged; and what they leave behind."""
    outcomes = []
    for run in planned:
        accuracy = accuracies[run.group][run.seed]
        if accuracy is None:
            outcomes.append((run, Diverged("student_loss is nan; lower the learning rate")))
            continue
        summary = compared_run(run.config.method, run.seed, accuracy, student_steps=20).summary
        run.folder.mkdir(parents=True, exist_ok=True)
        (run.folder / "summary.json").write_text(json.dumps(summary.to_dict()))
        line = {"epoch": 4, "training_seconds": 9.5, "student_steps": 20, "student_accuracy": accuracy}
        (run.folder / "metrics.jsonl").write_text(json.dumps(line) + "\n")
        classes, confidence = np.array([0, 0, 0, 1]), np.array([0.05, 0.95, 1.0, 1.0])
        buffer = run_buffer(count=4, predicted_class=classes, confidence=confidence)
        draws = {"draws": np.array([2, 0, 10, 4])} if run.group == "default" else {}
        np.savez(run.folder / "buffer.npz", **buffer, **draws)
        outcomes.append((run, summary))
    return outcomes


@pytest.fixture
def run_study(tmp_path, monkeypatch):
    """run_study(accuracies, **arguments) -> the results, without a run."""

    def done(accuracies, out=tmp_path / "out.json", **arguments):
        def run_all(planned, folder, kind, at_once, on_end, **_):
            on_end(ended(planned, accuracies))

        monkeypatch.setattr(study_runs, "run_all", run_all)
        chosen = Study(tiny_job.config(tmp_path), VARIANTS, seeds=3)
        return study_runs.run_study(chosen, tmp_path / "study", out, **arguments)

    return done


def test_the_numbers_of_a_study(run_study, tmp_path):
    result = run_study(ACCURACIES, at_once=2)
    assert json.loads((tmp_path / "out.json").read_text()) == json.loads(json.dumps(result))
    assert result_checks.problem(result) is None
    default, changed, slow = result["variants"].values()
    assert (default["accuracies"], default["mean"], default["paired"]) == ([90.0, 91.0, 92.0], 91.0, None)
    assert changed["seeds"] == [0, 1] and [failure["seed"] for failure in changed["diverged"]] == [2]
    # Only the seeds of both are held against each other.
    assert changed["paired"]["seeds"] == [0, 1] and changed["paired"]["differences"] == [-2.0, -1.5]
    assert changed["paired"]["low"] < -1.75 < changed["paired"]["high"] and changed["paired"]["beyond_noise"] is False
    assert (slow["paired"]["mean"], slow["paired"]["low"]) == (-22.0, None)
    assert (slow["fields"], slow["student_steps"]) == ({"ssdkd.kd_steps": 9}, 20)
    assert default["curves"][0] == [[9.5, 90.0]] and default["step_curves"][0] == [[20.0, 90.0]]
    assert (result["seeds"], result["runs_at_once"]) == ([0, 1, 2], 2)
    images = default["images"][0]
    assert (images["source"], images["class_shares"]) == ("kept", [75.0, 25.0, 0.0])
    assert images["class_entropy"] == pytest.approx(0.51186, abs=1e-5)  # of 3/4 and 1/4 over that of thirds
    assert images["confidence_histogram"] == [25.0, *[0.0] * 8, 75.0]
    fewest, *_, median, _, _, _, _, most = images["draws_per_entry"]
    assert (fewest, median, most, len(images["draws_per_entry"])) == (0.0, 3.0, 10.0, 11)
    assert "draws_per_entry" not in changed["images"][0]
    table = (tmp_path / "study" / "study.md").read_text()
    assert "| slow | 70.00 (2 diverged) | -22.00 |" in table and "(study.png)" in table


def test_the_results_are_in_the_studys_folder_unless_another_file_is_named(run_study, tmp_path):
    result = run_study(ACCURACIES, out=None)
    place = tmp_path / "study" / "study.json"
    assert json.loads(place.read_text()) == json.loads(json.dumps(result))
    assert json.loads(json.dumps(run_study(ACCURACIES, out=place))) == json.loads(json.dumps(result))
    place.write_text('{"kind": "run"}')
    with pytest.raises(UserError, match=r"holds run, expected study to replace; choose another: --out=FILE\.json"):
        run_study(ACCURACIES, out=None)


def test_only_some_variants_and_seeds(run_study, tmp_path, capsys):
    finished = tmp_path / "study" / "no_phi" / "seed0" / "summary.json"
    finished.parent.mkdir(parents=True)
    finished.touch()
    result = run_study(ACCURACIES, only=["slow"], seeds=1)
    assert list(result["variants"]) == ["default", "slow"] and result["variants"]["slow"]["mean"] is None
    assert r"not in the table: no $\phi; name them in --only" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "entry", "expected"),
    [
        ("no phi", {"seeds": [0]}, "variants.no phi has accuracies, seeds and curves of different lengths"),
        ("no phi", {"mean": None}, "variants.no phi.mean is None, expected a number"),
        (
            "no phi",
            {"paired": {"mean": 1.0, "low": 0.5}},
            "variants.no phi.paired has some of low, high and beyond_noise",
        ),
    ],
)
def test_results_that_contradict_themselves(name, entry, expected):
    result = study()
    result["variants"][name] |= entry
    assert result_checks.problem(result).startswith(expected)
    assert result_checks.problem(study(variants={})) == "variants is {}, expected at least one"


def test_all_runs_diverged(run_study, tmp_path):
    with pytest.raises(UserError, match="all runs diverged; the first error: student_loss is nan"):
        run_study(dict.fromkeys(VARIANTS, (None,) * 3))
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize(
    ("out", "expected"),
    [
        ("s.json/a.json", "is in or at the folder of the variant a.json"),
        ("s.json/a.json/out.json", "is in or at the folder of the variant a.json"),
        ("s.json", "is at or above the study's folder"),
        ("link.json", "is at or above the study's folder"),
        ("s.json/experiment.json", "would have the name of a file that says what a folder is of"),
    ],
)
def test_results_in_the_place_of_something_else(tmp_path, out, expected):
    (tmp_path / "link.json").symlink_to("s.json")
    chosen = Study(tiny_job.config(tmp_path), {"a.json": {}}, seeds=1)
    with pytest.raises(UserError, match=rf"^--out=\S+ {expected}.*; choose another: --out=FILE.json$"):
        study_runs.run_study(chosen, tmp_path / "s.json", tmp_path / out)


def test_results_above_the_study(tmp_path):
    chosen = Study(tiny_job.config(tmp_path), {"a": {}}, seeds=1)
    with pytest.raises(UserError, match="is at or above the study's folder"):
        study_runs.run_study(chosen, tmp_path / "s.json" / "study", tmp_path / "s.json")


def test_results_of_other_runs_are_kept(run_study, tmp_path):
    run_study(ACCURACIES)
    before = (tmp_path / "out.json").read_bytes()
    with pytest.raises(UserError, match=r"out.json has results of the variant 'slow', which this .*: --out=FILE.json$"):
        run_study(ACCURACIES, only=["no $\\phi"])
    with pytest.raises(UserError, match=r"out.json has results of seed 2, which this command does not make"):
        run_study(ACCURACIES, seeds=2)
    (tmp_path / "out.json").write_text(before.decode().replace('"dataset": "digits"', '"dataset": "mnist"'))
    with pytest.raises(UserError, match=r"out.json has results of the data set mnist, which this command does not"):
        run_study(ACCURACIES)


def test_runs_that_have_not_ended_have_no_results_to_keep(run_study, tmp_path):
    run_study(ACCURACIES)
    out = tmp_path / "out.json"
    found = json.loads(out.read_text())
    found["variants"]["stopped"] = {**row_of([], []), "fields": {}}
    found["seeds"].append(3)
    out.write_text(json.dumps(found))
    run_study(ACCURACIES)
    assert "stopped" not in json.loads(out.read_text())["variants"]
    found["variants"]["stopped"]["diverged"] = [{"seed": 0, "message": "not finite"}]
    out.write_text(json.dumps(found))
    with pytest.raises(UserError, match="has results of the variant 'stopped', which this command does not make"):
        run_study(ACCURACIES)


def test_damaged_results_are_not_replaced(run_study, tmp_path):
    run_study(ACCURACIES)
    out = tmp_path / "out.json"
    out.write_text(out.read_text().replace('"seeds": [', '"seeds": ["0", '))
    with pytest.raises(UserError, match=r"out\.json: .*seeds\[0\] is '0', .*; choose another: --out=FILE\.json$"):
        run_study(ACCURACIES)


def test_a_mistake_is_told_in_the_words_of_a_study_file(tmp_path):
    chosen = Study(tiny_job.config(tmp_path), {"a": {"fast.kd_steps": 1}}, seeds=1)
    with pytest.raises(UserError, match=r"^a: fast\.kd_steps has no effect on ssdkd; did you mean ssdkd\.kd_steps"):
        study_runs.run_study(chosen, tmp_path / "study", tmp_path / "out.json")
    assert not (tmp_path / "study").exists()


def test_a_plot_of_whatever_names_and_numbers():
    variants = {f"{name}{number}": row() for number in range(12) for name in ("_", "$\\frac")}
    assert study_plot(study({**variants, "none yet": row((), ())})).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("study.md", b"# My notes", "study.md is not what this program writes, and would be replaced"),
        ("study.png", b"precious", "study.png is not what this program writes, and would be replaced"),
        ("study.png", b"\x89PNG of mine", "study.png is without its study.md, and would be replaced; nothing was wr"),
        ("out.json", b'{"title": "of my thesis"}', "out.json holds something else, expected study to replace"),
    ],
)
def test_what_is_no_study_is_not_replaced(run_study, tmp_path, name, content, expected):
    run_study(ACCURACIES, seeds=1)
    study_runs.check_can_write(tmp_path / "study")
    path = tmp_path / name if name == "out.json" else tmp_path / "study" / name
    path.write_bytes(content)
    if b"PNG" in content:
        (tmp_path / "study" / "study.md").unlink()
    with pytest.raises(UserError, match=expected):
        run_study(ACCURACIES)
    assert path.read_bytes() == content


def test_damaged_files_of_one_run_cost_the_study_a_part(run_study, tmp_path, monkeypatch, capsys):
    whole = ended

    def damaged(planned, accuracies):
        outcomes = whole(planned, accuracies)
        (planned[0].folder / "metrics.jsonl").write_text("{garbage}\n\n")
        (planned[0].folder / "buffer.npz").write_bytes(b"")
        return outcomes

    monkeypatch.setitem(run_study.__globals__, "ended", damaged)
    result = run_study(ACCURACIES, only=["slow"], seeds=2)
    row = result["variants"]["default"]
    assert row["accuracies"] == [90.0, 91.0] and row["images"][0] is None and row["images"][1]
    assert (row["curves"][0], row["step_curves"][0]) == ([], []) and row["curves"][1]
    assert result_checks.problem(result) is None
    out = capsys.readouterr().out
    assert out.count("the results go on without its curve; ") == out.count("without its images' numbers; ") == 1

"""Recording, merging and reading results, with files of any version and of wrong types."""

import copy
import json
import pathlib

import pytest

from ssdkd_jax.reports import result_checks, tables
from ssdkd_jax.reports.results_files import folder_to_record, merge, path_of, read_result, read_results, record
from tests.refusals import refusal
from tests.reports.sample_results import ablation, comparison, row, run, study

RESULTS = pathlib.Path(__file__).parents[2] / "results"
OLD = {"images_kept": "synthetic_images", "images_made": "synthesised_images", "baselines": "references"}


def put(path, content):
    path.parent.mkdir(exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def changed(content, where, value):
    """A copy with another value at a path such as "methods.ssdkd.mean"; `...` removes it."""
    content = copy.deepcopy(content)
    *parents, last = where.split(".")
    inner = content
    for name in parents:
        inner = inner[name]
    inner[last] = value
    if value is ...:
        del inner[last]
    return content


def finished_run(folder, **changes):
    summary = {name: value for name, value in run(**changes).items() if name != "kind"}
    put(folder / "summary.json", {OLD.get(name, name): value for name, value in summary.items()})
    lines = [
        {"epoch": 1, "seconds": 9.0, "bn_loss": 1.0},
        {"epoch": 2, "seconds": 12.0, "training_seconds": 2.0, "student_accuracy": 98.0, "bn_loss": 1.0},
        {"epoch": 2, "seconds": 13.0, "training_seconds": 3.0, "student_accuracy": 97.0, "buffer_size": "many"},
    ]
    put(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines) + '{"epoch": 3, "sec')
    return folder


def test_what_is_no_folder_is_not_recorded(tmp_path):
    (tmp_path / "file").touch()
    folder = finished_run(tmp_path / "run")
    for path, what, meant in (
        (tmp_path / "file", f"{tmp_path}/file is a file", "DIR"),
        (tmp_path / "nowhere", f"there is no folder {tmp_path}/nowhere", "DIR"),
        (folder / "summary.json", f"{folder}/summary.json is a file", folder),
    ):
        expected = f"{what}; expected the folder of a finished run or of a comparison: --record={meant}"
        assert refusal(folder_to_record, str(path)) == expected
    assert folder_to_record(str(folder)) == folder
    expected = f"there is no folder {tmp_path}/file with results; give that in which they are kept: --results=DIR"
    assert refusal(read_results, tmp_path / "file") == expected


def test_a_run_is_kept_with_its_evaluated_epochs_under_todays_names(tmp_path):
    record(finished_run(tmp_path / "run"), tmp_path / "kept.json")
    kept = json.loads((tmp_path / "kept.json").read_text())
    assert kept["curve"] == [{"epoch": 2, "seconds": 13.0, "training_seconds": 3.0, "student_accuracy": 97.0}]
    assert {name: kept[name] for name in run()} == run()


@pytest.mark.parametrize(
    ("there", "same"),
    [
        ({"student_sha256": "1" * 64}, True),
        ({"command": "x --workdir=here"}, True),
        ({}, False),
        ({"student_sha256": None}, False),
        ({"seconds": 3}, False),
    ],
    ids=["student", "command", "nothing known", "student unknown", "damaged"],
)
def test_another_run_is_replaced_on_request_only(tmp_path, there, same):
    folder, path = (
        finished_run(tmp_path / "run", command="x --workdir=here", student_sha256="1" * 64),
        tmp_path / "r.json",
    )
    before = put(
        path, run(command="x --workdir=there", **there) if "command" not in there else run(**there)
    ).read_text()
    if not same:
        message = refusal(record, folder, path)
        assert message.startswith(
            f"{path} holds another run, of x --workdir=there; keep this one under another --name="
        )
        assert message.endswith("or replace that one with --overwrite") and path.read_text() == before
    record(folder, path, overwrite=not same)
    assert json.loads(path.read_text())["command"] == "x --workdir=here"


@pytest.mark.parametrize(
    ("there", "same"),
    [
        (comparison({"ssdkd": row((1,), (92.0,))}, (1,)), True),
        (comparison({"ssdkd": row((1,), (92.5,))}, (1,)), False),
        (comparison({"ssdkd": row((2,), (92.0,))}, (2,)), False),
        (comparison({"dafl": row()}), False),
        (comparison(epochs=3), False),
    ],
    ids=["grown", "another accuracy", "another seed", "another method", "other epochs"],
)
def test_another_comparison_is_replaced_on_request_only(tmp_path, there, same):
    put(tmp_path / "work" / "comparison.json", comparison())
    path = put(tmp_path / "kept.json", there | {"command": "x --seeds=1"})
    if not same:
        assert "kept.json holds another comparison, of x --seeds=1; keep" in refusal(record, tmp_path / "work", path)
    record(tmp_path / "work", path, overwrite=not same)
    assert list(json.loads(path.read_text())["methods"]) == ["ssdkd", "cmi"]


@pytest.mark.parametrize("changes", [{}, {"epochs": 0}])
def test_what_is_no_finished_run_is_refused(tmp_path, changes):
    folder = tmp_path / "run"
    if changes:
        finished_run(folder, **changes)
    message = refusal(record, folder, tmp_path / "kept.json")
    assert "holds neither a finished run nor a comparison" in message and not (tmp_path / "kept.json").exists()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"seconds": 3}, "seconds is 3, expected an object"),
        ({"seconds": {"total": "long"}}, "seconds.total is 'long', expected a number"),
        ({"seconds": {"student": 1.0}}, "seconds.total is missing"),
        ({"student_accuracy": "98"}, "student_accuracy is '98', expected a number"),
        ({"student_accuracy": None}, "student_agreement is missing"),
        ({"best_student_accuracy": None}, "best_student_accuracy is None, expected a number"),
        ({"images_kept": 1.5}, "images_kept is 1.5, expected an integer"),
        ({"baselines": ["a"]}, "baselines is ['a'], expected an object"),
        ({"teacher": None}, "teacher is None, expected a string"),
        ({"seed": True}, "seed is True, expected an integer"),
    ],
)
def test_a_summary_of_wrong_types_is_named(tmp_path, changes, problem):
    folder = finished_run(tmp_path / "run", **changes)
    message = refusal(record, folder, tmp_path / "kept.json")
    assert message.startswith(f"{folder}/summary.json: {problem}; move {folder}/summary.json elsewhere")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("[1]", "holds a list: expected a JSON object"),
        ("{", "is not JSON"),
        ('"\\ud800"', "holds a str"),
        ({}, "kind is missing"),
        ({"kind": ["run"]}, "kind is ['run'], expected a string"),
        (changed(run(), "hardware", ...), "hardware is missing"),
        (changed(comparison(), "seeds", []), "seeds is [], expected at least one"),
        (changed(comparison(), "seeds", [0, "1"]), "seeds[1] is '1', expected an integer"),
        (changed(comparison(), "methods", []), "methods is [], expected an object"),
        (changed(comparison(), "methods.cmi", 3), "methods.cmi is 3, expected an object"),
        (changed(comparison(), "methods.cmi.mean", None), "methods.cmi.mean is None, expected a number"),
        (changed(comparison(), "methods.cmi.seconds", None), "methods.cmi.seconds is None, expected an object"),
        (
            changed(comparison(), "methods.cmi.seeds", [0]),
            "accuracies, seeds and curves of different lengths",
        ),
        (changed(comparison(), "methods.cmi.curves", [[[1]], []]), "curves[0][0] is [1], expected a pair of numbers"),
        (changed(comparison(), "methods.cmi.diverged", [{"seed": 1}]), "methods.cmi.diverged[0].message is missing"),
        (changed(comparison(), "methods.cmi.differs", 5), "methods.cmi.differs is 5, expected a string"),
        (changed(comparison(), "teacher_accuracy", 10**400), "teacher_accuracy is 1000"),
        (changed(ablation(), "variants.default", ...), "variants.default is missing"),
        (changed(ablation(), "variants.default.mean", "NaN"), "variants.default.mean is 'NaN', expected a number"),
        (changed(ablation(), "variants.no phi.exceeds_noise", 1), "exceeds_noise is 1, expected true or false"),
    ],
)
def test_a_results_file_of_wrong_types_is_named(tmp_path, content, problem):
    path = put(tmp_path / "results" / "broken.json", content)
    message = refusal(read_results, path.parent)
    assert message.startswith(str(path)) and problem in message and "record it again" in message


@pytest.mark.parametrize("result", [run(), comparison(), ablation(), study()], ids=lambda result: result["kind"])
def test_whatever_passes_the_checks_has_a_table(tmp_path, result):
    """Each field, removed or of another type, is either refused or not needed."""

    def fields(content, prefix=""):
        for name, value in content.items():
            yield prefix + name
            if isinstance(value, dict):
                yield from fields(value, f"{prefix}{name}.")

    refused = 0
    for where in fields(result):
        for value in (..., None, "text", 3, [3], {"a": "b"}, []):
            content = changed(result, where, value)
            if content.get("kind") != result["kind"]:
                continue
            if result_checks.problem(content):
                refused += 1
            else:
                tables.markdown(content)
                if result["kind"] in ("run", "ablation"):
                    tables.time_table([content])
    assert refused > 50


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_every_committed_result_passes_the_checks_and_has_a_table(path):
    assert tables.markdown(read_result(path)).count("|") > 20


def test_a_comparison_of_an_older_version_can_be_read(tmp_path):
    text = json.dumps(comparison())
    for today, before in OLD.items():
        text = text.replace(f'"{today}"', f'"{before}"')
    assert "synthesised_images" in text
    assert read_result(put(tmp_path / "old.json", text)) == comparison()


def merged(tmp_path, kept, new):
    put(tmp_path / "more" / "comparison.json", new)
    path = put(tmp_path / "kept.json", kept)
    merge(tmp_path / "more", path)
    return read_result(path)


def more_seeds(**changes):
    methods = {"ssdkd": row((3, 4), (94.0, 96.0)), "cmi": row((3,), (70.0,), diverged=[{"seed": 4, "message": "nan"}])}
    return {**comparison(methods, (3, 4)), **changes}


def test_the_seeds_of_another_comparison_are_added(tmp_path):
    new = more_seeds(command="python -m experiments.y", hardware="1 x GPU", date="2026-01-03")
    new["methods"]["ssdkd"] |= {"seconds": {"whole": 1.0, "synthesis": 0.5, "student": 0.5}, "memory_bytes": 6_000_000}
    new["versions"] = {"python": "3.11.7", "jax": "0.11.0"}
    result = merged(tmp_path, comparison(), new)
    ssdkd, cmi = result["methods"]["ssdkd"], result["methods"]["cmi"]
    assert result["seeds"] == [0, 1, 3, 4] and ssdkd["seeds"] == [0, 1, 3, 4] and cmi["seeds"] == [0, 1, 3]
    assert ssdkd["accuracies"] == [90.0, 92.0, 94.0, 96.0] and len(ssdkd["curves"]) == 4
    assert (ssdkd["mean"], ssdkd["std"]) == (93.0, pytest.approx((20 / 3) ** 0.5))
    assert cmi["mean"] == pytest.approx(84.0) and cmi["diverged"] == [{"seed": 4, "message": "nan"}]
    assert ssdkd["seconds"] == row()["seconds"] and ssdkd["seconds_of_seeds"] == [0, 1]
    assert ssdkd["memory_bytes"] == 6_000_000
    assert result["command"] == "python -m experiments.x; python -m experiments.y"
    assert result["hardware"] == "2 cores; 1 x GPU" and result["date"] == "2026-01-02; 2026-01-03"
    assert result["versions"] == {"python": "3.11.7", "jax": "0.10.2; 0.11.0"}
    text = tables.markdown(result)
    assert "Times are from seeds 0 to 1 only." in text
    assert "| cmi | 84.00 ± 12.17 (1 diverged) |" in text


def test_best_accuracies_are_joined_only_if_all_are_known(tmp_path):
    kept, new = comparison(), more_seeds()
    kept["methods"]["ssdkd"]["best_accuracies"] = [91.0, 93.0]
    assert merged(tmp_path, kept, new)["methods"]["ssdkd"]["best_accuracies"] is None
    new["methods"]["ssdkd"]["best_accuracies"] = [94.0, 97.0]
    assert merged(tmp_path, kept, new)["methods"]["ssdkd"]["best_accuracies"] == [91.0, 93.0, 94.0, 97.0]


def test_seeds_can_be_added_again_and_times_stay_those_of_the_first(tmp_path):
    first = merged(tmp_path, comparison(), more_seeds())
    methods = {"ssdkd": row((7,), (80.0,)), "cmi": row((7,), (80.0,))}
    result = merged(tmp_path, first, comparison(methods, (7,)))
    assert result["seeds"] == [0, 1, 3, 4, 7]
    assert result["methods"]["ssdkd"]["seconds_of_seeds"] == [0, 1]
    assert result["command"] == "python -m experiments.x" and result["hardware"] == "2 cores"


def test_curves_are_short_after_a_merge_too(tmp_path):
    long = [[float(second), 50.0] for second in range(1000)]
    new = more_seeds()
    new["methods"]["ssdkd"]["curves"] = [long, long]
    curves = merged(tmp_path, comparison(), new)["methods"]["ssdkd"]["curves"]
    assert [len(curve) for curve in curves] == [2, 2, 40, 40]


def test_a_method_without_finished_runs_takes_the_times_of_the_others(tmp_path):
    nothing = row((), (), diverged=[{"seed": 0, "message": "nan"}, {"seed": 1, "message": "nan"}])
    new = comparison({"ssdkd": row((3,), (94.0,))}, (3,))
    result = merged(tmp_path, comparison({"ssdkd": nothing, "cmi": row()}), new)
    ssdkd = result["methods"]["ssdkd"]
    assert ssdkd["mean"] == 94.0 and ssdkd["seconds"] == row()["seconds"] and "seconds_of_seeds" not in ssdkd
    assert result["methods"]["cmi"] == row()
    assert "| ssdkd | 94.00 (2 diverged) |" in tables.markdown(result)
    assert "| cmi | 91.00 ± 1.00 (1 to come) |" in tables.markdown(result)


def test_a_kept_file_of_an_older_version_takes_new_seeds(tmp_path):
    old = json.loads(json.dumps(comparison()).replace("images_made", "synthesised_images"))
    row_ = merged(tmp_path, old, more_seeds())["methods"]["ssdkd"]
    assert row_["images_made"] == 6400 and "synthesised_images" not in json.loads((tmp_path / "kept.json").read_text())


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"teacher_sha256": "0" * 64}, "different comparisons: teacher_sha256 is 0000"),
        ({"dataset": "cifar10"}, "different comparisons: dataset is cifar10 and digits"),
        ({"teacher": "lenet5"}, "different comparisons: teacher is lenet5"),
        ({"student": "lenet5"}, "different comparisons: student is lenet5"),
        ({"epochs": 50}, "different comparisons: epochs is 50 and 100"),
        ({"seeds": [1, 2]}, "has seed 1 of"),
        ({"methods": {"cmi": row((3,), (9.0,), given_images="noise")}}, "cmi was given noise and nothing"),
        ({"methods": 3}, "more/comparison.json: methods is 3, expected an object"),
    ],
)
def test_what_does_not_belong_together_is_not_merged(tmp_path, changes, problem):
    put(tmp_path / "more" / "comparison.json", more_seeds(**changes))
    path = put(tmp_path / "kept.json", comparison())
    before = path.read_text()
    assert problem in refusal(merge, tmp_path / "more", path)
    assert path.read_text() == before


def test_only_comparisons_are_merged(tmp_path):
    put(tmp_path / "more" / "comparison.json", more_seeds())
    assert "there is no" in refusal(merge, tmp_path / "more", tmp_path / "kept.json")
    path = put(tmp_path / "kept.json", run())
    assert "holds a result of kind 'run', not a comparison" in refusal(merge, tmp_path / "more", path)
    assert "holds no comparison to merge" in refusal(merge, finished_run(tmp_path / "run"), path)


@pytest.mark.parametrize("kept", [{"kind": "run"}, {"kind": "ablation"}, {"mine": 1}, [1]], ids=str)
def test_only_a_result_of_the_same_kind_is_replaced(tmp_path, kept):
    put(tmp_path / "comparison" / "comparison.json", comparison())
    path = put(tmp_path / "kept.json", kept)
    before = path.read_text()
    assert "choose another: --name=NAME" in refusal(record, tmp_path / "comparison", path)
    assert path.read_text() == before
    path.unlink()
    record(tmp_path / "comparison", path)
    record(tmp_path / "comparison", path)


def test_a_result_needs_a_file_in_a_folder_that_can_be_written(tmp_path):
    run_folder = finished_run(tmp_path / "run")
    record(run_folder, tmp_path / "new" / "results" / "a.json")
    (tmp_path / "new" / "b.json").mkdir()
    assert "b.json is a directory" in refusal(record, run_folder, tmp_path / "new" / "b.json")
    message = refusal(record, run_folder, tmp_path / "run" / "summary.json" / "c.json")
    assert "is no folder, but a file" in message and "--results=DIR" in message


@pytest.mark.parametrize("name", ["c.json", " ", "", "a ", "../a", "a/b", "..", ".hidden", "/"])
def test_names_that_are_none_of_a_file_are_refused(tmp_path, name):
    assert f"--name={name!r} is no plain name of a file" in refusal(path_of, tmp_path, name)


def test_a_damaged_log_is_not_blamed_on_a_flag_that_results_lacks(tmp_path):
    folder = finished_run(tmp_path / "run")
    put(folder / "metrics.jsonl", "{\n{}\n")
    message = refusal(record, folder, tmp_path / "kept.json")
    assert "metrics.jsonl, line 1 is not JSON" in message and "--workdir" not in message and "--record=DIR" in message
    assert path_of(tmp_path, "cifar10.v2") == tmp_path / "cifar10.v2.json"

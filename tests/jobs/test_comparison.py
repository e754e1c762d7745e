"""A comparison's numbers, table and page, from summaries written by hand."""

import json

import numpy as np
import pytest

from ssdkd_jax.errors import UserError
from ssdkd_jax.jobs import comparison
from ssdkd_jax.jobs.comparison import summarize
from ssdkd_jax.jobs.finished_runs import curve, folder_of, tell_other_seeds, training_parts
from ssdkd_jax.reports import charts, comparison_table, tables
from ssdkd_jax.reports.documents import fill
from ssdkd_jax.reports.results_files import record
from tests import tiny_job
from tests.finished_run import HOSTILE, SECONDS, Page, compared_run, run_buffer


def _result(runs=None, diverged=None, methods=("ssdkd", "cmi"), seeds=2, command="python -m experiments.compare"):
    default = [
        compared_run("ssdkd", 0, 90.0),
        compared_run("ssdkd", 1, 92.0),
        compared_run("cmi", 0, 80.0),
        compared_run("cmi", 1, 80.0),
    ]
    planned = [(method, seed) for seed in range(seeds) for method in methods]
    return summarize(default if runs is None else runs, diverged or {}, planned, command)


def _page(folder, result):
    comparison.write(folder, result)
    text = (folder / "comparison.html").read_text(encoding="utf-8")
    return text, Page(text)


def _keep_images(folder, method, **changes):
    folder_of(folder, method, 0).mkdir(parents=True)
    np.savez(folder_of(folder, method, 0) / "buffer.npz", **run_buffer(**changes))


def test_time_is_the_whole_training_without_teacher_compilation_and_evaluation():
    assert training_parts(SECONDS) == {"whole": 90.0, "synthesis": 20.0, "student": 60.0, "other": 10.0}
    without_evaluation = {"synthesis": 1.0, "student": 2.0, "baselines": 50.0, "total": 54.0}
    assert training_parts(without_evaluation) == {"whole": 4.0, "synthesis": 1.0, "student": 2.0, "other": 1.0}


def test_curves_are_over_the_seconds_of_training():
    metrics = [
        {"epoch": 1, "seconds": 14.0, "training_seconds": 0.5, "student_accuracy": 10.0},
        {"epoch": 2, "seconds": 18.0, "training_seconds": 3.5},
        {"epoch": 3, "seconds": 20.5, "training_seconds": 5.50049, "student_accuracy": 60.0},
    ]
    assert curve(metrics) == [[0.5, 10.0], [5.5, 60.0]]


def test_numbers_of_a_method():
    slower = SECONDS | {"total": 118.0, "student": 70.0}
    runs = [
        compared_run("ssdkd", 1, 92.0, memory_bytes=3_000_000, seconds=slower, hardware="1 x GPU", date="2026-03-04"),
        compared_run("ssdkd", 0, 90.0),
    ]
    result = _result(runs)
    row = result["methods"]["ssdkd"]
    assert (row["accuracies"], row["seeds"]) == ([90.0, 92.0], [0, 1])
    assert (row["mean"], row["std"]) == (91.0, pytest.approx(2**0.5))
    assert row["seconds"] == {"whole": 95.0, "synthesis": 20.0, "student": 65.0, "other": 10.0}
    assert row["memory_bytes"] == 3_000_000
    assert result["hardware"] == "1 x GPU; 2 cores" and result["date"] == "2026-03-04; 2026-03-05"
    assert result["methods"]["cmi"]["mean"] is None and result["methods"]["cmi"]["seconds"] is None
    assert json.loads(json.dumps(result)) == result


def test_versions_are_those_of_all_runs():
    """Older runs do not say which code made them."""
    newer = {"ssdkd_jax": "0.1.0 at commit 0123456789", "python": "3.12.1", "jax": "0.10.2"}
    assert _result([compared_run("ssdkd", 0), compared_run("ssdkd", 1, versions=newer)])["versions"] == {
        "python": "3.11.7; 3.12.1",
        "jax": "0.10.2",
        "ssdkd_jax": "unknown; 0.1.0 at commit 0123456789",
    }


def test_one_seed_has_no_spread_to_tell():
    result = _result([compared_run()], methods=("ssdkd",), seeds=1)
    assert result["methods"]["ssdkd"]["std"] == 0.0
    table = tables.markdown(result)
    assert "| ssdkd | 90.00 |" in table and "so the spread is unknown" in table


def test_memory_may_be_unknown():
    result = _result([compared_run(memory_bytes=None)], methods=("ssdkd",), seeds=1)
    assert result["methods"]["ssdkd"]["memory_bytes"] is None
    assert comparison_table.rows(result)[0][-1] == "–"


def test_the_table():
    diverged = {("cmi", 1): "student_loss is nan in epoch 5: stopped; start from scratch with a lower learning rate"}
    runs = [compared_run("cmi", 0, 80.0), compared_run("ssdkd", 0, 90.0), compared_run("ssdkd", 1, 92.0)]
    lines = tables.markdown(_result(runs, diverged)).splitlines()
    assert lines[2] == "| ssdkd | 91.00 ± 1.41 | 6,400 | 144 | 90.0 | 20.0 | 60.0 | 2.5 |"
    assert lines[3].startswith("| cmi | 80.00 (1 diverged) |")
    assert {line.count("|") for line in lines[:4]} == {9}
    assert "2 seeds (0 to 1)" in lines[5] and "Teacher convnet_32, 99.00 %" in lines[5]
    assert "Diverged: cmi, seed 1: student_loss is nan in epoch 5: stopped." in lines[5]
    assert lines[-1] == "`python -m experiments.compare`, 2 cores, 2026-03-05."


def test_different_teachers_are_not_compared():
    with pytest.raises(UserError, match="cmi, seed 0 had another teacher than ssdkd, seed 0") as caught:
        _result([compared_run("ssdkd"), compared_run("cmi", teacher_sha256="0" * 64)])
    assert "\n" not in str(caught.value)


def test_the_page_says_the_numbers_and_stands_alone(tmp_path):
    for method in ("ssdkd", "cmi"):
        _keep_images(tmp_path, method)
    text, page = _page(tmp_path, _result())
    for expected in ("Most accurate: ssdkd", "91.00 ± 1.41", "80.00 ± 0.00", "11.00 points ahead of cmi"):
        assert expected in page.text
    assert all(note in page.text for note in comparison_table.notes(_result()))
    assert "python -m experiments.compare" in page.text and "3a7bd3e2" * 8 in page.text
    assert "ssdkd, 91.00 %" in page.text and "teacher, 99.00 %" in page.text
    assert page.links and all(value.startswith(("data:image/", "#")) for value in page.links)
    assert len(page.ids) == len(set(page.ids))
    assert not {"script", "link", "iframe"} & {tag for tag, _ in page.tags}
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")
    assert text.count("<img") == 2 * 3 * 2, "two images of each of three classes for both methods"


def test_a_lead_within_the_noise_is_called_that(tmp_path):
    runs = [
        compared_run("ssdkd", 0, 90.0),
        compared_run("ssdkd", 1, 92.0),
        compared_run("cmi", 0, 89.0),
        compared_run("cmi", 1, 92.0),
    ]
    assert "not more than twice the standard error" in _page(tmp_path, _result(runs))[1].text
    assert "not more than" not in _page(tmp_path, _result())[1].text


def test_the_page_escapes_what_others_wrote(tmp_path):
    changes = {"dataset": HOSTILE, "teacher": HOSTILE, "student": HOSTILE, "hardware": HOSTILE}
    run = compared_run(HOSTILE.replace("/", ""), versions={HOSTILE: HOSTILE}, **changes)
    _keep_images(tmp_path, run.group, class_names=np.array([HOSTILE, "b", "c"]))
    diverged = {(run.group, 1): f"{HOSTILE} is nan"}
    text, page = _page(tmp_path, _result([run], diverged, methods=(run.group,), command=HOSTILE))
    assert "<script" not in text
    assert page.text.count(HOSTILE) > 5


def test_the_same_classes_in_the_same_columns_with_and_without_images(tmp_path):
    _keep_images(tmp_path, "ssdkd")
    _keep_images(tmp_path, "cmi", predicted_class=np.full(30, 2))
    runs = [compared_run("ssdkd"), compared_run("cmi", images_kept=0), compared_run("dafl")]
    text, page = _page(tmp_path, _result(runs, methods=("ssdkd", "cmi", "dafl"), seeds=1))
    rows = text[text.index('class="samples"') :].split("<tr>")[2:5]
    cells = [[cell.count("<img") for cell in row.split("<td>")[1:]] for row in rows]
    assert cells == [[2, 2, 2], [0, 0, 2], [0, 0, 0]]
    assert "ssdkdof 144 images" in page.text and "cmia sample" in page.text and "daflno buffer.npz" in page.text


def test_many_classes_are_a_choice(tmp_path):
    _keep_images(tmp_path, "ssdkd", classes=100, count=1000)
    text, page = _page(tmp_path, _result([compared_run()], methods=("ssdkd",), seeds=1))
    assert text.count("<img") == 20 and "kind0" in page.text and "kind99" in page.text


def test_no_images_and_no_curves_leave_a_page(tmp_path):
    text, page = _page(tmp_path, _result([compared_run(curve=())], methods=("ssdkd",), seeds=1))
    assert "No run evaluated an epoch" in page.text and "<img" not in text


def test_the_chart_draws_every_method(tmp_path):
    """Sixteen with different pens, and a logarithmic axis where the times need one."""
    names = [f"method{index}" for index in range(16)]
    pens = [charts.pen(index) for index in range(16)]
    assert len(set(pens)) == 16
    runs = [compared_run(name, 0, 50.0 + index) for index, name in enumerate(names)]
    text, page = _page(tmp_path, _result(runs, methods=names, seeds=1))
    (chart,) = [attributes for tag, attributes in page.tags if attributes.get("class") == "chart"]
    assert all(name in chart["aria-label"] for name in names)
    legend = text[text.index('class="legend columns"') :]
    assert legend.index("method15, 65.00 %") < legend.index("method0, 50.00 %"), "the most accurate first"
    assert all(f">{tick}</text>" in text for tick in ("2", "5", "10", "20", "50"))


def test_a_comparison_is_kept_with_short_curves_and_becomes_a_table(tmp_path):
    long = [(float(second), 50.0 + second / 10) for second in range(1000)]
    result = _result([compared_run(curve=long)], methods=("ssdkd",), seeds=1)
    comparison.write(tmp_path, result)
    record(tmp_path, tmp_path / "kept.json")
    kept = json.loads((tmp_path / "kept.json").read_text())
    (curve,) = kept["methods"]["ssdkd"]["curves"]
    assert len(curve) == 40 and (curve[0], curve[-1]) == ([0.0, 50.0], [999.0, 149.9])
    filled = fill("<!-- results:kept --><!-- end -->", {"kept": kept})
    assert (tmp_path / "comparison.md").read_text().strip() in filled


def test_a_folder_that_is_neither_a_run_nor_a_comparison_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds neither a finished run nor a comparison"):
        record(tmp_path, tmp_path / "kept.json")


def test_baselines_are_named_so_and_do_not_win(tmp_path):
    runs = [compared_run("ssdkd", 0, 90.0), compared_run("vanilla_kd", 0, 99.0, given_images="the real training set")]
    result = _result(runs, methods=("ssdkd", "vanilla_kd"), seeds=1)
    assert "| vanilla_kd (given the real training set) | 99.00 |" in tables.markdown(result)
    text, _ = _page(tmp_path, result)
    assert "Most accurate: ssdkd" in text


def test_collected_images_are_told_and_generated_ones_counted():
    given = "500 collected images of photographs"
    result = _result([compared_run("hidfd", 0, 90.0, given_images=given)], methods=("hidfd",), seeds=1)
    (line,) = (line for line in tables.markdown(result).splitlines() if line.startswith("| hidfd"))
    row = result["methods"]["hidfd"]
    assert line.startswith(f"| hidfd (given {given}) | 90.00 |")
    assert f"| {row['images_made']:,} | {row['images_kept']:,} |" in line


def test_other_numbers_of_student_steps_are_told():
    runs = [compared_run("ssdkd", 0, 90.0, student_steps=4000), compared_run("hidfd", 0, 80.0, student_steps=4000)]
    assert "with the same number of student steps for every method" in tables.markdown(_result(runs, seeds=1))
    runs[1] = compared_run("hidfd", 0, 80.0, student_steps=375000)
    text = tables.markdown(_result(runs, methods=("ssdkd", "hidfd"), seeds=1))
    assert "including the warm-up, with student steps: ssdkd 4,000, hidfd 375,000." in text


def test_what_is_no_config():
    with pytest.raises(UserError, match=r"the config is a int, expected an ml_collections.ConfigDict"):
        comparison.compare(5, ["ssdkd"], 1, "nowhere")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("comparison.json", "[1]", "comparison.json is damaged, it holds a list: expected a JSON object; nothing was"),
        ("comparison.json", '{"title": "of my thesis"}', "comparison.json is no comparison, and would be replaced"),
        ("comparison.json", '{"kind": "study", "seeds": []}', "comparison.json is no comparison, and would be"),
        ("comparison.md", "# My notes", "comparison.md is not what this program writes, and would be replaced; noth"),
        ("comparison.html", "<!DOCTYPE html><title>Mine", "comparison.html is not what this program writes"),
        ("comparison.md", None, "comparison.md is a directory, expected a file or nothing; choose another"),
    ],
)
def test_what_is_no_comparison_is_not_replaced(tmp_path, name, content, expected):
    comparison.write(tmp_path, _result())
    comparison.check_can_write(tmp_path)
    (tmp_path / name).unlink()
    comparison.check_can_write(tmp_path)
    (tmp_path / name).mkdir() if content is None else (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=expected):
        comparison.compare(tiny_job.config(tmp_path), ["ssdkd"], 1, tmp_path)
    assert content is None or (tmp_path / name).read_text() == content


@pytest.mark.parametrize("damaged", ["metrics.jsonl", "buffer.npz"])
def test_a_damaged_file_of_one_run_costs_the_comparison_a_part(tmp_path, monkeypatch, capsys, damaged):
    def run_all(planned, folder, kind, at_once, on_end, **_):
        for run in planned:
            _keep_run(run.folder)
        (planned[0].folder / damaged).write_bytes(b"{garbage}\n\n")
        on_end([(run, compared_run(run.group, run.seed).summary) for run in planned])

    monkeypatch.setattr(comparison, "run_all", run_all)
    result = comparison.compare(tiny_job.config(tmp_path), ["ssdkd", "cmi"], 2, tmp_path / "work")
    row, other = result["methods"]["ssdkd"], result["methods"]["cmi"]
    assert row["accuracies"] == other["accuracies"] == [90.0, 90.0]
    assert other["curves"] == [[[9.5, 90.0]]] * 2
    assert row["curves"] == ([[], [[9.5, 90.0]]] if damaged == "metrics.jsonl" else other["curves"])
    page = (tmp_path / "work" / "comparison.html").read_text()
    assert page.count("<img") == 2 * 3 * 2, "images of the other seed"
    lines = [line for line in capsys.readouterr().out.splitlines() if damaged in line]
    folder = tmp_path / "work" / "ssdkd" / "seed0"
    assert len(lines) == 1 and lines[0].startswith(f"ssdkd, seed 0: {folder / damaged}")
    assert f"move {folder} elsewhere and run the same command again, which makes this run again" in lines[0]


def _keep_run(folder):
    folder.mkdir(parents=True)
    line = {"epoch": 4, "training_seconds": 9.5, "student_accuracy": 90.0}
    (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    np.savez(folder / "buffer.npz", **run_buffer())


def test_seeds_that_stay_out_of_the_table_are_named(tmp_path, capsys):
    for method, seed in (("ssdkd", 0), ("ssdkd", 1), ("cmi", 5)):
        folder_of(tmp_path, method, seed).mkdir(parents=True)
        (folder_of(tmp_path, method, seed) / "summary.json").touch()
    tell_other_seeds(tmp_path, [("ssdkd", 0), ("ssdkd", 1)], "--config.seed=N")
    assert capsys.readouterr().out == ""
    tell_other_seeds(tmp_path, [("ssdkd", 0)], "--config.seed=N")
    assert capsys.readouterr().out == (
        "these seeds have finished runs but are not in the table: 1; --seeds=N and --config.seed=N choose which are\n"
    )

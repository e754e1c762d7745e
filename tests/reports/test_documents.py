"""Documents whose tables are made from results."""

import pytest

from ssdkd_jax.errors import UserError
from ssdkd_jax.reports.documents import fill, listed, refresh
from tests.reports.sample_results import ablation, comparison, row, run, study


def test_a_table_replaces_what_stood_between_its_markers():
    filled = fill("before <!-- results:one -->old<!-- end --> after", {"one": ablation()})
    assert "| no phi | 80.00 ± 0.00 | -11.00 | **yes** |" in filled
    assert "old" not in filled and filled.startswith("before <!--") and filled.endswith("<!-- end --> after")
    assert fill(filled, {"one": ablation()}) == filled


def test_times_of_several_results_become_one_table():
    filled = fill("<!-- results:time one two --><!-- end -->", {"one": ablation(), "two": run(dataset="cifar10")})
    assert "| digits (4 s) | 25.0 %" in filled and "| cifar10 (4 s) | 25.0 %" in filled


def test_the_evaluations_of_a_run_become_a_table():
    curve = [
        {"epoch": 20.0, "seconds": 90.0, "training_seconds": 60.0, "student_accuracy": 50.0},
        {"epoch": 40, "seconds": 180.0, "student_accuracy": 75.5},  # as older results have it
    ]
    filled = fill("<!-- results:curve one --><!-- end -->", {"one": run(curve=curve)})
    assert "| epoch | training (min) | student (%) |" in filled
    assert "| 20 | 1.0 | 50.00 |\n| 40 | 3.0 | 75.50 |\n\n`python -m experiments.x`, 2 cores, 2026-01-02." in filled


def test_a_race_tells_how_soon_one_is_where_the_others_end():
    curve = [[10.0, 50.0], [20.0, 80.0], [40.0, 90.0]]
    seconds = {"whole": 40.0, "synthesis": 10.0, "student": 30.0}
    methods = {
        "ssdkd": row(accuracies=(90.0, 90.0), curves=[curve, curve], seconds=seconds),
        "fast2": row(accuracies=(70.0, 80.0), seconds={**seconds, "whole": 50.0}),
        "nayer": row(accuracies=(95.0, 95.0), seconds={**seconds, "whole": 30.0}),
        "slow": row(accuracies=(50.0, 50.0), seconds={**seconds, "whole": 5.0}),
    }
    filled = fill("<!-- results:race one ssdkd --><!-- end -->", {"one": comparison(methods)})
    header = "| method | accuracy (%) | total (s) | ssdkd has that after (s) | share of its time | seed by seed |"
    assert header in filled
    # By seed: 70 % at 9 seconds, which ssdkd has at 20, and 80 %, too.
    assert "| fast2 | 75.00 | 50 | 20 | 0.40 | 2.22, 2.22 | 90.00 |" in filled
    assert "| nayer | 95.00 | 30 | – | – | –, – | 80.00 |" in filled
    assert "| slow | 50.00 | 5 | 10 | 2.00 | 1.11, 1.11 | – |" in filled and "| ssdkd |" not in filled


def races(**changes):
    """A study in which `ssdkd` races; its seeds are at 80 and 90 % after 20 seconds."""
    images = [{"class_entropy": 0.9}, {"class_entropy": 0.8}]
    variants = {
        "default": row(method="ssdkd", accuracies=(80.0, 81.0)),
        "ssdkd, long": row(
            method="ssdkd",
            accuracies=(85.0, 91.0),
            images=images,
            curves=[[[10.0, 50.0], [20.0, 80.0], [40.0, 85.0]], [[10.0, 50.0], [20.0, 90.0], [40.0, 91.0]]],
        ),
        "fast2": row(
            method="fastdfkd2",
            accuracies=(75.0, 85.0),
            curves=[[[30.0, 70.0], [50.0, 75.0]], [[30.0, 70.0], [40.0, 85.0]]],
            seconds={"whole": 45.0, "synthesis": 10.0, "student": 30.0},
        ),
        "failed": row((), ()),  # all of its runs diverged
    }
    return study(variants, **changes)


RACES = "<!-- results:races a.png; fast2, failed; one ssdkd, long; two default --><!-- end -->"


def test_several_races_become_one_table():
    filled = fill(RACES, {"one": races(), "two": races(dataset="shapes")})
    assert "-->\n![Accuracy over seconds of training](a.png)\n\n| race | who | accuracy (%) | class entropy |" in filled
    assert "| one | ssdkd, long | 88.00 ± 1.00 | 0.850 | 10 |  |  |  |" in filled
    # The lead is 10 and 6 points; the mean curves are at 80 % after 20 of 45 seconds, seeds after 20 of 50 and of 40.
    assert "| one | fast2 | 80.00 ± 1.00 | – | 45 | +8.00 (-17.41 to 33.41) | 0.44 | 0.40, 0.50 |" in filled
    assert "failed |" not in filled and "No result in one failed; in two failed." in filled
    assert "| two | default | 80.50" in filled
    assert "one: digits, convnet_32 (99.00 %) to convnet_8, 2 seeds, 2 cores, 2026-01-02; two: shapes" in filled


def test_two_tables_with_one_picture_are_refused(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(2 * RACES)
    with pytest.raises(UserError, match=r"page\.md: two of its tables of races have the same picture, .*: a\.png"):
        refresh([page], {"one": races(), "two": races()})
    assert page.read_text() == 2 * RACES and not (tmp_path / "a.png").exists()


def test_the_picture_of_several_races_lies_beside_the_document(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(RACES)
    results = {"one": races(), "two": races()}
    assert refresh([page], results) == [page, tmp_path / "a.png"]
    first = (tmp_path / "a.png").read_bytes()
    assert first.startswith(b"\x89PNG") and refresh([page], results) == []
    results["two"]["variants"]["fast2"]["curves"][0][0][1] = 20.0  # which no number of the table shows
    assert refresh([page], results) == [tmp_path / "a.png"] and (tmp_path / "a.png").read_bytes() != first


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<!-- results:race two fast --><!-- end -->", r"two\.json: it has no fast; known are: ssdkd, cmi"),
        ("<!-- results:race one ssdkd --><!-- end -->", r"one\.json: it has no ssdkd; known are: default, no phi"),
        ("<!-- results:race one default --><!-- end -->", r"one\.json: its default has no curve"),
        ("<!-- results:race timed ssdkd --><!-- end -->", r"timed\.json: its times are from some of the seeds only"),
        ("<!-- results:race missing a --><!-- end -->", r"no results file missing\.json"),
        ("<!-- results:races a.png; x; study default --><!-- end -->", "none of these races has x; known are: default"),
        ("<!-- results:races a.png; ; study default --><!-- end -->", "has not the form"),
        ("<!-- results:races a.png; x; missing a --><!-- end -->", r"no results file missing\.json"),
        (
            "<!-- results:races a.png; no phi; two ssdkd; study default --><!-- end -->",
            r"two\.json holds comparison, expected a study",
        ),
        (
            "<!-- results:races a.png; no phi; study slow --><!-- end -->",
            r"study\.json: it has no slow; known are: default",
        ),
        (
            "<!-- results:races a.png; x; study --><!-- end -->",
            "has not the form <!-- results:races PICTURE",
        ),
        ("<!-- results:races a.png; x --><!-- end -->", "has not the form"),
        ("<!-- results:races ../a.png; x; study default --><!-- end -->", "has not the form"),
        ("<!-- results:races a.svg; x; study default --><!-- end -->", "has not the form"),
        ("<!-- results:missing --><!-- end -->", r"no results file missing\.json; known are: one, two"),
        ("<!-- results:time one missing --><!-- end -->", r"no results file missing\.json"),
        ("<!-- results:curve two --><!-- end -->", r"two\.json: it is no run whose students were evaluated"),
        ("<!-- results:curve missing --><!-- end -->", r"no results file missing\.json"),
        ("<!-- results:time two --><!-- end -->", r"two\.json is neither a run nor an ablation"),
        ("<!-- results:one -->", "close it"),
        ("<!-- results:one", "close it"),
        ("<!-- results:poem --><!-- end -->", r"poem\.json: there is no table for a result of kind 'poem'"),
    ],
)
def test_markers_that_cannot_be_filled_are_refused(text, problem):
    results = {"one": ablation(), "two": comparison()}
    if "study" in text:
        results["study"] = study()
    if "timed" in text:
        results["timed"] = comparison({"ssdkd": row(), "cmi": row(seconds_of_seeds=[0])})
    if "poem" in text:
        results["poem"] = {"kind": "poem"}
    with pytest.raises(UserError, match=problem) as caught:
        fill(text, results)
    assert "\n" not in str(caught.value)


def test_a_folder_and_a_file_are_refreshed(tmp_path):
    (tmp_path / "docs" / "below").mkdir(parents=True)
    for name in ("README.md", "docs/a.md", "docs/b.txt", "docs/below/c.md"):
        (tmp_path / name).write_text("<!-- results:one --><!-- end -->")
    (tmp_path / "docs/plain.md").write_text("no table")
    paths = listed(str(tmp_path / "README.md"), str(tmp_path / "docs"))
    assert refresh(paths, {"one": ablation()}) == [tmp_path / "README.md", tmp_path / "docs/a.md"]
    assert "no phi" in (tmp_path / "docs/a.md").read_text() and (tmp_path / "docs/plain.md").read_text() == "no table"
    assert "no phi" not in (tmp_path / "docs/b.txt").read_text() + (tmp_path / "docs/below/c.md").read_text()
    assert refresh(paths, {"one": ablation()}) == []


@pytest.mark.parametrize("line_end", ["\r\n", "\n"])
def test_line_ends_stay_as_they_are(tmp_path, line_end):
    path = tmp_path / "a.md"
    text = line_end.join(["# Title", "<!-- results:one -->", "<!-- end -->", "", "end", ""])
    path.write_bytes(text.encode())
    assert refresh([path], {"one": ablation()}) == [path]
    content = path.read_bytes().decode()
    assert "no phi" in content and content.count("\n") == content.count(line_end) > 9
    assert content.count("\r") == (content.count("\n") if "\r" in line_end else 0)
    assert refresh([path], {"one": ablation()}) == []


def test_a_mistake_in_one_document_leaves_all_as_they_were(tmp_path):
    for name, text in (("a.md", "<!-- results:one --><!-- end -->"), ("b.md", "<!-- results:gone --><!-- end -->")):
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=r"b\.md: there is no results file gone\.json"):
        refresh(listed("", str(tmp_path)), {"one": ablation()})
    assert (tmp_path / "a.md").read_text() == "<!-- results:one --><!-- end -->"
    (tmp_path / "b.md").write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"b\.md is not UTF-8"):
        refresh(listed("", str(tmp_path)), {"one": ablation()})


def test_files_and_folders_that_do_not_exist_or_have_no_tables_are_named(tmp_path):
    with pytest.raises(UserError, match=r"no file nothing\.md; give an existing one with --readme=FILE"):
        listed("nothing.md", "")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "plain.md").write_text("# No table")
    for wanted in ((f"{tmp_path}/docs/plain.md", ""), ("", f"{tmp_path}/docs")):
        with pytest.raises(UserError, match=r"docs.* has no table to renew; put <!-- results:NAME --><!-- end --> w"):
            listed(*wanted)
    for folder in ("nothing", str(tmp_path)):
        with pytest.raises(UserError, match=r"no folder .* with \*\.md files; give an existing one with --docs=DIR"):
            listed("", folder)

"""Every table, and the sentences under a comparison's."""

import pytest
import scipy.stats

from ssdkd_jax.errors import UserError
from ssdkd_jax.reports import comparison_table, tables
from ssdkd_jax.reports.seed_statistics import mean_and_std, paired, twice_standard_error
from tests.reports.sample_results import SOURCE, ablation, comparison, row, run, study


def test_a_run():
    text = tables.markdown(run())
    assert "| student | convnet_8, 98.00 % |" in text and "(not the result) | 98.50 %" in text
    assert "| same student on 10% real images | 94.00 % |" in text and "| epochs, seed | 100, 7 |" in text
    assert "| images | 1,440 synthetic ones |" in text
    assert "| seconds | 14 (synthesis 1, student 2, host 1) |" in text
    assert text.endswith("\n\n`python -m experiments.x`, 2 cores, 2026-01-02.")


def test_a_result_says_which_code_made_it():
    text = tables.markdown(run(versions={"ssdkd_jax": "0.1.0 at commit 0123456789", "jax": "0.10.2"}))
    assert text.endswith(", 2 cores, 2026-01-02, ssdkd_jax 0.1.0 at commit 0123456789.")


def test_a_run_without_real_images_has_an_agreement():
    text = tables.markdown(run(student_accuracy=None, teacher_accuracy=None, student_agreement=94.4))
    assert "agrees with the teacher on 94.40 %" in text and "not the result" not in text


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"images_kept": 0}, "| images | 6,400 synthetic ones, none of them kept |"),
        ({"images_kept": 0, "images_made": 0, "given_images": "noise"}, "| images | given: noise |"),
    ],
)
def test_a_run_that_keeps_no_images(changes, expected):
    assert expected in tables.markdown(run(**changes))


def test_a_comparison_has_a_column_for_each_cost():
    header, _, first, *_ = tables.markdown(comparison()).splitlines()
    assert header.endswith(
        "| images made | images kept | total (s) | synthesis (s) | student (s) | planned memory (MB) |"
    )
    assert first == "| ssdkd | 91.00 ± 1.00 | 6,400 | 144 | 10.0 | 4.0 | 5.0 | 5.0 |"


def test_what_is_missing_of_a_method_is_a_dash():
    optional = ("given_images", "images_made", "images_kept", "seconds", "memory_bytes")
    bare = {field: value for field, value in row(seeds=(), accuracies=()).items() if field not in optional}
    assert comparison_table.rows(comparison({"cmi": bare}))[0] == ("cmi", "– (2 to come)", *["–"] * 6)


def test_each_difference_from_a_publication_is_said_once():
    learned = "class embeddings are learned, in place of a text model's."
    methods = {"nayer": row(differs=learned), "cmi": row(), "nayer2": row(differs=learned), "zskt": row(differs="no.")}
    notes = comparison_table.notes(comparison(methods))
    without = comparison_table.notes(comparison(dict.fromkeys(methods, row(differs=""))))
    assert [note for note in notes if note not in without] == [f"nayer, nayer2: {learned}", "zskt: no."]
    assert len(notes) == len(without) + 2


def test_the_difference_of_a_method_is_known_where_an_older_result_does_not_say_it():
    older, newer = (" ".join(comparison_table.notes(comparison({"nayer": one}))) for one in (row(), row(differs="")))
    assert "nayer: one synthesis an epoch" in older and "nayer: one" not in newer


def test_best_accuracies_have_a_column_where_they_are_known():
    methods = {"ssdkd": row(best_accuracies=[91.0, 93.0]), "cmi": row(), "fast": row(best_accuracies=[91.0, None])}
    header, _, *lines = tables.markdown(comparison(methods)).splitlines()
    assert header.startswith("| method | accuracy (%) | best (picked on the test set) | images made |")
    assert lines[0].startswith("| ssdkd | 91.00 ± 1.00 | 92.00 ± 1.41 | 6,400 |")
    assert [line.split(" | ")[2] for line in lines[1:3]] == ["–", "–"]


def test_times_of_fewer_seeds_than_accuracies_are_named():
    five = row(seeds=range(5), accuracies=[90.0] * 5, seconds_of_seeds=[0, 1, 2])
    notes = " ".join(comparison_table.notes(comparison({"ssdkd": five, "cmi": five}, seeds=range(5))))
    assert "5 seeds (0 to 4)" in notes
    assert "Times are from seeds 0 to 2 only." in notes
    notes = " ".join(comparison_table.notes(comparison({"ssdkd": five, "cmi": row()}, seeds=(0, 1, 5))))
    assert "3 seeds (0, 1, 5)" in notes and "Times of ssdkd are from seeds 0 to 2 only." in notes
    assert "only" not in " ".join(comparison_table.notes(comparison()))


def test_a_study_has_each_difference_with_its_interval():
    header, _, first, second, _, notes, *_ = tables.markdown(study()).splitlines()
    assert header.startswith("| variant | accuracy (%) | difference (95 % interval) | images made |")
    assert first == "| default | 91.00 ± 1.00 |  | 6,400 | 144 | 10.0 | 4.0 | 5.0 |"
    assert second.startswith("| no phi | 81.00 ± 1.00 | **-10.00 (-11.00 to -9.00)** | 6,400 |")
    assert "2 seeds (0 to 1)" in notes and "2 runs at once" in notes and "from default, seed by seed" in notes


def test_a_study_has_the_entropy_of_classes_where_it_is_known_of_all():
    known = [{"class_entropy": 0.9}, {"class_entropy": 1.0}]
    variants = {"default": row(images=known), "no phi": row(images=known)}
    header, _, first, *_ = tables.markdown(study(variants)).splitlines()
    assert "| difference (95 % interval) | class entropy | images made |" in header and "|  | 0.95 | 6,400 |" in first
    variants["no phi"] = row(images=[{"class_entropy": 0.9}, None])
    assert "entropy" not in tables.markdown(study(variants))


def test_a_network_that_is_more_than_the_student_is_told():
    joint = {"student_network": "convnet_8_simkd_convnet_32", "student_parameters": 54_850}
    methods = {"hidfd": row(**joint), "ssdkd": row(student_parameters=6_274)}
    assert (
        "What hidfd trained is larger than the student: convnet_8_simkd_convnet_32 has 54,850 parameters; convnet_8 "
        "alone has 6,274."
    ) in tables.markdown(comparison(methods))
    assert "What full trained is larger" in tables.markdown(study({"full": row(**joint)}))
    assert "larger" not in tables.markdown(comparison())
    assert "| student | convnet_8_simkd_convnet_32 (54,850 parameters), 98.00 % |" in tables.markdown(run(**joint))


@pytest.mark.parametrize(
    ("paired", "expected"),
    [
        (None, ""),
        ({"mean": 0.5, "low": None, "high": None, "beyond_noise": None}, "+0.50"),
        ({"mean": 0.5, "low": -1.0, "high": 2.0, "beyond_noise": False}, "+0.50 (-1.00 to 2.00)"),
    ],
)
def test_a_difference_that_says_little(paired, expected):
    assert tables.markdown(study({"a": row(paired=paired)})).splitlines()[2].split(" | ")[2].strip() == expected


def test_a_study_of_one_seed():
    text = tables.markdown(study({"a|b": row((0,), (90.0,))}, seeds=(0,), runs_at_once=1))
    assert "| a\\|b | 90.00 |" in text and "so the spread is unknown" in text and "Student's" not in text


def test_a_variant_that_diverged():
    one = row((0,), (90.0,), diverged=[{"seed": 1, "message": "loss is nan; lower the rate"}])
    text = tables.markdown(study({"a": one}))
    assert "| a | 90.00 (1 diverged) |" in text and "Diverged: a, seed 1: loss is nan." in text


def test_an_ablation():
    text = tables.markdown(ablation())
    assert "| no phi | 80.00 ± 0.00 | -11.00 | **yes** |" in text and "| default | 91.00 ± 1.40 |  |  |" in text
    assert "2 seeds; teacher convnet_32 99.00 %." in text


def test_exactness_and_benchmark():
    networks = {"wrn16_1": {"parameters": 175066, "in": 3e-7, "out": 4e-7, "round_trip_exact": False}}
    checkpoints = {"a.th": {"architecture": "resnet20", "here": 91.73, "exported": 91.73}}
    text = tables.markdown({"kind": "exactness", **SOURCE, "networks": networks, "checkpoints": checkpoints})
    assert "| wrn16_1 | 175,066 | 3e-07 | 4e-07 | **no** |" in text
    assert "| a.th (resnet20) | 91.73 % | 91.73 % |" in text
    text = tables.markdown({"kind": "buffer_benchmark", **SOURCE, "milliseconds": {"insert": 11.564}})
    assert "| insert | 11.56 |" in text


def test_facts():
    text = tables.markdown({"kind": "facts", **SOURCE, "facts": {"kills": "20", "log": "every epoch once"}})
    assert "| what | found |\n| --- | --- |\n| kills | 20 |\n| log | every epoch once |" in text


def test_shares_of_time_add_up():
    *_, first, second = tables.time_table([ablation(), run(seconds={"total": 0.0})]).splitlines()
    assert first == "| digits (4 s) | 25.0 % | 50.0 % | 0.0 % | 0.0 % | 25.0 % |"
    assert second == "| digits (0 s) | – | – | – | – | – |"


def test_a_cell_cannot_break_its_table():
    text = tables.markdown(run(teacher="a|b\nc"))
    assert r"| teacher | a\|b c, 99.00 % |" in text


def test_a_kind_without_a_table_is_refused():
    with pytest.raises(UserError, match="no table for a result of kind 'poem'; known are: comparison, run"):
        tables.markdown({"kind": "poem", **SOURCE})


def test_long_curves_become_short_ones():
    long = comparison({"ssdkd": row(curves=[[[float(i), 2.0 * i] for i in range(1000)], [[1.0, 2.0]]])})
    first, second = comparison_table.thinned(long)["methods"]["ssdkd"]["curves"]
    assert len(first) == 40 and (first[0], first[-1]) == ([0.0, 0.0], [999.0, 1998.0]) and second == [[1.0, 2.0]]


def test_statistics_over_seeds():
    assert mean_and_std([90.0, 92.0]) == (91.0, pytest.approx(2**0.5))
    assert mean_and_std([90.0]) == (90.0, 0.0) and mean_and_std([]) == (None, None)
    assert twice_standard_error([90.0, 92.0], [91.0, 93.0]) == pytest.approx(2 * 2**0.5)
    assert twice_standard_error([90.0, 92.0], [91.0]) == pytest.approx(2.0)


def test_paired_differences_are_students():
    """Against SciPy's own test; the seeds share what both settings have in common."""
    values, baseline = [91.2, 88.0, 93.1, 89.9], [90.1, 87.2, 92.7, 88.6]
    found = paired(values, baseline)
    expected = scipy.stats.ttest_rel(values, baseline).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.differences == pytest.approx([1.1, 0.8, 0.4, 1.3]) and found.mean == pytest.approx(0.9)
    assert found.beyond_noise is True and found.mean < twice_standard_error(values, baseline)
    assert paired(baseline, values).beyond_noise is True
    assert paired([90.0, 92.0], [91.0, 92.5]).beyond_noise is False


def test_a_single_seed_has_a_difference_without_an_interval():
    assert paired([90.0], [88.0]) == ([2.0], 2.0, None, None) and paired([90.0], [88.0]).beyond_noise is None

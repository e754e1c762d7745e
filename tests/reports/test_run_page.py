"""The HTML report: what it says, that it stands alone, and what it does with incomplete or hostile inputs."""

import pathlib
import re

import numpy as np
import pytest

from ssdkd_jax.errors import UserError
from ssdkd_jax.reports import charts, pages
from ssdkd_jax.reports.run_page import write_report
from ssdkd_jax.reports.thumbnails import image_uri
from tests.finished_run import HOSTILE, Page, collected_sample, run_buffer, run_metrics, run_report, run_summary


def test_says_the_numbers(tmp_path):
    page = Page(run_report(tmp_path, buffer=run_buffer()))
    for expected in (
        "96.11 %",
        "98.33 %",
        "−2.22 points relative to the teacher",
        "1,234",
        "1 min 40 s",
        "3a7bd3e2" * 8,
    ):
        assert expected in page.text
    assert "same student on 10 % real images" in page.text and "+3.51" in page.text
    assert "python -m experiments.main --note='a<b'" in page.text
    assert page.text.index("96.11 %") < page.text.index("96.67 %"), "the best on the test set comes second"
    assert "not the result" in page.text


def test_shows_every_loss_and_every_part_of_the_time(tmp_path):
    page = Page(run_report(tmp_path))
    labels = [attributes.get("aria-label", "") for tag, attributes in page.tags if tag == "svg"]
    assert len(labels) == 4 and any("style loss" in label for label in labels)
    assert any("52.00 % to 54.00 %" in label for label in labels)
    assert "student1 min 00 s60.0 %" in page.text and "other7.0 s7.0 %" in page.text


def test_stands_alone_and_names_everything_once(tmp_path):
    text = run_report(tmp_path, buffer=run_buffer(real_class=np.arange(3), real_confidence=np.full(3, 0.9)))
    page = Page(text)
    assert page.links and all(value.startswith(("data:image/", "#")) for value in page.links)
    assert not {"script", "link", "iframe"} & {tag for tag, _ in page.tags}
    assert not re.search(r"@import|url\((?!#)", text)
    assert len(page.ids) == len(set(page.ids))
    assert {value[1:] for value in page.links if value.startswith("#")} <= set(page.ids)
    assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(page.ids)
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")
    assert '<html lang="en">' in text and "<title>lenet5_half distilled from lenet5" in text
    assert "Mean of the real images: 0.100." in page.text


@pytest.mark.parametrize("classes", [3, 40])
def test_escapes_what_others_wrote(tmp_path, classes):
    names = np.array([HOSTILE, *(f"kind{index}" for index in range(1, classes))])
    summary = run_summary(
        student=HOSTILE, dataset=HOSTILE, baselines={HOSTILE: 90.0}, versions={HOSTILE: HOSTILE}, extra_note=HOSTILE
    )
    summary["seconds"][HOSTILE] = 3.0
    metrics = [*run_metrics(), {"epoch": 5, f"{HOSTILE}_loss": 1.0}]
    text = run_report(tmp_path, summary, metrics, run_buffer(classes, class_names=names))
    assert "<script" not in text
    assert HOSTILE in Page(text).text


def test_without_real_data_the_agreement_stands_in(tmp_path):
    nothing = dict.fromkeys(("teacher_accuracy", "student_accuracy", "best_student_accuracy", "best_student_epoch"))
    summary = run_summary(**nothing, baselines={}, student_agreement=94.4)
    page = Page(run_report(tmp_path, summary, run_metrics("student_agreement"), run_buffer()))
    assert "94.40 %" in page.text and "No accuracy is known" in page.text
    assert "Agreement with the teacher over time" in page.text
    assert "Best on the test set" not in page.text and "real test images" not in page.text


@pytest.mark.parametrize("metrics", [[], [{"epoch": 1}], [{"epoch": 1, "seconds": None, "bn_loss": float("nan")}]])
def test_missing_keys_do_not_stop_it(tmp_path, metrics):
    page = Page(run_report(tmp_path, {}, metrics))
    assert "not measured" in page.text and "no evaluated epoch" in page.text


def test_time_starts_at_the_distillation_where_it_is_known(tmp_path):
    metrics = [{**record, "training_seconds": record["seconds"] - 9.0} for record in run_metrics()]
    text = run_report(tmp_path, metrics=metrics)
    assert "wall-clock time of the distillation (s)" in text and "from 52.00 % to 54.00 % in 31.0 s" in text
    del metrics[1]["training_seconds"]
    text = run_report(tmp_path, metrics=metrics)
    assert "wall-clock time of the run (s)" in text and "in 40.0 s" in text


def test_a_single_epoch_is_a_point_in_every_chart(tmp_path):
    text = run_report(tmp_path, metrics=[{**run_metrics()[0], "student_accuracy": 50.0}])
    drawn = [svg.partition("</svg>")[0] for svg in text.split('<svg class="chart"')[1:]]
    color = re.compile(rf'<use href="#[^"]*"[^>]*fill: ({"|".join(charts.COLORS)})')
    assert len(drawn) == 4 and all(color.search(svg) for svg in drawn)


def test_summaries_of_older_versions_are_shown(tmp_path):
    old = run_summary(synthetic_images=99, references={"same student": 90.0}, synthesised_images=640)
    old["seconds"] = {"inversion": 30.0, "distillation": 60.0, "total": 90.0}
    for name in ("images_kept", "baselines"):
        del old[name]
    text = Page(run_report(tmp_path, old)).text
    assert "Synthetic images99" in text and "same student90.00 %" in text
    assert "synthesis30.0 s33.3 %" in text and "images made640" in text


def test_a_fact_without_content_has_no_row(tmp_path):
    assert "differs" not in Page(run_report(tmp_path, run_summary(differs=""))).text
    assert "differslearned embeddings" in Page(run_report(tmp_path, run_summary(differs="learned embeddings"))).text


def test_concerns_are_told(tmp_path):
    text = run_report(tmp_path, run_summary(concerns=["epoch 5: the <generator> has collapsed"]))
    assert "<strong>Epoch 5: the &lt;generator&gt; has collapsed.</strong>" in text
    assert "<strong>" not in run_report(tmp_path, run_summary(concerns="damaged"))


def test_a_method_that_keeps_no_images(tmp_path):
    text = Page(run_report(tmp_path, run_summary(images_kept=0, images_made=6400), buffer=run_buffer())).text
    assert "6,400made, none of them kept" in text and "The sample of generated images: 30 images" in text
    text = Page(run_report(tmp_path, run_summary(images_kept=0, images_made=0), buffer=run_buffer())).text
    assert "The sample of the given images" in text and "in the final buffer" not in text


def test_no_template_switches_escaping_off():
    templates = list((pathlib.Path(pages.__file__).parent / "templates").glob("*.html"))
    assert templates and not any(re.search(r"\bsafe\b|autoescape", path.read_text()) for path in templates)


def test_half_a_last_line_and_repeated_epochs(tmp_path):
    run_report(tmp_path)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 4, "seconds": 45.0, "student_accuracy": 77.0}\n{"epoch": 5, "sec')
    text = Page(write_report(tmp_path).read_text()).text
    assert "student, 77.00 % at the end" in text


def test_a_missing_summary_is_named(tmp_path):
    run_report(tmp_path)
    (tmp_path / "summary.json").unlink()
    with pytest.raises(
        UserError, match=r"summary\.json is missing.*make one with `python -m experiments\.main"
    ) as caught:
        write_report(tmp_path)
    assert "\n" not in str(caught.value)


def test_without_a_log_and_images_there_are_no_curves_and_images(tmp_path):
    """As where a damaged file was moved elsewhere, which is what `run_files.unneeded` says."""
    assert "style loss" in run_report(tmp_path, buffer=run_buffer())
    for name in ("metrics.jsonl", "buffer.npz"):
        (tmp_path / name).unlink()
        text = write_report(tmp_path).read_text()
    assert "style loss" not in text and "<img" not in text and "96.11 %" in text


@pytest.mark.parametrize(
    "changes",
    [
        {"images": np.zeros((30, 8, 8), np.uint8)},
        {"images": np.zeros((30, 8, 8, 1), np.float32)},
        {"confidence": np.zeros(3)},
        {"predicted_class": np.full(30, -1)},
        {"class_names": np.array([None], dtype=object)},
        {"images": np.zeros((30, 0, 8, 1), np.uint8)},
        {"predicted_class": np.zeros((30, 1), np.int64)},
        collected_sample(images=np.zeros((2, 8, 8, 3), np.uint8)),
        collected_sample(counts=np.zeros(7, np.int64)),
    ],
)
def test_a_wrong_buffer_is_refused_in_one_line(tmp_path, changes):
    with pytest.raises(UserError, match=r"buffer\.npz") as caught:
        run_report(tmp_path, buffer=run_buffer(**changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "[1]", "{"])
def test_a_wrong_summary_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "summary.json").write_text(content)
    with pytest.raises(UserError, match=r"summary\.json") as caught:
        write_report(tmp_path)
    assert "\n" not in str(caught.value)


def test_many_classes_are_a_choice_and_the_page_stays_small(tmp_path):
    text = run_report(tmp_path, buffer=run_buffer(classes=100, side=32, channels=3, count=5000))
    assert "20 of 100 classes" in text
    assert text.count("<img") == 200 and len(text) < 3e6


def test_an_empty_class_and_an_empty_buffer(tmp_path):
    assert "no image of this class" in run_report(tmp_path, buffer=run_buffer(predicted_class=np.zeros(30, np.int32)))
    assert "The buffer is empty" in run_report(tmp_path, buffer=run_buffer(count=0))


def test_collected_images_stand_beside_generated_ones(tmp_path):
    text = run_report(tmp_path, buffer=run_buffer(**collected_sample()))
    assert text.count("<h4>collected") == 3 and "4,321" in text and text.count('alt="collected, seen as kind1"') == 2
    assert "Collected images: entropy 0.0 % of the largest possible." in text


def test_large_images_are_shrunk_and_small_ones_kept():
    noise = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    assert image_uri(noise[:32, :32]).startswith("data:image/png")
    large = image_uri(noise)
    assert large.startswith("data:image/jpeg") and len(large) < 20_000


def test_thinning_keeps_the_mean():
    x, y = charts.thin(np.arange(1000), np.arange(1000) * 2.0)
    assert len(x) == len(y) == 400 and x[0] == 1.0
    np.testing.assert_allclose(y, 2 * x)

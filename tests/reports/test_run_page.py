"""The HTML report: what it says, that it stands alone, and what it does with incomplete or hostile inputs."""

import html.parser
import json
import pathlib
import re

import numpy as np
import pytest

from ssdkd_jax.errors import UserError
from ssdkd_jax.reports import charts, pages
from ssdkd_jax.reports.run_page import write_report
from ssdkd_jax.reports.thumbnails import image_uri

HOSTILE = '<script>alert("$x_$")</script>'
VOID = {"meta", "img", "br", "link", "input"}


def _summary(**changes):
    return {
        "method": "ssd_kd",
        "dataset": "digits",
        "teacher": "lenet5",
        "student": "lenet5_half",
        "teacher_accuracy": 98.33,
        "student_accuracy": 96.11,
        "best_student_accuracy": 96.67,
        "best_student_epoch": 3,
        "student_sha256": "3a7bd3e2" * 8,
        "images_kept": 1234,
        "buffer_capacity": 2000,
        "epochs": 4,
        "seed": 7,
        "devices": 1,
        "platform": "cpu",
        "command": "python -m experiments.main --note='a<b'",
        "date": "2026-03-05",
        "seconds": {"teacher": 1.0, "compile": 2.0, "synthesis": 30.0, "student": 60.0, "total": 100.0},
        "baselines": {"same student on 10 % real images": 92.6},
        "versions": {"jax": "0.10.2"},
        **changes,
    }


def _metrics(key="student_accuracy"):
    records = [
        {"epoch": e, "seconds": 10.0 * e, "bn_loss": 9.0 / e, "style_loss": 1.0, "phi": 0.5} for e in range(1, 5)
    ]
    for record in records[1::2]:
        record[key] = 50.0 + record["epoch"]
    del records[2]["bn_loss"]
    return records


def _buffer(classes=3, side=8, channels=1, count=30, **changes):
    rng = np.random.default_rng(0)
    return {
        "images": rng.integers(0, 256, (count, side, side, channels), dtype=np.uint8),
        "predicted_class": np.arange(count) % classes,
        "confidence": rng.random(count, dtype=np.float32),
        "class_names": np.array([f"kind{index}" for index in range(classes)]),
        **changes,
    }


def _collected(**changes):
    """A sample of collected images of the second class alone."""
    arrays = {
        "images": np.zeros((2, 8, 8, 1), np.uint8),
        "class": np.ones(2, np.int64),
        "counts": np.array([0, 4321, 0]),
        **changes,
    }
    return {f"collected_{name}": value for name, value in arrays.items()}


def _report(workdir, summary=None, metrics=None, buffer=None):
    """Writes the inputs, makes the report and returns its text."""
    (workdir / "summary.json").write_text(json.dumps(_summary() if summary is None else summary))
    lines = _metrics() if metrics is None else metrics
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if buffer is not None:
        np.savez(workdir / "buffer.npz", **buffer)
    path = write_report(workdir)
    assert path == workdir / "report.html"
    return path.read_text(encoding="utf-8")


class _Page(html.parser.HTMLParser):
    """Collects what a browser would: links, ids, visible text, and whether the tags are balanced."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.ids, self.text, self.open = [], [], [], "", []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href", "action", "data")]
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text += data


def test_says_the_numbers(tmp_path):
    page = _Page(_report(tmp_path, buffer=_buffer()))
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
    page = _Page(_report(tmp_path))
    labels = [attributes.get("aria-label", "") for tag, attributes in page.tags if tag == "svg"]
    assert len(labels) == 4 and any("style loss" in label for label in labels)
    assert any("52.00 % to 54.00 %" in label for label in labels)
    assert "student1 min 00 s60.0 %" in page.text and "other7.0 s7.0 %" in page.text


def test_stands_alone_and_names_everything_once(tmp_path):
    text = _report(tmp_path, buffer=_buffer(real_class=np.arange(3), real_confidence=np.full(3, 0.9)))
    page = _Page(text)
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
    summary = _summary(
        student=HOSTILE, dataset=HOSTILE, baselines={HOSTILE: 90.0}, versions={HOSTILE: HOSTILE}, extra_note=HOSTILE
    )
    summary["seconds"][HOSTILE] = 3.0
    metrics = [*_metrics(), {"epoch": 5, f"{HOSTILE}_loss": 1.0}]
    text = _report(tmp_path, summary, metrics, _buffer(classes, class_names=names))
    assert "<script" not in text
    assert HOSTILE in _Page(text).text


def test_without_real_data_the_agreement_stands_in(tmp_path):
    nothing = dict.fromkeys(("teacher_accuracy", "student_accuracy", "best_student_accuracy", "best_student_epoch"))
    summary = _summary(**nothing, baselines={}, student_agreement=94.4)
    page = _Page(_report(tmp_path, summary, _metrics("student_agreement"), _buffer()))
    assert "94.40 %" in page.text and "No accuracy is known" in page.text
    assert "Agreement with the teacher over time" in page.text
    assert "Best on the test set" not in page.text and "real test images" not in page.text


@pytest.mark.parametrize("metrics", [[], [{"epoch": 1}], [{"epoch": 1, "seconds": None, "bn_loss": float("nan")}]])
def test_missing_keys_do_not_stop_it(tmp_path, metrics):
    page = _Page(_report(tmp_path, {}, metrics))
    assert "not measured" in page.text and "no evaluated epoch" in page.text


def test_time_starts_at_the_distillation_where_it_is_known(tmp_path):
    metrics = [{**record, "training_seconds": record["seconds"] - 9.0} for record in _metrics()]
    text = _report(tmp_path, metrics=metrics)
    assert "wall-clock time of the distillation (s)" in text and "from 52.00 % to 54.00 % in 31.0 s" in text
    del metrics[1]["training_seconds"]
    text = _report(tmp_path, metrics=metrics)
    assert "wall-clock time of the run (s)" in text and "in 40.0 s" in text


def test_a_single_epoch_is_a_point_in_every_chart(tmp_path):
    text = _report(tmp_path, metrics=[{**_metrics()[0], "student_accuracy": 50.0}])
    drawn = [svg.partition("</svg>")[0] for svg in text.split('<svg class="chart"')[1:]]
    color = re.compile(rf'<use href="#[^"]*"[^>]*fill: ({"|".join(charts.COLORS)})')
    assert len(drawn) == 4 and all(color.search(svg) for svg in drawn)


def test_summaries_of_older_versions_are_shown(tmp_path):
    old = _summary(synthetic_images=99, references={"same student": 90.0}, synthesised_images=640)
    old["seconds"] = {"inversion": 30.0, "distillation": 60.0, "total": 90.0}
    for name in ("images_kept", "baselines"):
        del old[name]
    text = _Page(_report(tmp_path, old)).text
    assert "Synthetic images99" in text and "same student90.00 %" in text
    assert "synthesis30.0 s33.3 %" in text and "images made640" in text


def test_a_fact_without_content_has_no_row(tmp_path):
    assert "differs" not in _Page(_report(tmp_path, _summary(differs=""))).text
    assert "differslearned embeddings" in _Page(_report(tmp_path, _summary(differs="learned embeddings"))).text


def test_concerns_are_told(tmp_path):
    text = _report(tmp_path, _summary(concerns=["epoch 5: the <generator> has collapsed"]))
    assert "<strong>Epoch 5: the &lt;generator&gt; has collapsed.</strong>" in text
    assert "<strong>" not in _report(tmp_path, _summary(concerns="damaged"))


def test_a_method_that_keeps_no_images(tmp_path):
    text = _Page(_report(tmp_path, _summary(images_kept=0, images_made=6400), buffer=_buffer())).text
    assert "6,400made, none of them kept" in text and "The sample of generated images: 30 images" in text
    text = _Page(_report(tmp_path, _summary(images_kept=0, images_made=0), buffer=_buffer())).text
    assert "The sample of the given images" in text and "in the final buffer" not in text


def test_no_template_switches_escaping_off():
    templates = list((pathlib.Path(pages.__file__).parent / "templates").glob("*.html"))
    assert templates and not any(re.search(r"\bsafe\b|autoescape", path.read_text()) for path in templates)


def test_half_a_last_line_and_repeated_epochs(tmp_path):
    _report(tmp_path)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 4, "seconds": 45.0, "student_accuracy": 77.0}\n{"epoch": 5, "sec')
    text = _Page(write_report(tmp_path).read_text()).text
    assert "student, 77.00 % at the end" in text


def test_a_missing_summary_is_named(tmp_path):
    _report(tmp_path)
    (tmp_path / "summary.json").unlink()
    with pytest.raises(
        UserError, match=r"summary\.json is missing.*make one with `python -m experiments\.main"
    ) as caught:
        write_report(tmp_path)
    assert "\n" not in str(caught.value)


def test_without_a_log_and_images_there_are_no_curves_and_images(tmp_path):
    """As where a damaged file was moved elsewhere, which is what `run_files.unneeded` says."""
    assert "style loss" in _report(tmp_path, buffer=_buffer())
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
        _collected(images=np.zeros((2, 8, 8, 3), np.uint8)),
        _collected(counts=np.zeros(7, np.int64)),
    ],
)
def test_a_wrong_buffer_is_refused_in_one_line(tmp_path, changes):
    with pytest.raises(UserError, match=r"buffer\.npz") as caught:
        _report(tmp_path, buffer=_buffer(**changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "[1]", "{"])
def test_a_wrong_summary_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "summary.json").write_text(content)
    with pytest.raises(UserError, match=r"summary\.json") as caught:
        write_report(tmp_path)
    assert "\n" not in str(caught.value)


def test_many_classes_are_a_choice_and_the_page_stays_small(tmp_path):
    text = _report(tmp_path, buffer=_buffer(classes=100, side=32, channels=3, count=5000))
    assert "20 of 100 classes" in text
    assert text.count("<img") == 200 and len(text) < 3e6


def test_an_empty_class_and_an_empty_buffer(tmp_path):
    assert "no image of this class" in _report(tmp_path, buffer=_buffer(predicted_class=np.zeros(30, np.int32)))
    assert "The buffer is empty" in _report(tmp_path, buffer=_buffer(count=0))


def test_collected_images_stand_beside_generated_ones(tmp_path):
    text = _report(tmp_path, buffer=_buffer(**_collected()))
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

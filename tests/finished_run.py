"""What tests write in place of a run: its summary, metrics, images and report."""

import html.parser
import json

import numpy as np

from ssdkd_jax.jobs.finished_runs import Run
from ssdkd_jax.jobs.summary import Summary
from ssdkd_jax.reports.run_page import write_report

HOSTILE = '<script>alert("$x_$")</script>'
VOID = {"meta", "img", "br", "link", "input"}
SECONDS = {
    "teacher": 5.0,
    "compile": 10.0,
    "synthesis": 20.0,
    "student": 60.0,
    "evaluation": 3.0,
    "checkpoint": 4.0,
    "host": 6.0,
    "total": 108.0,
}


def run_summary(**changes):
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


def run_metrics(key="student_accuracy"):
    records = [
        {"epoch": e, "seconds": 10.0 * e, "bn_loss": 9.0 / e, "style_loss": 1.0, "phi": 0.5} for e in range(1, 5)
    ]
    for record in records[1::2]:
        record[key] = 50.0 + record["epoch"]
    del records[2]["bn_loss"]
    return records


def run_buffer(classes=3, side=8, channels=1, count=30, **changes):
    rng = np.random.default_rng(0)
    return {
        "images": rng.integers(0, 256, (count, side, side, channels), dtype=np.uint8),
        "predicted_class": np.arange(count) % classes,
        "confidence": rng.random(count, dtype=np.float32),
        "class_names": np.array([f"kind{index}" for index in range(classes)]),
        **changes,
    }


def collected_sample(**changes):
    """A sample of collected images of the second class alone."""
    arrays = {
        "images": np.zeros((2, 8, 8, 1), np.uint8),
        "class": np.ones(2, np.int64),
        "counts": np.array([0, 4321, 0]),
        **changes,
    }
    return {f"collected_{name}": value for name, value in arrays.items()}


def run_report(workdir, summary=None, metrics=None, buffer=None):
    """Writes the inputs, makes the report and returns its text."""
    (workdir / "summary.json").write_text(json.dumps(run_summary() if summary is None else summary))
    lines = run_metrics() if metrics is None else metrics
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if buffer is not None:
        np.savez(workdir / "buffer.npz", **buffer)
    path = write_report(workdir)
    assert path == workdir / "report.html"
    return path.read_text(encoding="utf-8")


class Page(html.parser.HTMLParser):
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


def a_summary(**changes):
    names = dict.fromkeys(("method", "dataset", "teacher", "student", "hardware", "command", "date"), "x")
    numbers = {"epochs": 3, "seed": 0, "devices": 1, "teacher_sha256": "0" * 64, "versions": {}}
    return Summary(**{**names, **numbers, **changes})


def compared_run(method="ssdkd", seed=0, accuracy=90.0, curve=((2.0, 50.0), (90.0, 90.0)), **changes):
    summary = {
        "method": method,
        "seed": seed,
        "devices": 1,
        "command": "python -m experiments.compare",
        "dataset": "digits",
        "teacher": "convnet_32",
        "student": "convnet_8",
        "teacher_accuracy": 99.0,
        "teacher_sha256": "3a7bd3e2" * 8,
        "student_accuracy": accuracy,
        "epochs": 4,
        "images_made": 6400,
        "images_kept": 144,
        "memory_bytes": 2_500_000,
        "seconds": SECONDS,
        "hardware": "2 cores",
        "date": "2026-03-05",
        "versions": {"python": "3.11.7", "jax": "0.10.2"},
        **changes,
    }
    return Run(method, seed, Summary(**summary), [list(point) for point in curve])

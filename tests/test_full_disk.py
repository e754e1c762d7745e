"""Every writer on a full disk: it fails, what was there stays as it was, and nothing half is left behind."""

import contextlib
import hashlib
import json
import pathlib
import resource
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssdkd_jax import models
from ssdkd_jax.interop import onnx_stablehlo, torch_export
from ssdkd_jax.jobs import comparison, exactness_results, experiment, run_folder, student_images, study_runs
from ssdkd_jax.reports import documents, results_files
from ssdkd_jax.reports.run_page import write_report
from ssdkd_jax.training import saved_network
from ssdkd_jax.training.checkpoints import Checkpoints
from ssdkd_jax.training.metrics_log import MetricsLog
from tests.finished_run import a_summary, run_report
from tests.reports import sample_results
from tests.saved_arrays import METADATA


class Disk:
    """A small disk: a tmpfs where one may be mounted, else a folder in which no file may grow any more."""

    def __init__(self, folder):
        self.folder = folder
        self.mounted = not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True
        ).returncode

    @contextlib.contextmanager
    def full(self):
        """Nothing more can be written meanwhile."""
        if not self.mounted:
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
            yield
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            return
        filler = self.folder / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        yield
        filler.unlink()

    def close(self):
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


@pytest.fixture
def disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    disk = Disk(folder)
    yield disk
    disk.close()


def variables(seed):
    network = models.create_model("convnet_8", 2)
    return jax.tree.map(np.asarray, network.init(jax.random.key(seed), jnp.zeros((1, 8, 8, 1))))


def checkpoint(folder, number):
    checkpoints = Checkpoints(folder / "checkpoints", keep=2)
    try:
        checkpoints.save(number, {"w": np.full(2**18, number, np.float32)}, {"epoch": number})
    finally:
        checkpoints.close()


def images(folder, number):
    noise = np.random.default_rng(number).integers(0, 256, (64, 8, 8, 1), np.uint8)
    shown = {"images": noise, "predicted_class": np.zeros(64, int), "confidence": np.ones(64)}
    student_images.save_images(folder, ("a", "b"), None, {}, shown)


def report(folder, number):
    if number == 1:
        run_report(folder)
    write_report(folder)


def record(folder, number):
    work = folder.parent / f"work{number}"
    work.mkdir(exist_ok=True)
    (work / "summary.json").write_text(json.dumps(sample_results.run(student_accuracy=90.0 + number)))
    (work / "metrics.jsonl").write_text('{"epoch": 1, "training_seconds": 1.0, "student_accuracy": 90.0}\n')
    results_files.record(work, folder / "result.json")


def refresh(folder, number):
    page = folder / "page.md"
    if not page.exists():
        page.write_text("<!-- results:digits -->\n<!-- end -->\n" + "text\n" * 2000)
    documents.refresh([page], {"digits": sample_results.run(student_accuracy=90.0 + number)})


def metrics(folder, number):
    log = MetricsLog(folder, done=number - 1)
    log.write(number, {"loss": 1.0})
    log.close()


WRITERS = {
    "network": lambda folder, number: saved_network.save_network(folder / "network", variables(number), METADATA),
    "checkpoint": checkpoint,
    "summary": lambda folder, number: run_folder.write_summary(folder, a_summary(seed=number)),
    "experiment": lambda folder, number: experiment.claim(folder / str(number), {"seed": number}),
    "images": images,
    "report": report,
    "torch": lambda folder, number: torch_export.export_network(folder / "s.pth", variables(number), METADATA),
    "safetensors": lambda folder, number: torch_export.export_network(
        folder / "s.safetensors", variables(number), METADATA
    ),
    "stablehlo": lambda folder, number: onnx_stablehlo.to_stablehlo(folder / "s", variables(number), METADATA),
    "onnx": lambda folder, number: onnx_stablehlo.to_onnx(folder / "s.onnx", variables(number), METADATA),
    "comparison": lambda folder, number: comparison.write(folder, sample_results.comparison()),
    "study": lambda folder, number: study_runs.write(
        folder, folder / "study.json", sample_results.study(teacher_accuracy=90.0 + number)
    ),
    "exactness": lambda folder, number: exactness_results.write(folder / "exactness.json", f"x {number}", {}, {}),
    "results": record,
    "tables": refresh,
    "metrics": metrics,
}


def content(folder: pathlib.Path):
    """{path: digest} of every file that counts; Orbax clears away what it has not finished when it starts again."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "filler" and "-tmp" not in str(path))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_costs_nothing_that_was_there(disk, writer):
    for number in (1, 2):
        (disk.folder / str(number)).mkdir()
    WRITERS[writer](disk.folder, 1)
    before = content(disk.folder)
    assert before
    with (
        disk.full(),
        pytest.raises(Exception, match=r"(?i)no space left|disk is full|file too large|files may have 0.0 MB here"),
    ):
        WRITERS[writer](disk.folder, 2)
    assert content(disk.folder) == before
    WRITERS[writer](disk.folder, 2)


def test_a_full_disk_names_the_file_that_did_not_fit(disk):
    # The file with the weights, not its small note, which is opened last.
    with disk.full(), pytest.raises(OSError) as failure:
        torch_export.export_network(disk.folder / "s.pth", variables(1), METADATA)
    assert failure.value.filename == str(disk.folder / "s.pth")

"""The job in this process: devices, compilations, and runs without any real data."""

import json
import pathlib
import re
import shutil
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from ssdkd_jax import data, interop
from ssdkd_jax.errors import Diverged
from ssdkd_jax.jobs.run import run_job
from ssdkd_jax.methods.ssdkd import SSDKD
from ssdkd_jax.training import saved_network
from ssdkd_jax.training.interruption import Interrupted
from ssdkd_jax.training.kept_programs import KEEP_PROGRAMS
from tests.caches import cache_in, wait_until_written
from tests.tiny_job import FIELDS, SHORT, assert_same_student, config, epochs_done, job, summary


def test_nothing_is_compiled_after_the_first_evaluated_epoch(one_device):
    compilations = json.loads((one_device / "compilations.json").read_text())
    assert compilations, "the listener heard nothing"
    assert set(compilations) == {0}, "the first epoch is evaluated before its line is written"


def test_a_run_with_kept_programs_traces_nothing_and_has_the_same_student(one_device, cache_dir, tmp_path, monkeypatch):
    """Of a run with another seed."""
    monkeypatch.setenv(KEEP_PROGRAMS, "1")
    traced = []
    for name in ("synthesize", "train_student"):
        function = getattr(SSDKD, name)
        monkeypatch.setattr(SSDKD, name, lambda *of, f=function, n=name: traced.append(n) or f(*of))
    with cache_in(tmp_path / "cache"):
        job(tmp_path / "first", cache_dir, **SHORT, seed=1)
        assert set(traced) == {"synthesize", "train_student"}
        wait_until_written()
        traced.clear()
        found = job(tmp_path / "second", cache_dir, **SHORT)
    assert not traced
    assert found["student_sha256"] == summary(one_device)["student_sha256"]


def test_a_short_run_shortens_its_warmup(one_device, cache_dir, tmp_path, capsys):
    """`--config.epochs=3` alone must do, whatever the config's warm-up."""
    job(tmp_path, cache_dir, **{**SHORT, "ssdkd__warmup_epochs": 10})
    assert "the warm-up is shortened from 10 to 1 epochs" in capsys.readouterr().out
    assert_same_student(one_device, tmp_path, 1e-7)


class AfterEpochs(NamedTuple):
    """An interruption once a run has so many epochs."""

    folder: pathlib.Path
    number: int

    def __bool__(self):
        return len(epochs_done(self.folder)) == self.number


def test_resuming_with_other_devices_gives_the_student_of_one(one_device, cache_dir, tmp_path):
    """The first epoch on eight devices, the second on four, the third on eight again.

    The buffer's 44 images are no multiple of 8.
    """
    for number, devices in ((1, 8), (2, 4)):
        with pytest.raises(Interrupted):
            run_job(config(cache_dir, devices=devices, **SHORT), tmp_path, interruption=AfterEpochs(tmp_path, number))
    found = job(tmp_path, cache_dir, devices=8, **SHORT)
    assert (found["devices"], epochs_done(tmp_path)) == (8, [1, 2, 3])
    assert found["images_kept"] == summary(one_device)["images_kept"] == 44
    assert_same_student(one_device, tmp_path, 1e-3)


BANK = {f"fastdfkd5__{name}": FIELDS[f"ssdkd.{name}"] for name in ("kd_batch_size", "synthesis_batch_size")}
BANK |= {"method": "fastdfkd5", "fastdfkd5__kd_steps": 4, "fastdfkd5__views": 4}


@pytest.mark.slow
@pytest.mark.parametrize("fields", [{**SHORT, "ssdkd__renewed_views": 8}, {**BANK, "epochs": 3}], ids=["ssdkd", "bank"])
def test_kept_views_are_resumed(cache_dir, tmp_path, fields):
    """Those that are renewed in turn, and those of a bank that grows."""
    whole = job(tmp_path / "whole", cache_dir, **fields)
    for number in (1, 2):
        interruption = AfterEpochs(tmp_path / "parts", number)
        with pytest.raises(Interrupted):
            run_job(config(cache_dir, **fields), tmp_path / "parts", interruption=interruption)
    assert job(tmp_path / "parts", cache_dir, **fields)["student_sha256"] == whole["student_sha256"]


def test_a_pixel_that_is_no_number_is_caught_and_costs_an_epoch(one_device, cache_dir, tmp_path, monkeypatch):
    whole = SSDKD.inversion_loss

    def with_a_broken_pixel(self, state, teacher, images, *rest):
        broken = images.at[0, 4, 4, 0].set(jnp.nan)  # which no crop leaves out
        return whole(self, state, teacher, jnp.where(state.epoch == 2, broken, images), *rest)

    fields = {**SHORT, "checkpoint_every": 1}
    with monkeypatch.context() as patched:
        patched.setattr(SSDKD, "inversion_loss", with_a_broken_pixel)
        with pytest.raises(Diverged, match=r"adversarial_loss is nan in epoch 3: .* checkpoint of epoch 2 stays"):
            job(tmp_path, cache_dir, **fields)
    assert epochs_done(tmp_path) == [1, 2]
    job(tmp_path, cache_dir, **fields)
    assert_same_student(one_device, tmp_path, 1e-3)  # the programs of its first epochs were other ones


def test_no_real_image_is_looked_for(teacher, tmp_path, monkeypatch):
    """A data set that is not built in, an empty data_dir: the teacher and the shape of the images are enough."""

    def forbidden(*args, **kwargs):
        raise AssertionError("real data was asked for")

    monkeypatch.setattr(data, "load_split", forbidden)
    found = job(
        tmp_path / "job",
        tmp_path / "no_teachers_here",
        dataset="mystery",
        data_dir=str(tmp_path / "nothing"),
        image_shape=(8, 8, 1),
        evaluate_on="none",
        teacher__path=str(teacher),
        teacher__name="",
        **SHORT,
    )
    assert found["teacher_accuracy"] is found["student_accuracy"] is found["best_student_accuracy"] is None
    assert 0 <= found["student_agreement"] <= found["best_student_agreement"] <= 100
    last = json.loads((tmp_path / "job/metrics.jsonl").read_text().splitlines()[-1])
    assert last["student_agreement"] == found["student_agreement"]
    assert "student_accuracy" not in last
    assert "mystery" in (tmp_path / "job/report.html").read_text()


def test_training_images_are_not_decoded_for_a_teacher_that_is_kept(one_device, cache_dir, tmp_path, monkeypatch):
    monkeypatch.setattr("ssdkd_jax.jobs.teacher.load_split", lambda *_: pytest.fail("training images were decoded"))
    found = job(tmp_path, cache_dir, **{**SHORT, "epochs": 0})
    assert found["teacher_sha256"] == summary(one_device)["teacher_sha256"]


def test_baselines_are_the_same_student_on_real_images(one_device, cache_dir, tmp_path):
    """A finished distillation is not done again: only the baselines are, from its last checkpoint."""
    workdir = tmp_path / "job"
    shutil.copytree(one_device, workdir)
    (workdir / "summary.json").unlink()
    experiment = json.loads((workdir / "experiment.json").read_text())
    (workdir / "experiment.json").write_text(json.dumps({**experiment, "baselines": [0.1]}))
    found = job(workdir, cache_dir, **{**SHORT, "baselines": (0.1,)})
    assert found["student_sha256"] == summary(one_device)["student_sha256"]
    assert 0 < found["baselines"]["same student on 10% real images"] <= 100


def test_report_that_a_kill_left_out_is_written_by_the_rerun(one_device, cache_dir, tmp_path):
    workdir = tmp_path / "job"
    shutil.copytree(one_device, workdir)
    (workdir / "report.html").unlink()
    job(workdir, cache_dir, **SHORT)
    assert (workdir / "report.html").exists()


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("x{", "line 1 is not JSON: .*; only the curves of the report need it$"),
        ('{"epoch": 1}\n{"ep', "is not the file that this run wrote .*; only the curves of the report need it$"),
    ],
)
def test_a_damaged_log_of_a_finished_run_is_told(one_device, cache_dir, tmp_path, capsys, log, expected):
    copy = shutil.copytree(one_device, tmp_path / "copy")
    (copy / "metrics.jsonl").write_text(log)
    job(copy, cache_dir, **SHORT)
    told, finished = capsys.readouterr().out.splitlines()
    assert re.match(f"{re.escape(str(copy))}/metrics.jsonl,? {expected}", told)
    assert finished.startswith(f"{copy} is finished: ")
    assert (copy / "metrics.jsonl").read_text() == log


@pytest.mark.parametrize("damage", ["PK and no more", None], ids=["damaged", "of another run"])
def test_a_report_that_cannot_be_made_does_not_cost_the_finished_run(one_device, cache_dir, tmp_path, capsys, damage):
    copy = shutil.copytree(one_device, tmp_path / "copy")
    if damage:
        (copy / "buffer.npz").write_text(damage)
    else:
        np.savez(copy / "buffer.npz", **np.load(one_device / "buffer.npz"))  # which compresses nothing
    job(copy, cache_dir, **SHORT)
    assert damage or f"{copy}/buffer.npz is not the file that this run wrote" in capsys.readouterr().out
    (copy / "report.html").unlink()
    job(copy, cache_dir, **SHORT)
    told, finished = capsys.readouterr().out.splitlines()[-2:]
    assert told.startswith(f"{copy}/report.html is missing and cannot be made: {copy}/buffer.npz is not ")
    assert f"move {copy}/buffer.npz elsewhere and run the same command again" in told
    assert finished.startswith(f"{copy} is finished: ") and finished.endswith(f"see {copy}/student")
    (copy / "buffer.npz").rename(tmp_path / "elsewhere")
    job(copy, cache_dir, **SHORT)
    assert (copy / "report.html").exists()


def test_a_pytorch_teacher_gives_a_pytorch_student(teacher, tmp_path):
    torch = pytest.importorskip("torch")
    variables, metadata = saved_network.load_network(teacher)
    state_dict = interop.to_torch_state_dict(metadata["architecture"], variables)
    torch.save({name: torch.from_numpy(value) for name, value in state_dict.items()}, tmp_path / "teacher.pth")
    job(tmp_path / "job", tmp_path / "none", teacher__path=str(tmp_path / "teacher.pth"), teacher__name="", **SHORT)
    student, metadata = saved_network.load_network(tmp_path / "job/student")
    exported = interop.load_torch_file(tmp_path / "job/student.pth")
    jax.tree.map(
        np.testing.assert_array_equal, interop.from_torch_state_dict(metadata["architecture"], exported), student
    )
    assert "model.load_state_dict" in (tmp_path / "job/student.pth.md").read_text()


def test_export_is_off_otherwise_and_can_be_asked_for_later(one_device, cache_dir, tmp_path):
    copy = shutil.copytree(one_device, tmp_path / "copy")
    assert not (copy / "student.pth").exists()
    job(copy, cache_dir, export_torch=True, **SHORT)
    assert (copy / "student.pth").exists() and (copy / "student.pth.md").exists()


def test_a_teacher_is_kept_by_its_images(tmp_path):
    """Other images under the same path, as many as before: another teacher."""

    def draw(seed):
        rng = np.random.default_rng(seed)
        for split in ("train", "test"):
            for label in ("a", "b"):
                folder = tmp_path / "images" / split / label
                folder.mkdir(parents=True, exist_ok=True)
                for i in range(8):
                    Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(folder / f"{i}.png")

    for seed in (0, 1, 0):
        draw(seed)
        found = job(
            tmp_path / f"job{seed}", tmp_path / "kept", dataset=f"folder:{tmp_path}/images", epochs=0, teacher__epochs=1
        )
    assert found["teacher_recipe"].startswith("1 epochs, batch 16, "), "of 16 images"
    assert len(list((tmp_path / "kept").glob("*/network.json"))) == 2

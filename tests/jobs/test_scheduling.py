"""What is found about many runs before the first of them begins."""

import json

import pytest
from PIL import Image

from ssdkd_jax.errors import Diverged, UserError
from ssdkd_jax.jobs import experiment, run_folder, scheduling
from ssdkd_jax.jobs.experiment import identity
from ssdkd_jax.jobs.finished_runs import folder_of
from ssdkd_jax.jobs.scheduling import Planned
from ssdkd_jax.outputs import make_folder
from ssdkd_jax.training import saved_network
from ssdkd_jax.training.interruption import Interrupted
from tests import tiny_job
from tests.refusals import refusal


def planned(folder, method="scratch", group="few", seeds=2, **fields):
    """Runs of a variant."""
    config = tiny_job.config(folder / "teachers", method=method, **fields)
    configs = [config.copy_and_resolve_references() for _ in range(seeds)]
    for seed, one in enumerate(configs):
        one.seed = seed
    return [Planned(group, seed, one, folder_of(folder, group, seed)) for seed, one in enumerate(configs)]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("experiment.json", '{"method": "cmi"}', "the workdir {run} belongs to another experiment: method is 'cmi'"),
        ("student/thesis.tex", "mine", "{run} holds student, but no experiment.json that says of which run; nothing"),
        ("study.md", "", "the workdir {run} holds a study, not a single run; choose another: --workdir=DIR"),
        ("report.html/mine", "", "{run} holds report.html, but no experiment.json"),
        ("images.png/mine", "", "{run} holds images.png, but no experiment.json"),
        ("run.log/mine", "", "{run}/run.log is a directory, expected a file or nothing: move it elsewhere"),
        ("student.pth", "mine", "{run}/student.pth exists and is not from an export"),
        ("", "mine", "{run} is no folder, but a file; choose another: --workdir=DIR"),
    ],
)
def test_a_folder_that_a_later_run_cannot_have(tmp_path, monkeypatch, name, content, expected):
    monkeypatch.setattr("ssdkd_jax.interop.torch_export.available_suffix", lambda: ".pth")
    monkeypatch.setattr("ssdkd_jax.interop.torch_export._installed", lambda package: True)
    run = folder_of(tmp_path, "few", 1)
    (run / name).parent.mkdir(parents=True)
    (run / name).write_text(content)
    found = refusal(scheduling._check_waiting, planned(tmp_path, export_torch=True))
    assert found.startswith("few, seed 1: " + expected.format(run=run))
    assert not folder_of(tmp_path, "few", 0).exists(), "nothing is written"


def test_what_a_run_that_goes_on_has_left_is_its_own(tmp_path):
    runs = planned(tmp_path, "noise_kd")
    for run in runs:
        run.folder.mkdir(parents=True)
        experiment.claim(run.folder, identity(run.config))
        (run.folder / "run.log").write_text("epoch 1")
    scheduling._check_waiting(runs)


@pytest.mark.parametrize(
    ("method", "fields", "expected"),
    [
        (
            "scratch",
            {"scratch__share": 0.001},
            "few: scratch.share holds 0.001, which is less than one image of a class",
        ),
        (
            "hidfd",
            {"hidfd__images": "{folder}"},
            "few: hidfd.images: none of the 1 files in {folder} can be read as an",
        ),
        ("transfer_kd", {"transfer_kd__images": "folder:{folder}"}, "few: {folder}/train/a/1.png cannot be read as an"),
    ],
)
def test_images_that_a_later_run_cannot_be_given(tmp_path, method, fields, expected):
    folder = tmp_path / "images"
    cut_picture(folder / "train" / "a" / "1.png")
    fields = {name: value.format(folder=folder) if isinstance(value, str) else value for name, value in fields.items()}
    found = refusal(
        scheduling._check_waiting, [*planned(tmp_path, "ssdkd", "first"), *planned(tmp_path, method, **fields)]
    )
    assert found.startswith(expected.format(folder=folder))


@pytest.mark.parametrize(("kind", "choices"), [("a comparison", "--methods=NAMES"), ("a study", "--only=NAMES")])
def test_work_of_all_runs_is_counted(tmp_path, monkeypatch, kind, choices):
    monkeypatch.setattr(scheduling, "check_job", lambda config, *_: {"scratch": 10**10, "noise_kd": 3}[config.method])
    runs = [*planned(tmp_path, seeds=11), *planned(tmp_path, "noise_kd", "other", seeds=2)]

    def prepare(runs):
        scheduling.prepare(runs, [], tmp_path, kind, 1, "", interruption=False)

    found = refusal(prepare, runs)
    assert found.startswith("the 13 runs process 110,000,000,006 images: at 100,000 images a second these are 13 days")
    assert found.endswith(f"choose fewer: --seeds=N, {choices}, --config.epochs=N")
    prepare(runs[2:])


def test_an_interruption_does_not_wait_for_all_checks(tmp_path, monkeypatch):
    monkeypatch.setattr(scheduling, "check_job", lambda *_: pytest.fail("went on"))
    with pytest.raises(Interrupted, match="stopped before the first run"):
        scheduling.prepare(planned(tmp_path), [], tmp_path, "a study", 1, "", interruption=True)


def cut_picture(path):
    """A PNG whose end is missing; its size can be read."""
    path.parent.mkdir(parents=True)
    Image.effect_noise((32, 32), 50).save(path)
    path.write_bytes(path.read_bytes()[:500])


def test_the_same_images_are_read_once(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(scheduling.baselines, "check_readable", lambda config: read.append(config.method))
    fields = {"hidfd__collected_images": 20}
    runs = [*planned(tmp_path, "hidfd", "a"), *planned(tmp_path, "hidfd", "b", **fields), *planned(tmp_path, group="c")]
    scheduling._check_waiting(runs)
    assert read == ["hidfd", "scratch"]


def test_test_images_are_read_before_a_shared_teacher_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(scheduling, "train_teacher", lambda *_: pytest.fail("trained before it looked"))
    for split, name in (("train", "a"), ("train", "b"), ("test", "b")):
        (tmp_path / split / name).mkdir(parents=True)
        Image.effect_noise((32, 32), 50).save(tmp_path / split / name / "1.png")
    cut_picture(tmp_path / "test" / "a" / "1.png")
    (run, *_) = planned(tmp_path, dataset=f"folder:{tmp_path}")
    assert f"{tmp_path}/test/a/1.png cannot be read" in refusal(scheduling._keep_teacher, run.config, tmp_path, False)


@pytest.mark.parametrize("from_torch", [True, False])
def test_the_file_of_a_student_matters_where_the_teacher_comes_from_torch(tmp_path, monkeypatch, from_torch):
    monkeypatch.setattr("ssdkd_jax.interop.torch_export.available_suffix", lambda: ".pth")
    teacher = tmp_path / "teacher"
    teacher.mkdir()
    noted = {"from_torch": "mine.pth"} if from_torch else {}
    (teacher / saved_network.METADATA).write_text(json.dumps(noted))
    runs = planned(tmp_path, "noise_kd", teacher__path=str(teacher))
    runs[1].folder.mkdir(parents=True)
    (runs[1].folder / "student.pth").write_text("mine")
    if from_torch:
        assert "student.pth exists and is not from an export" in refusal(scheduling._check_waiting, runs)
    else:
        scheduling._check_waiting(runs)


def test_a_mistake_that_a_run_finds_names_it_and_one_that_diverges_stays_that(tmp_path, monkeypatch):
    errors = [Diverged("loss is nan"), UserError("no room")]

    def run_job(*_, **__):
        raise errors.pop(0)

    ended = []
    monkeypatch.setattr(scheduling, "run_job", run_job)
    monkeypatch.setattr(scheduling.jax, "clear_caches", lambda: None)
    counter = scheduling.RunCounter(2, 0, 1)
    found = refusal(scheduling._one_by_one, planned(tmp_path), ended.extend, counter, "", False)
    assert found == "few, seed 1: no room" and str(ended[0][1]) == "loss is nan"


def test_runs_that_are_refused_leave_no_empty_folder(tmp_path, monkeypatch):
    def refuse(config, folder, **_):
        raise UserError("the teacher has 10 % accuracy")

    def prepare(planned, finished, folder, *_, **__):
        make_folder(folder)
        return scheduling.Prepared([], [])

    monkeypatch.setattr(scheduling, "prepare", prepare)
    monkeypatch.setattr(scheduling, "run_job", refuse)
    with pytest.raises(UserError, match="few, seed 0: the teacher has"):
        scheduling.run_all(planned(tmp_path / "new"), tmp_path / "new", run_folder.COMPARED, 1, pytest.fail)
    assert not list(tmp_path.iterdir())

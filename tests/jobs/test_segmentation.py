"""Whole jobs with label maps, and what is refused of them."""

import json

import jax
import numpy as np
import pytest

from configs import camvid, shapes
from ssdkd_jax import models
from ssdkd_jax.data import load_split
from ssdkd_jax.errors import UserError
from ssdkd_jax.jobs import baselines, plausibility
from ssdkd_jax.jobs.context import Context
from ssdkd_jax.jobs.image_spec import describe_images, shape_and_classes
from ssdkd_jax.jobs.network_checks import check_method, network_shapes
from ssdkd_jax.jobs.networks import make_method
from ssdkd_jax.jobs.run import run_job
from ssdkd_jax.methods import find_method
from ssdkd_jax.reports.maps_file import read_maps
from ssdkd_jax.reports.run_files import read_buffer
from ssdkd_jax.training.clock import Clock
from ssdkd_jax.training.devices import local_devices

CLASSES = ["ground", "disk", "square", "triangle", "ring"]
TINY = {
    "image_size": 16, "crop_padding": 2, "epochs": 2, "evaluate_every": 2, "teacher.epochs": 1, "devices": 1,
    "allow_weak_teacher": True, "generator.width": 8, "generator.latent_size": 16,
    "ssdkd.warmup_epochs": 0, "ssdkd.synthesis_batch_size": 8, "ssdkd.inversion_steps": 2, "ssdkd.buffer_size": 12,
    "ssdkd.kd_steps": 2, "ssdkd.kd_batch_size": 8,
    "dafl.synthesis_batch_size": 8, "dafl.kd_steps": 5, "dafl.kd_batch_size": 8,
}  # fmt: skip


def config(**fields):
    c = shapes.get_config("encoder_decoder_8-encoder_decoder_8")
    c.update_from_flattened_dict({**TINY, **{name.replace("__", "."): value for name, value in fields.items()}})
    return c


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("segmentation")
    run_job(config(teacher__cache_dir=str(folder / "teachers")), folder / "run")
    return folder / "run"


@pytest.mark.slow
def test_a_run_says_what_it_measured(finished):
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["metric"] == "miou" and summary["student_accuracy"] is None
    for whose in ("teacher", "student"):
        by_class = summary[f"{whose}_iou"]
        assert list(by_class) == CLASSES
        assert summary[f"{whose}_miou"] == pytest.approx(np.mean(list(by_class.values())))
        assert summary[f"{whose}_miou"] <= summary[f"{whose}_pixel_accuracy"] <= 100
    last = json.loads((finished / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["student_miou"] == summary["student_miou"]


@pytest.mark.slow
def test_the_buffer_keeps_shares_of_classes(finished):
    buffer = read_buffer(finished)
    assert buffer.shares.shape == (12, 5) and buffer.real_shares.shape == (120, 5)
    np.testing.assert_allclose(buffer.shares.sum(1), 1, rtol=1e-6)
    np.testing.assert_array_equal(buffer.predicted_class, buffer.shares.argmax(1))


@pytest.mark.slow
def test_the_report_shows_images_labels_teacher_and_student(finished):
    maps, page = read_maps(finished), (finished / "report.html").read_text()
    for name in ("real_labels", "real_teacher", "real_student", "made_teacher"):
        assert getattr(maps, name).shape == (8, 16, 16)
    assert page.count('class="map"') == 8 * 4 + 8 * 2
    for expected in ("Segmentation", "mIoU over time", "Student&#39;s mIoU", "Intersection over union", "#d65a50"):
        assert expected in page


@pytest.mark.slow
def test_without_real_images_the_students_maps_are_held_against_the_teachers(finished, tmp_path):
    teacher = next(finished.parent.glob("teachers/*/network.json")).parent
    none = config(method="dafl", evaluate_on="none", teacher__path=str(teacher), epochs=1)
    summary = run_job(none, tmp_path)
    assert 0 <= summary.student_agreement <= 100 and summary.student_miou is None
    assert "% mIoU" in summary.in_one_line()
    assert read_maps(tmp_path).real_images.shape[0] == 0 and read_buffer(tmp_path).real_shares is None


@pytest.mark.parametrize("name", ["fastdfkd", "scratch", "noise_kd"])
def test_an_epoch_traces(name, tmp_path):
    """As does that of SSD-KD and DAFL, which the jobs above run."""
    c = config(method=name)
    context = Context(c, jax.local_devices()[:1], Clock(), False, tmp_path)
    images = describe_images(c, *shape_and_classes(c), {})
    method = make_method(context, c.teacher.name, images)
    given = baselines.no_given_images(images.shape, images.task) if find_method(name).method.given else None
    teacher = baselines.with_given(network_shapes(context, c.teacher.name, images), given)
    state = jax.eval_shape(method.init, jax.random.key(0), teacher)
    check_method(method, name, state, teacher, context.devices)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"teacher__name": "resnet18"}, "resnet18 is a network for classification, but shapes is for segmentation"),
        ({"dataset": "digits"}, "encoder_decoder_8 is a network for segmentation, but digits is for classification"),
        ({"method": "cmi"}, "cmi is not for segmentation.*ssdkd, ssdkd_paper, fastdfkd, .*dafl.*--config.method=NAME"),
        ({"ssdkd__views": 4}, "ssdkd.views .*--config.ssdkd.views=0"),
    ],
)
def test_what_is_not_for_the_task_is_refused_in_one_line(fields, message):
    with pytest.raises(UserError, match=message) as caught:
        plausibility.check_task(config(**fields))
    assert "\n" not in str(caught.value)


def test_a_crop_larger_than_the_images_is_refused():
    with pytest.raises(UserError, match="crop_padding is 16, expected less than the images' 16 pixels"):
        plausibility.check_sizes(config(crop_padding=16), jax.local_devices())


def test_a_share_of_label_maps_is_at_least_one_image():
    whole = load_split("shapes", "train", image_size=16)
    train = whole._replace(images=whole.images[:4], labels=whole.labels[:4])
    plausibility.check_shares("baselines", [0.25], train)
    with pytest.raises(UserError, match="less than one image of a set with 4"):
        plausibility.check_shares("baselines", [0.2], train)


def test_networks_know_their_task():
    assert models.task_of("deeplabv3_mobilenet") == "segmentation" and models.task_of("x.py:make") == ""


def test_sizes_of_a_folder_that_is_not_there_yet_are_not_checked():
    plausibility.check_sizes(camvid.get_config("small"), local_devices(1))

"""What no run can mean is refused before any work, in one line that says what would do."""

import re
import types

import numpy as np
import pytest

from configs import digits
from ssdkd_jax.data import Dataset
from ssdkd_jax.errors import UserError
from ssdkd_jax.jobs import config_checks, plausibility
from ssdkd_jax.training.devices import local_devices


def a_config(**fields):
    config = digits.get_config()
    config.update_from_flattened_dict({name.replace("__", "."): value for name, value in fields.items()})
    return config


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"image_size": 100_000}, "batches of 64 images (100000, 100000, 1) take at least 5,120.0 GB, but there are"),
        (
            {"ssdkd__kd_batch_size": 10**10},
            "choose smaller batches or images: --config.ssdkd.synthesis_batch_size=N, --config.ssdkd.kd_batch_size=N, ",
        ),
        (
            {"ssdkd__views": 9, "ssdkd__buffer_size": 10**10},
            "the teacher's outputs for 9 views of 10,000,000,000 images take at least 3,600.0 GB, but there are",
        ),
        (
            {"method": "fastdfkd", "fastdfkd__views": 9, "epochs": 10**9},
            "the teacher's outputs for 9 views of 64,000,000,000 images take at least 23,040.0 GB, but there are",
        ),
        ({"crop_padding": 8}, "crop_padding is 8, expected less than the images' 8 pixels: --config.crop_padding=N"),
        ({"crop_padding": 100}, "crop_padding is 100, expected less than the images' 8 pixels"),
    ],
)
def test_sizes(fields, expected):
    with pytest.raises(UserError) as error:
        plausibility.check_sizes(a_config(**fields), local_devices(1))
    assert expected in str(error.value) and "\n" not in str(error.value)


def test_sizes_of_the_configs_pass():
    plausibility.check_sizes(a_config(), local_devices(1))


@pytest.mark.parametrize(("accuracy", "classes", "weak"), [(10, 10, True), (18.9, 10, True), (20, 10, False),
                                                           (54, 2, True), (56, 2, False), (5, 100, True)])  # fmt: skip
def test_a_teacher_that_knows_next_to_nothing(accuracy, classes, weak):
    if not weak:
        return plausibility.check_teacher_knows(accuracy, 100 / classes, "accuracy", a_config())
    with pytest.raises(UserError, match=r"chance is .* causes are .*--config\.teacher\.epochs=N"):
        plausibility.check_teacher_knows(accuracy, 100 / classes, "accuracy", a_config())
    with pytest.raises(UserError, match=r"causes are another normalization") as error:
        plausibility.check_teacher_knows(accuracy, 100 / classes, "accuracy", a_config(teacher__path="x.pth"))
    assert "teacher.epochs" not in str(error.value)
    return plausibility.check_teacher_knows(accuracy, 100 / classes, "accuracy", a_config(allow_weak_teacher=True))


def a_method(kd_steps=400, inversion_steps=1):
    steps = {"inversion_steps": inversion_steps, "synthesis_batch_size": 64, "kd_steps": kd_steps}
    return types.SimpleNamespace(**steps, images_processed=lambda epoch: 64 + 256 * kd_steps)


@pytest.mark.parametrize("method", [a_method(kd_steps=10**10), a_method(inversion_steps=10**10)])
def test_work_that_nobody_waits_for(method):
    with pytest.raises(UserError) as error:
        plausibility.check_work(a_config(epochs=100), method)
    assert re.fullmatch(
        r"the 100 epochs process [\d,]+ images: at 100,000 images a second these are [\d.,]+ (days|years); "
        r"choose fewer: "
        r"--config.epochs=N, --config.ssdkd.kd_steps=N, --config.ssdkd.inversion_steps=N",
        str(error.value),
    )


def test_work_of_a_warmup_counts():
    method = types.SimpleNamespace(gan_steps=10**7, images_processed=lambda epoch: 10**9 if epoch < 200 else 64)
    with pytest.raises(UserError, match=r"the 201 epochs process 200,000,000,064 images: .*--config.ssdkd.gan_steps=N"):
        plausibility.check_work(a_config(epochs=201), method)


def test_a_teacher_that_nobody_waits_for():
    plausibility.check_teacher_training(a_config(teacher__epochs=10**6), 50_000)
    with pytest.raises(UserError, match=r"the 1,000,000 epochs .* 116 days; choose fewer: --config.teacher.epochs=N$"):
        plausibility.check_teacher_training(a_config(teacher__epochs=10**6), 1_000_000)


@pytest.mark.parametrize(("at_once", "time"), [(1, "25 days"), (2, "13 days")])
def test_runs_that_nobody_waits_for_all_of(at_once, time):
    images, speed = 22 * 10**10, f"{at_once * 100_000:,}"
    with pytest.raises(UserError) as error:
        plausibility.check_all_work(images, 3000, at_once, "--methods=NAMES")
    assert str(error.value) == (
        f"the 3,000 runs process 220,000,000,000 images: at {speed} images a second these are {time}; choose fewer: "
        "--seeds=N, --methods=NAMES, --config.epochs=N"
    )
    plausibility.check_all_work(images, 3000, 3, "--methods=NAMES")


def test_work_of_days_passes():
    plausibility.check_work(a_config(epochs=10_000), a_method(inversion_steps=2000))


def test_a_share_of_less_than_one_image_a_class():
    train = Dataset(np.zeros((30, 2, 2, 1), np.uint8), np.repeat([0, 1], [10, 20]).astype(np.int32), ("a", "b"))
    plausibility.check_shares("baselines", (0.1, 1.0), train)
    with pytest.raises(UserError, match=r"baselines holds 0.05, which is less than one image of a class with 10"):
        plausibility.check_shares("baselines", (0.05,), train)
    for shares, advice in (((0.05,), "0.1"), ((0.05, 0.5), "'(0.1, 0.5)'"), ((0.01, 0.05), "'(0.1,)'")):
        with pytest.raises(UserError, match=f"expected at least 0.1: --config.baselines={re.escape(advice)}$"):
            plausibility.check_shares("baselines", shares, train)


@pytest.mark.parametrize(
    ("overridden", "fields", "expected"),
    [
        (
            ["fastdfkd.bn"],
            {"method": "fastdfkd10"},
            "no effect on fastdfkd10; did you mean --config.fastdfkd10.bn?",
        ),
        (["cmi.cr"], {}, "--config.cmi.cr has no effect on ssdkd; choose that method with --config.method=cmi"),
        (["ssdkd.adv_masked"], {"ssdkd__adv": 0.0}, "--config.ssdkd.adv_masked has no effect with adv=0; remove it"),
        (
            ["crop_padding"],
            {"method": "hidfd", "hidfd__resized_crop": 0.5, "teacher__path": "x", "baselines": ()},
            "--config.crop_padding has no effect on random resized crops (resized_crop below 1); remove it",
        ),
        (["ssdkd.bn_floor"], {"ssdkd__bn": 0.0}, "--config.ssdkd.bn_floor has no effect with bn=0; remove it"),
        (["ssdkd.beta_end"], {"ssdkd__alpha": 0.0}, "--config.ssdkd.beta_end has no effect with alpha=0; remove it"),
        (["teacher.epochs"], {"teacher__path": "x.th"}, "no effect on a teacher that is given (teacher.path)"),
        (["teacher.batch_size"], {"teacher__path": "x", "baselines": ()}, "(teacher.path), without baselines"),
        (["held_out_batches"], {}, "no effect when real test images are used (evaluate_on=test)"),
        (["ssdkd.warmup_epochs"], {"ssdkd__warmup_epochs": 500}, "ssdkd.warmup_epochs is 500, expected less than"),
    ],
)
def test_options_without_effect(overridden, fields, expected):
    with pytest.raises(UserError) as error:
        config_checks.check_overrides(a_config(**fields), overridden)
    assert expected in str(error.value)


def test_options_with_an_effect_pass():
    given = a_config(teacher__path="x", baselines=(0.1,))
    config_checks.check_overrides(given, ["teacher.batch_size", "ssdkd.alpha", "seed"])
    config_checks.check_overrides(a_config(), ["cmi.cr", "dfq.bn"], methods=["cmi", "dfq"])


@pytest.mark.parametrize("seeds", [0, -3, 10**7])
def test_numbers_of_seeds(seeds):
    with pytest.raises(UserError, match=f"--seeds is {seeds}, expected at least 1 and at most 1000"):
        config_checks.check_seeds(seeds)

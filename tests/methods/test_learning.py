"""Every method teaches: on the real digits its student is far above chance, and above one distilled on noise.

Methods that fit BatchNorm statistics have networks with BatchNorm, where noise alone goes a long way on 8x8 pixels.
The others have LeNets on 32x32 pixels, as in their papers.  Through the command line.
"""

import functools

import pytest

from ssdkd_jax.methods import METHODS
from tests.tiny_job import command_line, summary

# Points above the student distilled on noise, and the least accuracy, where chance is 10 %; fixed seed.
MARGIN, LEAST = 15.0, 60.0
WITH_BATCH_NORM = ("ssdkd", "fastdfkd", "fastdfkd2", "fastdfkd5", "fast", "nayer", "cmi", "deepinversion", "dfq")
WITH_LENET = ("dafl", "zskt", "dfad")
EVERY = {"baselines": "()", "epochs": 20, "evaluate_every": 20, "teacher.epochs": 20}
LENET = {"image_size": 32, "teacher.learning_rate": 0.02, "epochs": 14, "evaluate_every": 14}
# Of the method's section.  With few student steps, a generator needs a step more often than once in ten of them, and
# DFQ's student depends on the rounding of the machine.
SETTINGS = {"dfq": {"kd_steps_per_round": 2, "kd_steps": 120}}
# Noise, with as many student steps, comes closer then.
MARGINS = {"dfq": 10.0}
LENET_STUDENT = {"kd_steps": 40, "student_learning_rate": 0.02}


def arguments(method, lenet, workdir, **others):
    """Of experiments.main; `others` are settings of the method."""
    fields = EVERY | (LENET if lenet else {}) | {"method": method, "teacher.cache_dir": workdir.parent / "teachers"}
    settings = SETTINGS.get(method, {}) | (LENET_STUDENT if lenet else {}) | others
    fields |= {f"{method}.{name}": value for name, value in settings.items()}
    return [
        f"--config=configs/digits.py:{'lenet5-lenet5' if lenet else 'convnet_32-convnet_8'}",
        f"--workdir={workdir}",
        *(f"--config.{name}={value}" for name, value in fields.items()),
    ]


@pytest.fixture(scope="module")
def accuracy_of(tmp_path_factory):
    folder = tmp_path_factory.mktemp("learning")

    @functools.cache
    def accuracy(method, lenet, **settings):
        workdir = folder / "_".join(map(str, (method, lenet, *settings.values())))
        status, _, err = command_line(arguments(method, lenet, workdir, **settings))
        assert (status, err) == (0, "")
        return summary(workdir)["student_accuracy"]

    return accuracy


@pytest.mark.parametrize("method", WITH_BATCH_NORM + WITH_LENET)
def test_learns(method, accuracy_of):
    lenet = method in WITH_LENET
    as_long = {name: value for name, value in SETTINGS.get(method, {}).items() if name == "kd_steps"}
    noise = accuracy_of("noise_kd", lenet, **as_long)
    assert accuracy_of(method, lenet) > max(LEAST, noise + MARGINS.get(method, MARGIN))


def test_reptile_learns(accuracy_of):
    noise = accuracy_of("noise_kd", False)
    assert accuracy_of("fastdfkd", False, meta_update="reptile") > max(LEAST, noise + MARGIN)


@pytest.mark.parametrize("method", ["vanilla_kd", "scratch"])
def test_baselines_on_real_images_learn(method, accuracy_of):
    assert accuracy_of(method, False) > 95.0


def test_no_method_is_forgotten():
    baselines = {name for name, preset in METHODS.items() if preset.method.given}
    # Longer syntheses of the same methods.
    longer = {"cmi500", "deepinversion2k"}
    assert set(METHODS) - baselines - longer == {*WITH_BATCH_NORM, *WITH_LENET, "fastdfkd10"}
    assert METHODS["fastdfkd10"] == METHODS["fastdfkd"]

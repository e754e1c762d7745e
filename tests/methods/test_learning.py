"""Every method teaches: on the real digits its student is far above chance, and above one distilled on noise.

Methods that fit BatchNorm statistics have networks with BatchNorm, where noise alone goes a long way on 8x8 pixels.
The others have LeNets on 32x32 pixels, as in their papers.  Through the command line.
"""

import pytest

from ssdkd_jax.methods import METHODS
from tests.tiny_job import command_line, summary

# Points above the student distilled on noise, and the least accuracy, where chance is 10 %; fixed seed.
MARGIN, LEAST = 15.0, 60.0
WITH_BATCH_NORM = ("ssdkd", "fastdfkd", "fastdfkd2", "fast", "nayer", "cmi", "deepinversion", "dfq")
WITH_LENET = ("dafl", "zskt", "dfad")
BATCH_NORM = {"epochs": 20, "teacher.epochs": 20}
LENET = {"epochs": 14, "teacher.epochs": 20, "image_size": 32, "teacher.learning_rate": 0.02}
LENET_STUDENT = {"kd_steps": 40, "kd_batch_size": 32, "student_learning_rate": 0.02}
# Of the config.  Some need fewer epochs than noise is given.
FIELDS = {name: {"epochs": 10} for name in ("nayer", "cmi", "deepinversion", "dfq", "zskt", "dfad")}
# Of the method's section.  With few student steps, a generator needs a step more often than once in ten of them.
SETTINGS = {"dfq": {"kd_steps_per_round": 2, "kd_steps": 120}}


def arguments(method, lenet, workdir, **settings):
    """Of experiments.main; `settings` are of the method."""
    fields = (LENET if lenet else BATCH_NORM) | FIELDS.get(method, {})
    fields |= {"baselines": "()", "method": method, "teacher.cache_dir": workdir.parent / "teachers"}
    fields["evaluate_every"] = fields["epochs"]
    settings = SETTINGS.get(method, {}) | (LENET_STUDENT if lenet else {}) | settings
    fields |= {f"{method}.{name}": value for name, value in settings.items()}
    return [
        f"--config=configs/digits.py:{'lenet5-lenet5' if lenet else 'convnet_32-convnet_8'}",
        f"--workdir={workdir}",
        *(f"--config.{name}={value}" for name, value in fields.items()),
    ]


@pytest.fixture
def accuracy_of(shared, made_once):
    """(method, with LeNets or not, settings) -> the student's percent, from a run that all test processes share."""

    def accuracy(method, lenet, **settings):
        def run(workdir):
            status, _, err = command_line(arguments(method, lenet, workdir, **settings))
            assert (status, err) == (0, "")

        (shared / "learning").mkdir(exist_ok=True)
        name = "_".join(map(str, (method, lenet, *settings.values())))
        return summary(made_once(f"learning/{name}", run))["student_accuracy"]

    return accuracy


@pytest.mark.parametrize("method", WITH_LENET + WITH_BATCH_NORM)
def test_learns(method, accuracy_of):
    lenet = method in WITH_LENET
    assert accuracy_of(method, lenet) > max(LEAST, accuracy_of("noise_kd", lenet) + MARGIN)


def test_reptile_learns(accuracy_of):
    assert accuracy_of("fastdfkd", False, meta_update="reptile") > max(LEAST, accuracy_of("noise_kd", False) + MARGIN)


@pytest.mark.parametrize("method", ["vanilla_kd", "scratch"])
def test_baselines_on_real_images_learn(method, accuracy_of):
    assert accuracy_of(method, False) > 95.0


def test_no_method_is_forgotten():
    baselines = {name for name, preset in METHODS.items() if preset.method.given}
    # Longer syntheses of the same methods.
    longer = {"cmi500", "deepinversion2k"}
    assert set(METHODS) - baselines - longer == {*WITH_BATCH_NORM, *WITH_LENET, "fastdfkd5", "fastdfkd10"}
    # fastdfkd5 lies between fastdfkd2 and this.
    assert METHODS["fastdfkd10"] == METHODS["fastdfkd"]

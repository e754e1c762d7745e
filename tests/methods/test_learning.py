"""Every method teaches: on the real digits its student is far above chance, and above one distilled on noise.

Methods that fit BatchNorm statistics have networks with BatchNorm, where noise alone goes a long way on 8x8 pixels.
The others have LeNets on 32x32 pixels, as in their papers.
"""

import functools

import pytest

from configs import digits
from ssdkd_jax.methods import METHODS
from ssdkd_jax.runtime.job import run

CHANCE = 10.0
# Points above the student distilled on noise, and the least accuracy; fixed seed.
MARGIN, LEAST = 15.0, 60.0
WITH_BATCH_NORM = ("ssdkd", "fastdfkd", "fastdfkd2", "fastdfkd5", "fast", "nayer", "cmi", "deepinversion", "dfq")
WITH_LENET = ("dafl", "zskt", "dfad")


def a_config(method, lenet):
    config = digits.get_config("lenet5-lenet5" if lenet else None)
    config.method = method
    config.references = ()
    config.teacher.epochs = 20
    config.epochs = config.evaluate_every = 20
    config.devices = 1
    if lenet:
        config.image_size = 32
        config.teacher.learning_rate = 0.02
        config[method].update(kd_steps=40, student_learning_rate=0.02)
    return config


@pytest.fixture(scope="module")
def accuracy_of(tmp_path_factory):
    folder = tmp_path_factory.mktemp("learning")

    @functools.cache
    def accuracy(method, lenet):
        config = a_config(method, lenet)
        config.teacher.kept_in = str(folder / "teachers")
        return run(config, folder / f"{method}_{lenet}")["student_accuracy"]

    return accuracy


@pytest.mark.parametrize("method", WITH_BATCH_NORM + WITH_LENET)
def test_learns(method, accuracy_of):
    lenet = method in WITH_LENET
    noise = accuracy_of("noise_kd", lenet)
    assert accuracy_of(method, lenet) > max(LEAST, noise + MARGIN)


@pytest.mark.parametrize("method", ["vanilla_kd", "scratch"])
def test_references_on_real_images_learn(method, accuracy_of):
    assert accuracy_of(method, False) > 95.0


def test_no_method_is_forgotten():
    references = {name for name, method in METHODS.items() if method.given}
    assert set(METHODS) - references == {*WITH_BATCH_NORM, *WITH_LENET, "fastdfkd10"}
    assert METHODS["fastdfkd10"] is METHODS["fastdfkd"]

"""Every method teaches: on the real digits its student is far above chance, and above one distilled on noise.

Methods that fit BatchNorm statistics have networks with BatchNorm, where noise alone goes a long way on 8x8 pixels.
The others have LeNets on 32x32 pixels, as in their papers, where noise teaches nothing (10 %).
"""

import pytest

from ssdkd_jax.methods import METHODS
from tests import programs, tiny_job

# Points above the student distilled on noise, and the least accuracy, where chance is 10 %; fixed seed.
MARGIN, LEAST = 15.0, 60.0
# The most that noise reaches, which quick tests take in place of a run.
MOST_OF_NOISE = 60.0
# Their generators have few steps here.
LEAST_OF_LENETS = 40.0
# What students of real images reach at least.
REAL = 95.0
WITH_BATCH_NORM = ("ssdkd", "fastdfkd", "fast", "nayer", "cmi", "deepinversion", "dfq")
WITH_LENET = ("dafl", "zskt", "dfad")
# The others are in `make test-all`.
QUICK = ("ssdkd",)
BATCH_NORM = {"epochs": 20, "teacher.epochs": 20}
LENET = {"epochs": 5, "teacher.epochs": 10, "image_size": 32, "teacher.learning_rate": 0.02}
LENET_STUDENT = {"kd_steps": 40, "kd_batch_size": 32, "student_learning_rate": 0.02}
# Of the config.  Some need fewer epochs than noise is given.
FIELDS = {"ssdkd": {"epochs": 16}, "dafl": {"epochs": 7}, "dfq": {"epochs": 8}, "zskt": {"epochs": 3}}
FIELDS |= {"hidfd": {"epochs": 12}, "cmi": {"epochs": 6}, "nayer": {"epochs": 5}, "deepinversion": {"epochs": 4}}
FIELDS |= {name: {"epochs": 10} for name in ("fastdfkd", "fast")}
# On noise, runs end anywhere between 30 and 60 %, as rounding has it.
FIELDS |= {name: {"epochs": 12} for name in ("vanilla_kd", "scratch", "noise_kd")}
# Of the method's section.  With few student steps, a generator needs a step more often than once in ten of them.
SETTINGS = {
    "dfq": {"kd_steps_per_round": 2, "kd_steps": 120},
    "cmi": {"inversion_steps": 20},
    "deepinversion": {"inversion_steps": 40},
    "nayer": {"inversion_steps": 15},
    # With collected images, from scikit-learn's photographs.
    "hidfd": {
        **{"warmup_epochs": 4, "gan_steps": 40, "average_from": 80},
        **{"generated_images": 2000, "collected_images": 200},
    },
}


@pytest.fixture
def accuracy(shared, made_once):
    """accuracy(method, lenet): percent of the student, whose run is in shared/learning; made once for all tests."""

    def run(method, lenet=False):
        folder = shared / "learning"
        folder.mkdir(exist_ok=True)
        name = f"learning/{method}_{'lenet' if lenet else 'batch_norm'}"
        return tiny_job.summary(made_once(name, lambda workdir: distill(workdir, method, lenet)))["student_accuracy"]

    return run


def distill(workdir, method, lenet):
    """A run through the command line; its teacher is shared by all of them."""
    fields = (LENET if lenet else BATCH_NORM) | FIELDS.get(method, {})
    settings = SETTINGS.get(method, {}) | (LENET_STUDENT if lenet else {})
    fields |= {f"{method}.{name}": value for name, value in settings.items()}
    fields |= {"method": method, "evaluate_every": fields["epochs"], "baselines": ()}
    fields["teacher.cache_dir"] = workdir.parent / "teachers"
    pair = "lenet5-lenet5" if lenet else "convnet_32-convnet_8"
    overrides = [f"--config.{name}={value}" for name, value in fields.items()]
    command = [f"--config=configs/digits.py:{pair}", f"--workdir={workdir}", *overrides]
    status, _, err = programs.run("main", *command, XLA_FLAGS=tiny_job.xla_flags())
    assert (status, err) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("method", WITH_LENET)
def test_methods_with_lenets_learn(accuracy, method):
    assert accuracy(method, lenet=True) > LEAST_OF_LENETS


@pytest.mark.parametrize(
    "method", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in WITH_BATCH_NORM]
)
def test_methods_with_batch_norm_learn(accuracy, method):
    of_noise = MOST_OF_NOISE if method in QUICK else accuracy("noise_kd")
    assert accuracy(method) > max(LEAST, of_noise + MARGIN)


@pytest.mark.slow
@pytest.mark.parametrize("baseline", ["vanilla_kd", "scratch"])
def test_baselines_on_real_images_learn(accuracy, baseline):
    assert accuracy(baseline) > REAL


@pytest.mark.slow
def test_noise_reaches_no_more_than_quick_tests_take_for_it(accuracy):
    assert accuracy("noise_kd") <= MOST_OF_NOISE


@pytest.mark.slow
def test_hidfd_learns(accuracy, shared):
    assert accuracy("hidfd") > max(LEAST, accuracy("noise_kd") + MARGIN)
    assert "collected, seen as" in (shared / "learning/hidfd_batch_norm/report.html").read_text()


def test_no_method_is_forgotten():
    baselines = {name for name, preset in METHODS.items() if preset.method.given}
    # Longer syntheses of the same methods.
    longer = {"cmi500", "deepinversion2k"}
    # FastDFKD with other numbers of steps, whose values the golden tests check.
    steps = {"fastdfkd10", "fastdfkd5", "fastdfkd2"}
    # SSD-KD, with settings that a test of the configs holds to the readings.
    readings = {"ssdkd_paper"}
    assert set(METHODS) - baselines - longer - steps - readings == {*WITH_BATCH_NORM, *WITH_LENET}

"""Every method teaches: on the real digits its student is far above chance, and above one distilled on noise.

Methods that fit BatchNorm statistics have networks with BatchNorm, where noise alone goes a long way on 8x8 pixels.
The others have LeNets on 32x32 pixels, as in their papers.
"""

import json
import os
import subprocess
import sys

from ssdkd_jax.methods import METHODS
from tests import tiny_job

# Points above the student distilled on noise, and the least accuracy, where chance is 10 %; fixed seed.
MARGIN, LEAST = 15.0, 60.0
# SimKD has 480 steps here.
LEAST_OF_HIDFD = 20.0
# What students of real images reach at least.
REAL = 95.0
WITH_BATCH_NORM = ("ssdkd", "fastdfkd", "fast", "nayer", "cmi", "deepinversion", "dfq")
# With collected images, from scikit-learn's photographs.
HIDFD = {
    **{"epochs": 12, "evaluate_every": 12, "hidfd.warmup_epochs": 4, "hidfd.gan_steps": 40, "hidfd.average_from": 80},
    **{"hidfd.generated_images": 2000, "hidfd.collected_images": 200},
}
WITH_LENET = ("dafl", "zskt", "dfad")
BATCH_NORM = {"epochs": 20, "teacher.epochs": 20}
LENET = {"epochs": 10, "teacher.epochs": 20, "image_size": 32, "teacher.learning_rate": 0.02}
LENET_STUDENT = {"kd_steps": 40, "kd_batch_size": 32, "student_learning_rate": 0.02}
# Of the config.  Some need fewer epochs than noise is given.
FIELDS = {"dfq": {"epochs": 10}} | {name: {"epochs": 7} for name in ("nayer", "cmi", "deepinversion", "zskt", "dfad")}
# Of the method's section.  With few student steps, a generator needs a step more often than once in ten of them.
SETTINGS = {
    "dfq": {"kd_steps_per_round": 2, "kd_steps": 120},
    "cmi": {"inversion_steps": 20},
    "deepinversion": {"inversion_steps": 40},
    "nayer": {"inversion_steps": 15},
}


def a_run(method, lenet=False, **settings):
    """[pair of networks, fields of the config]; `settings` are of the method."""
    fields = (LENET if lenet else BATCH_NORM) | FIELDS.get(method, {}) | {"method": method}
    fields["evaluate_every"] = fields["epochs"]
    settings = SETTINGS.get(method, {}) | (LENET_STUDENT if lenet else {}) | settings
    fields |= {f"{method}.{name}": value for name, value in settings.items()}
    return ["lenet5-lenet5" if lenet else "convnet_32-convnet_8", fields]


def accuracies(folder, runs):
    """{name: the student's percent}."""
    command = [sys.executable, "-m", "tests.learning_jobs", str(folder)]
    environment = os.environ | {"XLA_FLAGS": tiny_job.xla_flags()}
    done = subprocess.run(
        command, input=json.dumps(runs), cwd=tiny_job.ROOT, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    return {name: tiny_job.summary(folder / name)["student_accuracy"] for name in runs}


def test_methods_with_lenets_learn(tmp_path):
    found = accuracies(tmp_path, {name: a_run(name, lenet=True) for name in ("noise_kd", *WITH_LENET)})
    least = max(LEAST, found.pop("noise_kd") + MARGIN)
    assert not {name: accuracy for name, accuracy in found.items() if accuracy <= least}


def test_methods_with_batch_norm_learn(tmp_path):
    found = accuracies(tmp_path, {name: a_run(name) for name in ("noise_kd", *WITH_BATCH_NORM)})
    least = max(LEAST, found.pop("noise_kd") + MARGIN)
    assert not {name: accuracy for name, accuracy in found.items() if accuracy <= least}


def test_baselines_on_real_images_learn(tmp_path):
    found = accuracies(tmp_path, {name: a_run(name) for name in ("vanilla_kd", "scratch")})
    assert not {name: accuracy for name, accuracy in found.items() if accuracy <= REAL}


def test_hidfd_learns(tmp_path):
    """SimKD is slower than the others' divergence of logits, so far above chance is what a short run can show."""
    pair, fields = a_run("hidfd")
    (accuracy,) = accuracies(tmp_path, {"hidfd": [pair, fields | HIDFD]}).values()
    assert accuracy > LEAST_OF_HIDFD
    assert "collected, seen as" in (tmp_path / "hidfd" / "report.html").read_text()


def test_no_method_is_forgotten():
    baselines = {name for name, preset in METHODS.items() if preset.method.given}
    # Longer syntheses of the same methods.
    longer = {"cmi500", "deepinversion2k"}
    # FastDFKD with other numbers of steps, whose values the golden tests check.
    steps = {"fastdfkd10", "fastdfkd5", "fastdfkd2"}
    assert set(METHODS) - baselines - longer - steps == {*WITH_BATCH_NORM, *WITH_LENET}

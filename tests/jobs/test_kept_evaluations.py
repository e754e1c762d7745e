"""A teacher's evaluation is read where nothing that decides it has changed, and made anew elsewhere."""

import types

import jax
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from ssdkd_jax import source
from ssdkd_jax.data import Dataset
from ssdkd_jax.files import try_lock
from ssdkd_jax.jobs import provenance
from ssdkd_jax.jobs.image_spec import ImageSpec
from ssdkd_jax.jobs.kept_evaluations import kept_evaluation
from ssdkd_jax.jobs.teacher import Teacher
from ssdkd_jax.tasks import SEGMENTATION
from ssdkd_jax.training.checkpoints import sha256
from ssdkd_jax.training.evaluation import Evaluation
from tests import tiny_job
from tests.caches import cache_in

IMAGES = ImageSpec((2, 2, 1), ("a", "b"), (0.5,), (0.2,))
TEACHER = Teacher("convnet_8", {"params": {"w": np.arange(3.0, dtype=np.float32)}}, {})
TEST = Dataset(np.arange(16, dtype=np.uint8).reshape(4, 2, 2, 1), np.array([0, 1, 1, 0]), IMAGES.class_names)
FOUND = Evaluation(np.array([[1, 1], [0, 2]]), np.array([0, 1, 1, 1], np.int32), np.float32([0.5, 0.75, 1.0, 0.6]))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    # As if nobody edited the package while this runs.
    monkeypatch.setattr(source, "is_unchanged", lambda: True)
    with cache_in(tmp_path / "cache"):
        yield tmp_path / "cache" / "evaluations"


def times_evaluated(count=1, teacher=TEACHER, images=IMAGES, test=TEST, devices=1, **fields):
    """How often so many runs evaluate; each gets the same numbers."""
    context = types.SimpleNamespace(config=tiny_job.config("", **fields), devices=jax.devices()[:devices])
    calls = []

    def evaluate():
        calls.append(1)
        return FOUND

    for _ in range(count):
        found = kept_evaluation(context, teacher, sha256(teacher.variables), images, test, evaluate)
        for given, expected in zip(found, FOUND, strict=True):
            assert_array_equal(given, expected)
            assert given.dtype == expected.dtype
    return len(calls)


def test_the_second_run_evaluates_nothing():
    assert times_evaluated(3) == 1


def test_a_commit_that_leaves_the_package_as_it_is_costs_no_evaluation(monkeypatch):
    assert times_evaluated() == 1
    monkeypatch.setattr(provenance, "CODE_VERSION", "0.1.0 at commit 0123456789")
    assert times_evaluated() == 0


@pytest.mark.parametrize(
    "changed",
    [
        {"teacher": TEACHER._replace(variables={"params": {"w": np.float32([0, 1, 3])}})},
        {"teacher": TEACHER._replace(architecture="convnet_16")},
        {"images": IMAGES._replace(class_names=("a", "b", "c"))},
        {"images": IMAGES._replace(task=SEGMENTATION)},
        {"images": IMAGES._replace(mean=(0.4,))},
        {"test": TEST._replace(images=TEST.images + 1)},
        {"test": TEST._replace(labels=1 - TEST.labels)},
        {"devices": 2},
        {"dtype": "bfloat16"},
        {"evaluation_batch_size": 250},
        {"param_dtype": "bfloat16"},
    ],
)
def test_what_decides_an_evaluation_has_it_made_anew(changed):
    assert times_evaluated() == 1
    assert times_evaluated(2, **changed) == 1
    assert times_evaluated() == 0


def test_other_flags_of_the_compiler_another_precision_and_other_code(monkeypatch):
    assert times_evaluated() == 1
    monkeypatch.setenv("XLA_FLAGS", "--another")
    assert times_evaluated(2) == 1
    with jax.default_matmul_precision("highest"):
        assert times_evaluated(2) == 1
    monkeypatch.setattr(source, "AS_IMPORTED", "of another package")
    assert times_evaluated(2) == 1


def test_of_source_that_has_changed_since_it_was_imported_nothing_is_kept(monkeypatch):
    monkeypatch.setattr(source, "is_unchanged", lambda: False)
    assert times_evaluated(2) == 2


def test_a_users_network_may_import_what_has_changed():
    assert times_evaluated(2, teacher=TEACHER._replace(architecture="mine.py:make")) == 2


@pytest.mark.parametrize("keep", [0, 100])
def test_a_damaged_file_is_replaced(folder, keep):
    times_evaluated()
    (path,) = folder.glob("*.npz")
    path.write_bytes(path.read_bytes()[:keep])
    assert times_evaluated(2) == 1


def test_whatever_bit_flips_the_numbers_are_right_or_made_anew(folder):
    times_evaluated()
    (path,) = folder.glob("*.npz")
    whole = path.read_bytes()
    for bit in range(0, 8 * len(whole), 131):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        times_evaluated()


def test_what_another_run_is_writing_is_left_to_it(folder):
    times_evaluated()
    (path,) = folder.glob("*.npz")
    path.unlink()
    with try_lock(path.with_suffix(".lock")):
        assert times_evaluated(2) == 2
    assert times_evaluated(2) == 1


def test_without_a_folder_every_run_evaluates(folder):
    folder.parent.mkdir()
    folder.write_text("a file in its place")
    assert times_evaluated(2) == 2
    for place in (None, "gs://bucket/programs"):
        jax.config.update("jax_compilation_cache_dir", place)
        assert times_evaluated(2) == 2

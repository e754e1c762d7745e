"""Runs share programs where everything that decides them is the same, and have their own elsewhere."""

import os
import subprocess
import sys
import types

import jax
import pytest

from ssdkd_jax import methods, source
from ssdkd_jax.jobs import program_key, provenance
from ssdkd_jax.jobs.image_spec import ImageSpec
from ssdkd_jax.jobs.program_key import programs_of_run
from ssdkd_jax.tasks import SEGMENTATION
from ssdkd_jax.training import multiprocess
from ssdkd_jax.training.kept_programs import KEEP_PROGRAMS
from tests import tiny_job
from tests.caches import cache_in

IMAGES = ImageSpec((8, 8, 1), ("a", "b"), (0.5,), (0.2,))


@pytest.fixture(autouse=True)
def keeping(monkeypatch, tmp_path):
    monkeypatch.setenv(KEEP_PROGRAMS, "1")
    # As if nobody edited the package while this runs.
    monkeypatch.setattr(source, "is_unchanged", lambda: True)
    with cache_in(tmp_path / "cache"):
        yield


def kept(architecture="convnet_8", images=IMAGES, devices=1, cache_dir="", **fields):
    context = types.SimpleNamespace(config=tiny_job.config(cache_dir, **fields), devices=jax.devices()[:devices])
    return programs_of_run(context, architecture, images)


def digests(**changes):
    found = kept(**changes)
    return found.traced_from, found.compiled_for


def test_programs_lie_beside_those_of_jax(tmp_path):
    assert kept().folder == tmp_path / "cache" / "programs"
    assert kept(devices=2).devices == jax.devices()[:2]


@pytest.mark.parametrize(
    "changed",
    [
        {"architecture": "convnet_16"},
        {"student__name": "convnet_16"},
        {"images": IMAGES._replace(shape=(4, 4, 1))},
        {"images": IMAGES._replace(mean=(0.4,))},
        {"images": IMAGES._replace(std=(0.4,))},
        {"images": IMAGES._replace(class_names=("a", "b", "c"))},
        {"images": IMAGES._replace(task=SEGMENTATION)},
        {"devices": 2},
        {"dtype": "bfloat16"},
        {"matmul_precision": "highest"},
        {"method": "fastdfkd5"},
        {"epochs": 9},
        {"crop_padding": 2},
        {"flip": True},
        {"generator__width": 16},
        {"ssdkd__kd_steps": 151},
        {"ssdkd__adv": 0.7},
    ],
)
def test_what_decides_a_program_makes_another(changed):
    assert digests(**changed) != digests()


@pytest.mark.parametrize(
    "changed",
    [
        {"seed": 7},
        {"evaluate_every": 1},
        {"checkpoint_every": 1},
        {"evaluation_batch_size": 250},
        {"baselines": (0.1,)},
        {"teacher__epochs": 4},
        {"cache_dir": "elsewhere"},
    ],
)
def test_what_decides_none_does_not(changed):
    assert digests(**changed) == digests()


@pytest.mark.parametrize("variable", ["XLA_FLAGS", "LIBTPU_INIT_ARGS"])
def test_variables_of_the_compiler_decide_what_is_compiled(monkeypatch, variable):
    before = kept()
    monkeypatch.setenv(variable, "another")
    assert kept().traced_from == before.traced_from and kept().compiled_for != before.compiled_for


def test_variables_of_flax_decide_what_is_traced(monkeypatch):
    before = kept()
    monkeypatch.setenv("FLAX_FIX_RNG_SEPARATOR", "1")
    assert kept().traced_from != before.traced_from and kept().compiled_for == before.compiled_for


def test_settings_of_jax_decide_what_is_compiled():
    before = kept().compiled_for
    for setting in (jax.default_matmul_precision("highest"), jax.default_prng_impl("rbg")):
        with setting:
            assert kept().compiled_for != before
    assert kept().compiled_for == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("versions_below", {"jax": "0.0.1"}),
        ("versions_below", {"jaxlib": "0.0.1"}),
        ("hardware", "1 core of another machine"),
        ("instruction_set", ["x86_64", "sse2"]),
    ],
)
def test_the_machine_and_the_packages_decide_what_is_compiled(monkeypatch, name, value):
    before = kept().compiled_for
    monkeypatch.setattr(provenance, name, lambda *of: value)
    assert kept().compiled_for != before


def test_other_source_and_packages_leave_what_the_compiler_does_as_it_is(monkeypatch):
    before, versions = kept(), provenance.versions_below()
    for module, name, value in (
        (source, "AS_IMPORTED", "of another package"),
        (provenance, "versions_below", lambda: {**versions, "flax": "0.0.1"}),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value)
            assert kept().compiled_for == before.compiled_for and kept().traced_from != before.traced_from


def test_nothing_is_found_where_the_source_has_changed_since_it_was_imported(monkeypatch):
    monkeypatch.setattr(source, "is_unchanged", lambda: False)
    assert kept() is None


def test_another_process_has_the_same_digests(tmp_path):
    """Nothing in them is an address or another accident of one process."""
    code = """
import types, jax, numpy as np
from ssdkd_jax import source
source.is_unchanged = lambda: True
from tests.jobs.test_program_key import kept
from ssdkd_jax.training.devices import spread
jax.config.update("jax_compilation_cache_dir", "anywhere")
found = kept(devices=2)
state = spread({"a": np.zeros((2, 3), np.float32)}, found.devices)
print(found.traced_from, found.compiled_for, found.entry("step", (state, jax.random.key(0), np.int32(1))).name)
"""
    environment = {**os.environ, KEEP_PROGRAMS: "1", "PYTHONPATH": str(tiny_job.ROOT)}
    command = [sys.executable, "-c", code]
    in_folder = {"cwd": tmp_path, "capture_output": True, "text": True, "check": True}
    runs = [subprocess.run(command, env={**environment, "PYTHONHASHSEED": seed}, **in_folder) for seed in ("1", "2")]
    assert runs[0].stdout == runs[1].stdout and len(runs[0].stdout.split()) == 3


def test_where_programs_are_kept_decides_nothing(tmp_path):
    before = digests()
    with cache_in(tmp_path / "elsewhere"):
        assert digests() == before


@pytest.mark.parametrize(
    "mine",
    [
        {"architecture": "mine.py:make"},
        {"student__name": "mine.py:make"},
        {"teacher__name": "mine.py:make"},
        {"dataset": "mine.py:load"},
    ],
)
def test_a_users_file_may_import_what_has_changed(mine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").touch()
    assert kept(**mine) is None


def test_a_users_method_may_too(monkeypatch):
    class Mine(methods.find_method("ssdkd").method):
        """One that Python has registered under a bare name."""

    monkeypatch.setattr(program_key, "find_method", lambda name: methods.find_method(name)._replace(method=Mine))
    assert kept() is None


@pytest.mark.parametrize("value", ["0", "", None])
def test_only_the_command_line_has_programs_kept(monkeypatch, value):
    """A notebook can change functions of the package while it runs."""
    if value is None:
        monkeypatch.delenv(KEEP_PROGRAMS)
    else:
        monkeypatch.setenv(KEEP_PROGRAMS, value)
    assert kept() is None


def test_nothing_is_kept_in_a_bucket_without_a_cache_or_of_several_processes(monkeypatch):
    for name, value in (("jax_compilation_cache_dir", "gs://bucket/programs"), ("jax_enable_compilation_cache", False)):
        before = getattr(jax.config, name)
        jax.config.update(name, value)
        try:
            assert kept() is None
        finally:
            jax.config.update(name, before)
    assert kept() is not None
    monkeypatch.setattr(multiprocess, "count", lambda: 2)
    assert kept() is None

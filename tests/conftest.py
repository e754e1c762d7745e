"""Eight virtual CPU devices for every test, which must be said before JAX is imported, and one cache of programs."""

import gc
import os
import pathlib
import signal
import time

import pytest

# Programs of tests take longer to compile than to run, and twice as long with all of XLA's optimizations.
FLAGS = (
    "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0 "
    "--xla_llvm_disable_expensive_passes=true --xla_cpu_use_fusion_emitters=false"
)
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}"
os.environ["JAX_PLATFORMS"] = "cpu"
# Tests raise errors through JAX on purpose, and to shorten their tracebacks takes longer than most of these tests.
os.environ["JAX_TRACEBACK_FILTERING"] = "off"
# Tests change functions; the programs that they start (tests/programs.py) do not.
os.environ["SSDKD_JAX_KEEP_PROGRAMS"] = "0"


# `nohup make test` ignores it, and so would every process of these tests.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="module", autouse=True)
def compiled_programs_are_freed():
    """Or those of the whole suite add up to several gigabytes."""
    yield
    import jax

    jax.clear_caches()


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """A folder that all test processes of this session share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def made_once(shared):
    """(name, make) -> folder of this name, which the first test process that asks for it had made by `make(folder)`."""
    from ssdkd_jax.files import try_lock

    def made(name, make) -> pathlib.Path:
        folder = shared / name
        while (lock := try_lock(folder.with_name(folder.name + ".lock"))) is None:
            time.sleep(0.1)
        done = folder.with_name(folder.name + ".done")
        with lock:
            if not done.exists():
                make(folder)
                done.touch()
        return folder

    return made


@pytest.fixture(scope="session", autouse=True)
def compiled_programs(shared):
    """One cache of compiled programs for all test processes and for the programs that they start."""
    import jax

    from experiments.command_line import OBJECTS_BETWEEN_COLLECTIONS

    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)  # as in the programs
    settings = {
        "jax_compilation_cache_dir": str(shared / "compiled"),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)
        del os.environ[name.upper()]

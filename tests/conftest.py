"""Eight virtual CPU devices for every test; must run before JAX is imported."""

import os

import pytest

# Programs of tests take longer to compile than to run, and twice as long with all of XLA's optimizations.
FLAGS = (
    "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0 "
    "--xla_llvm_disable_expensive_passes=true"
)
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}"
os.environ["JAX_PLATFORMS"] = "cpu"


@pytest.fixture(scope="module", autouse=True)
def compiled_programs_are_freed():
    """Or those of the whole suite add up to several gigabytes."""
    yield
    import jax

    jax.clear_caches()

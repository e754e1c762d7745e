"""JAX's cache of compiled programs, and what is written beside it in other threads."""

import contextlib
import threading

import jax
from jax.experimental.compilation_cache import compilation_cache

from ssdkd_jax.training.compilation import COMPILERS


@contextlib.contextmanager
def cache_in(folder):
    """Within, JAX keeps its programs in this folder; None is nowhere."""
    before = jax.config.jax_compilation_cache_dir
    _use(folder and str(folder))
    try:
        yield
    finally:
        _use(before)


def _use(folder):
    jax.config.update("jax_compilation_cache_dir", folder)
    compilation_cache.reset_cache()


def wait_until_written():
    """Until all threads that compile and write are free: each is held by one of these calls."""
    together = threading.Barrier(COMPILERS._max_workers + 1)
    waiting = [COMPILERS.submit(together.wait, 60) for _ in range(COMPILERS._max_workers)]
    together.wait(60)
    for future in waiting:
        future.result()

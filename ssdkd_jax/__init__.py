"""Data-free knowledge distillation in JAX: SSD-KD and the family it is compared with.

The names below are what most programs need; everything else is in the modules that they come from.
"""

import importlib

from ssdkd_jax import source  # noqa: F401 (before all other modules, so that none is of newer files)

__version__ = "0.1.0"

# name -> (module, name there); imported when asked for, since JAX takes seconds.
_PUBLIC = {
    "create_generator": ("ssdkd_jax.models", "create_generator"),
    "create_model": ("ssdkd_jax.models", "create_model"),
    "model_names": ("ssdkd_jax.models", "model_names"),
    "load_network": ("ssdkd_jax.training.saved_network", "load_network"),
    "save_network": ("ssdkd_jax.training.saved_network", "save_network"),
    "from_torch_state_dict": ("ssdkd_jax.interop", "from_torch_state_dict"),
    "to_torch_state_dict": ("ssdkd_jax.interop", "to_torch_state_dict"),
    "load_torch_file": ("ssdkd_jax.interop", "load_torch_file"),
    "load_split": ("ssdkd_jax.data", "load_split"),
    "METHODS": ("ssdkd_jax.methods", "METHODS"),
    "run": ("ssdkd_jax.jobs.run", "run_job"),
    "UserError": ("ssdkd_jax.errors", "UserError"),
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'ssdkd_jax' has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__():
    return sorted(__all__)

"""How long a run's warm-up is."""

import copy

from ssdkd_jax.jobs.networks import add_section, method_settings
from ssdkd_jax.methods import section_of


def fitting_warmup(config, method):
    """Epochs of a method's warm-up, see `shortened`."""
    return shortened(method_settings(config, method).get("warmup_epochs", 0), config.epochs)


def shortened(warmup, epochs):
    """A warm-up of at most half of a short run's epochs (`--config.epochs=3`), so that the student learns."""
    return epochs // 2 if 0 < epochs <= warmup else warmup


def with_fitting_warmup(config):
    """(the config with the warm-up that its epochs leave room for, what to tell of it: "" where nothing changes)."""
    fitting = fitting_warmup(config, config.method)
    asked = method_settings(config, config.method).get("warmup_epochs", 0)
    if fitting == asked:
        return config, ""
    config = copy.deepcopy(config)
    add_section(config, config.method)
    config[section_of(config.method)].warmup_epochs = fitting
    return config, f"the warm-up is shortened from {asked} to {fitting} epochs"

"""The warm-up that fits a run's epochs, also that of a user's own method, of which no config knows the settings."""

import pytest

from configs import digits
from ssdkd_jax import methods
from ssdkd_jax.jobs.comparison import _configs
from ssdkd_jax.jobs.schedule import with_fitting_warmup
from tests import own_method


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.setattr(methods, "METHODS", dict(methods.METHODS))
    return own_method.written(tmp_path)


def config_of(method, epochs):
    config = digits.get_config()
    config.update(method=method, epochs=epochs)
    return config


def test_a_short_run_has_a_short_warmup(mine):
    config = config_of(mine, 4)
    shortened, told = with_fitting_warmup(config)
    assert (shortened.MyMethod.warmup_epochs, told) == (2, "the warm-up is shortened from 20 to 2 epochs")
    assert "MyMethod" not in config


def test_a_long_run_keeps_its_config(mine):
    config = config_of(mine, 100)
    assert with_fitting_warmup(config) == (config, "")


def test_a_comparison_sets_the_warmup_of_a_method_that_the_config_does_not_know(mine):
    configs = _configs(config_of("ssdkd", 4), [mine, "ssdkd"], seeds=1)
    assert configs["MyMethod", 0].MyMethod.warmup_epochs == 2

"""Every field of a config as a line: name, default, meaning and range."""

from ssdkd_jax import settings
from ssdkd_jax.jobs.networks import method_settings
from ssdkd_jax.jobs.run_settings import SECTIONS, RunSettings
from ssdkd_jax.methods import METHODS, find_method, section_of


def describe_fields(config=None) -> str:
    """The fields of a run, of its networks and of its method.

    Args:
      config: ConfigDict whose values are shown as defaults; None shows the common ones.
    """
    values = {} if config is None else config
    method = values.get("method", RunSettings.method)
    own = find_method(method).settings if config is None else method_settings(config, method)
    others = [name for name in METHODS if name != section_of(method)]
    parts = ["fields of a config:", *settings.describe(RunSettings, "--config.", values)]
    for name, section in SECTIONS.items():
        parts += settings.describe(section, f"--config.{name}.", values.get(name))
    parts += ["", f"settings of {method}; other methods are {', '.join(others)}:"]
    parts += [
        line
        for line, name in zip(
            settings.describe(find_method(method).method, f"--config.{section_of(method)}.", own),
            settings.fields(find_method(method).method),
            strict=True,
        )
        if name in own
    ]
    return "\n".join(parts)

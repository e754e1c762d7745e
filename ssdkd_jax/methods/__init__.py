"""Methods by name."""

import dataclasses
from typing import Any, NamedTuple

from ssdkd_jax import settings
from ssdkd_jax.errors import UserError, did_you_mean
from ssdkd_jax.methods.base import Method
from ssdkd_jax.methods.baselines import NoiseKD, Scratch, TransferKD, VanillaKD
from ssdkd_jax.methods.cmi import CMI
from ssdkd_jax.methods.dafl import DAFL
from ssdkd_jax.methods.deepinversion import DeepInversion
from ssdkd_jax.methods.dfad import DFAD
from ssdkd_jax.methods.dfq import DFQ
from ssdkd_jax.methods.fastdfkd import FastDFKD
from ssdkd_jax.methods.hidfd import HiDFD
from ssdkd_jax.methods.nayer import NAYER
from ssdkd_jax.methods.ssdkd import SSDKD
from ssdkd_jax.methods.ssdkd_settings import PAPER
from ssdkd_jax.methods.zskt import ZSKT
from ssdkd_jax.user_code import is_user_code, load_object


class Preset(NamedTuple):
    """A method with some of its settings changed.

    method: the class.
    changes: {setting: value}, what differs from the class's defaults.
    """

    method: type[Method]
    changes: dict[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        """{setting: value} of all that have an effect."""
        values = {**settings.defaults(self.method), **self.changes}
        return {name: value for name, value in values.items() if name not in self.method.without_effect}


# Names that a config takes; each has a section of settings of its own in it.
METHODS = {
    # SSD-KD with our defaults, and as the paper reads to us whatever they are.
    "ssdkd": Preset(SSDKD, {}),
    "ssdkd_paper": Preset(SSDKD, PAPER),
    # FastDFKD with ten, five and two inversion steps, as published, and without its meta step.
    "fastdfkd": Preset(FastDFKD, {}),
    "fastdfkd10": Preset(FastDFKD, {}),
    "fastdfkd5": Preset(FastDFKD, {"inversion_steps": 5, "generator_learning_rate": 3e-3}),
    "fastdfkd2": Preset(
        FastDFKD, {"inversion_steps": 2, "generator_learning_rate": 5e-3, "latent_learning_rate": 0.015}
    ),
    "fast": Preset(FastDFKD, {"meta_update": "none", "reset_after": 0}),
    # CMI and DeepInversion as the public scripts run them, and with as many steps as in the published tables.
    "deepinversion": Preset(DeepInversion, {}),
    "deepinversion2k": Preset(DeepInversion, {"inversion_steps": 2000}),
    "cmi": Preset(CMI, {}),
    "cmi500": Preset(CMI, {"inversion_steps": 500}),
    "nayer": Preset(NAYER, {}),
    "dafl": Preset(DAFL, {}),
    "dfq": Preset(DFQ, {}),
    "zskt": Preset(ZSKT, {}),
    "dfad": Preset(DFAD, {}),
    # HiDFD as the paper means it, and as its released code runs.
    "hidfd": Preset(HiDFD, {}),
    "hidfd_released": Preset(
        HiDFD,
        {
            "discriminator": "plain",
            "shared_embedding": False,
            "integration_gradient": False,
            "smoothing_counts": False,
        },
    ),
    # Baselines, which see images that are given.
    "vanilla_kd": Preset(VanillaKD, {}),
    "scratch": Preset(Scratch, {}),
    "transfer_kd": Preset(TransferKD, {}),
    "noise_kd": Preset(NoiseKD, {}),
}


def find_method(name: str) -> Preset:
    """The method of a name, or of a user's own file.

    Args:
      name: a name in METHODS, or "path/to/file.py:ClassName".

    Raises:
      UserError: no such name, file or class; the class is no Method.
    """
    if is_user_code(name):
        found = load_object(name)
        if not (isinstance(found, type) and issubclass(found, Method) and dataclasses.is_dataclass(found)):
            raise UserError(
                f"{name} is {found!r}, expected a dataclass that inherits from ssdkd_jax.methods.base.Method; "
                "docs/extending.md has an example"
            )
        return Preset(found, {})
    if name not in METHODS:
        raise UserError(f"unknown method {name!r}; {did_you_mean(name, METHODS)}known are: {', '.join(METHODS)}")
    return METHODS[name]


def section_of(name: str) -> str:
    """The section of a config with a method's settings: its name, or the class name of a user's own."""
    return name.rpartition(":")[2] if is_user_code(name) else name


def register(name: str) -> None:
    """Makes a user's own method, "path/to/file.py:ClassName", known: every config then has a section for it.

    Raises:
      UserError: as `find_method`; the class has the name of another method.
    """
    section, preset = section_of(name), find_method(name)
    if section in METHODS and METHODS[section] != preset:
        raise UserError(f"{name}: there is already a method called {section}; rename the class")
    METHODS[section] = preset

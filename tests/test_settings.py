"""Settings: their ranges, and the lines that describe them."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssdkd_jax import settings
from ssdkd_jax.settings import setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    alpha: float = setting(0.6, "exponent of the priorities", at_least=0)
    rate: float = setting(0.1, "learning rate", more_than=0)
    share: float = setting(0.4, "share", at_least=0, at_most=1)
    momentum: float = setting(0.9, "momentum", at_least=0, less_than=1)
    steps: int = setting(3, "steps", at_least=1)
    kind: str = setting("own", "which", choices=("own", "drawn"))
    name: str = setting("x", "any text")
    no_setting: int = 5


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"alpha": -0.5}, "alpha is -0.5, expected 0 or more"),
        ({"rate": 0.0}, "rate is 0.0, expected more than 0"),
        ({"share": 1.5}, "share is 1.5, expected between 0 and 1"),
        ({"momentum": 1.0}, "momentum is 1.0, expected at least 0 and less than 1"),
        ({"steps": 0}, "steps is 0, expected at least 1"),
        ({"kind": "other"}, "kind is 'other', expected one of: own, drawn"),
        ({"alpha": float("nan")}, "alpha is nan, expected a finite number, 0 or more"),
        ({"rate": float("inf")}, "rate is inf, expected a finite number, more than 0"),
    ],
)
def test_values_outside_the_range_are_named(changes, expected):
    with pytest.raises(ValueError) as error:
        settings.check(Example(**changes))
    assert str(error.value) == expected


@given(
    alpha=st.floats(0, 1e9),
    rate=st.floats(1e-9, 1e9),
    share=st.floats(0, 1),
    momentum=st.floats(0, 0.999),
    steps=st.integers(1, 10**6),
    kind=st.sampled_from(["own", "drawn"]),
    name=st.text(),
)
def test_values_within_the_range_pass(**values):
    settings.check(Example(**values))


def test_only_settings_are_listed():
    assert "no_setting" not in settings.fields(Example)
    assert settings.defaults(Example)["alpha"] == 0.6


def test_each_setting_is_a_line_with_default_meaning_and_range():
    lines = settings.describe(Example, "--config.x.", {"steps": 7})
    assert lines[0] == "--config.x.alpha=0.6: exponent of the priorities (0 or more)"
    assert "--config.x.steps=7: steps (at least 1)" in lines
    assert "--config.x.kind='own': which (one of: own, drawn)" in lines
    assert "--config.x.name='x': any text" in lines

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
    on: bool = setting(True, "a switch")
    layers: tuple[str, ...] = setting((), "names")
    maybe: bool | None = setting(None, "a switch, or as it comes")
    whole: float = setting(1, "a float written as an int")
    seed: int = setting(0, "a seed", at_least=0, less_than=2**31)
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
        # Types.
        ({"steps": "many"}, "steps is 'many', expected int such as 3"),
        ({"steps": None}, "steps is None, expected int such as 3"),
        ({"steps": 2.5}, "steps is 2.5, expected int such as 3"),
        ({"steps": True}, "steps is True, expected int such as 3"),
        ({"alpha": [1]}, "alpha is [1], expected float such as 0.6"),
        ({"alpha": False}, "alpha is False, expected float such as 0.6"),
        ({"on": "no"}, "on is 'no', expected bool such as True"),
        ({"name": 7}, "name is 7, expected str such as 'x'"),
        ({"layers": None}, "layers is None, expected tuple of str"),
        ({"layers": ("a", 3)}, "layers is ('a', 3), expected tuple of str"),
        ({"maybe": "no"}, "maybe is 'no', expected bool | None"),
        # Numbers that nobody can mean, though no range of their own forbids them.
        ({"alpha": 1e300}, "alpha is 1e+300, expected at most 1000000"),
        ({"alpha": 10**7}, "alpha is 10000000, expected at most 1000000"),
        ({"alpha": 1e-300}, "alpha is 1e-300, expected at least 1e-12, or 0"),
        ({"rate": 1e-300}, "rate is 1e-300, expected at least 1e-12"),
        ({"steps": 10**12}, "steps is 1000000000000, expected at most 10000000"),
        ({"seed": 2**31}, "seed is 2147483648, expected at least 0 and less than 2147483648"),
    ],
)
def test_values_outside_the_range_are_named(changes, expected):
    with pytest.raises(ValueError) as error:
        settings.check(Example(**changes))
    assert str(error.value) == expected


@given(
    alpha=st.just(0.0) | st.floats(1e-12, 1e6),
    rate=st.floats(1e-9, 1e6),
    share=st.just(0.0) | st.floats(1e-12, 1),
    momentum=st.just(0.0) | st.floats(1e-12, 0.999),
    steps=st.integers(1, 10**6),
    kind=st.sampled_from(["own", "drawn"]),
    name=st.text(),
)
def test_values_within_the_range_pass(**values):
    settings.check(Example(**values))


@pytest.mark.parametrize(
    "changes",
    [{"alpha": 2}, {"whole": 0.5}, {"layers": ["a"]}, {"maybe": True}, {"maybe": None}, {"seed": 2**31 - 1}],
    ids=str,
)
def test_values_of_a_like_type_pass(changes):
    settings.check(Example(**changes))


def test_only_settings_are_listed():
    assert "no_setting" not in settings.fields(Example)
    assert settings.defaults(Example)["alpha"] == 0.6


def test_each_setting_is_a_line_with_default_meaning_and_range():
    lines = settings.describe(Example, "--config.x.", {"steps": 7})
    assert lines[0] == "--config.x.alpha=0.6: exponent of the priorities (0 or more)"
    assert "--config.x.steps=7: steps (at least 1)" in lines
    assert "--config.x.kind='own': which (one of: own, drawn)" in lines
    assert "--config.x.name='x': any text" in lines

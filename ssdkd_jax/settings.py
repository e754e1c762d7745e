"""A setting's default, meaning and range on one line, for dataclasses whose fields are settings.

    alpha: float = setting(0.6, "exponent of the priorities; 0 draws uniformly", at_least=0)

`--help` prints these lines, and `check` validates values against them.
"""

import dataclasses
import math
import typing
from typing import Any, NamedTuple

# Where nothing else is said: numbers that float32 and int32 hold with room for products, and that can be meant.
LARGEST_INT, LARGEST_FLOAT, SMALLEST_FLOAT = 10**7, 1e6, 1e-12


class Range(NamedTuple):
    """The values that a setting can have; None means no bound, and no choices that any text will do."""

    at_least: float | None = None
    more_than: float | None = None
    at_most: float | None = None
    less_than: float | None = None
    choices: tuple[str, ...] = ()

    def holds(self, value: Any) -> bool:
        """True if a value is in the range; numbers must be finite too."""
        if self.choices:
            return value in self.choices
        if not isinstance(value, int | float):
            return True
        return _is_finite(value) and not (
            (self.at_least is not None and value < self.at_least)
            or (self.more_than is not None and value <= self.more_than)
            or (self.at_most is not None and value > self.at_most)
            or (self.less_than is not None and value >= self.less_than)
        )

    def __str__(self) -> str:
        if self.choices:
            return f"one of: {', '.join(self.choices)}"
        if self.at_least is not None and self.at_most is not None:
            return f"between {self.at_least} and {self.at_most}"
        bounds = []
        if self.at_least is not None:
            bounds.append("0 or more" if self.at_least == 0 and self.less_than is None else f"at least {self.at_least}")
        if self.more_than is not None:
            bounds.append(f"more than {self.more_than}")
        if self.at_most is not None:
            bounds.append(f"at most {self.at_most}")
        if self.less_than is not None:
            bounds.append(f"less than {self.less_than}")
        return " and ".join(bounds)


def setting(default: Any, meaning: str, **bounds: Any) -> Any:
    """A dataclass field with a default, a meaning and a range.

    Args:
      default: its value unless another is given.
      meaning: what it does, and in which unit.
      **bounds: fields of Range.
    """
    return dataclasses.field(default=default, metadata={"meaning": meaning, "range": Range(**bounds)})


def fields(owner: type) -> dict[str, dataclasses.Field]:
    """name -> field of a dataclass, for those made by `setting`, in their order."""
    return {field.name: field for field in dataclasses.fields(owner) if "meaning" in field.metadata}


def defaults(owner: type) -> dict[str, Any]:
    """name -> default of every setting of a dataclass."""
    return {name: field.default for name, field in fields(owner).items()}


def problem_with(owner: type, name: str, value: Any) -> str:
    """What is wrong with a setting's value, such as "expected at least 1"; "" if nothing is."""
    field = fields(owner)[name]
    allowed, kind, element = field.metadata["range"], *_types(field)
    if not _is_of(kind, value) or (kind is tuple and not all(_is_of(element, one) for one in value)):
        example = f" such as {field.default!r}" if field.default not in ("", (), None) else ""
        return f"expected {_in_words(kind, element)}{example}"
    if not allowed.holds(value):
        finite = "" if _is_finite(value) else "a finite number"
        return f"expected {', '.join(filter(None, (finite, str(allowed))))}"
    return _beyond(allowed, value, LARGEST_INT if kind is int else LARGEST_FLOAT)


def _types(field):
    """(type of a setting, type of its elements if it is a tuple); object where anything goes."""
    arguments = typing.get_args(field.type)
    if field.type in (float, "float"):  # whatever the default is written as
        return float, object
    if isinstance(field.default, tuple):
        return tuple, arguments[0] if arguments else object
    if field.default is None:
        return (object if isinstance(field.type, str) else field.type), object
    return type(field.default), object


def _is_of(kind, value):
    """As isinstance, but a bool is no number, an int is a float too, and a list is a tuple too."""
    if kind in (int, float) and isinstance(value, bool):
        return False
    return isinstance(value, {float: int | float, tuple: tuple | list}.get(kind, kind))


def _in_words(kind, element):
    if kind is tuple:
        return "tuple" if element is object else f"tuple of {element.__name__}"
    return getattr(kind, "__name__", str(kind))


def _is_finite(value):
    return not isinstance(value, float) or math.isfinite(value)


def _beyond(allowed, value, largest):
    """What is wrong with a number that its own range lets through; "" if nothing is."""
    if not isinstance(value, int | float) or value == 0:
        return ""
    if abs(value) < SMALLEST_FLOAT:
        return f"expected at least {SMALLEST_FLOAT:g}" + ("" if allowed.more_than == 0 else ", or 0")
    if allowed.at_most is None and allowed.less_than is None and abs(value) > largest:
        return f"expected at most {largest:.0f}"
    return ""


def check(instance: Any) -> None:
    """Raises ValueError, naming the setting, unless every setting of a dataclass instance is in its range."""
    for name in fields(type(instance)):
        value = getattr(instance, name)
        problem = problem_with(type(instance), name, value)
        if problem:
            raise ValueError(f"{name} is {value!r}, {problem}")


def describe(owner: type, prefix: str = "", values: dict[str, Any] | None = None) -> list[str]:
    """A line for each setting: name, default, meaning and range.

    Args:
      owner: the dataclass.
      prefix: put before each name, such as "--config.ssdkd.".
      values: defaults that differ from the dataclass's own.
    """
    lines = []
    for name, field in fields(owner).items():
        default = (values or {}).get(name, field.default)
        allowed = str(field.metadata["range"])
        meaning = field.metadata["meaning"] + (f" ({allowed})" if allowed else "")
        lines.append(f"{prefix}{name}={default!r}: {meaning}")
    return lines

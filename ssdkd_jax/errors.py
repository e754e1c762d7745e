"""The exceptions for what the user can fix, and parts of their messages."""

import difflib
from collections.abc import Iterable, Sequence


class UserError(Exception):
    """A mistake in a path, name, shape, device count or config field.

    The message is one line: what is wrong, what was expected, and the command that fixes it.
    The command-line programs print it without a traceback and exit with status 2.
    """


class Diverged(UserError):
    """A loss or a parameter is not finite: one run is lost to its settings, others of the same program are not."""


def closest(word: object, known: Iterable[str]) -> str | None:
    """The known word that is most like a misspelled one, whatever its capital letters; None where none is."""
    lower = {one.lower(): one for one in known}
    found = difflib.get_close_matches(str(word).lower(), lower, n=1)
    return lower[found[0]] if found else None


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """The question after the closest of the known words, for the middle of a message; "" where none is close."""
    found = closest(word, known)
    return f"did you mean {found!r}? " if found else ""


def first_few(names: Sequence[object], most: int = 3) -> str:
    """The first of some names for a message, with an ellipsis where there are more: "a, b, c, ..."."""
    return ", ".join(map(str, names[:most])) + ", ..." * (len(names) > most)

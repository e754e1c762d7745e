"""Variables of the environment with which JAX does not start."""

import os
import sys
from collections.abc import Mapping


def import_jax() -> None:
    """Imports JAX; where it refuses a variable, that is told as a user's mistake, in one line and with status 2."""
    try:
        import jax  # noqa: F401
    except ValueError as error:
        name = variable_in(str(error))
        if name is None:
            raise
        print(
            f"error: {name} is {os.environ[name]!r}, which JAX does not take; mend it, or take it away: unset {name}",
            file=sys.stderr,
        )
        sys.exit(2)


def variable_in(message: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """The variable that an error of JAX is about: named in any case, or, where none is, with its value quoted."""
    of_jax = [name for name in sorted(environment, key=len, reverse=True) if name.startswith("JAX")]
    named = [name for name in of_jax if name in message.upper()]
    quoted = [name for name in of_jax if repr(environment[name]) in message]
    return next(iter([*named, *quoted]), None)

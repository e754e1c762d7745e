"""The exceptions for what the user can fix."""


class UserError(Exception):
    """A mistake in a path, name, shape, device count or config field.

    The message is one line: what is wrong, what was expected, and the command that fixes it.
    The command-line programs print it without a traceback and exit with status 2.
    """


class Diverged(UserError):
    """A loss or a parameter is not finite: one run is lost to its settings, others of the same program are not."""

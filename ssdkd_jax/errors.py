"""The one exception for mistakes that the user can mend."""


class UserError(Exception):
    """A mistake in a path, name, shape, device count or config field.

    The message is one line: what is wrong, what was expected, and the command that mends it.
    The command-line programs print it without a traceback and exit with status 2.
    """

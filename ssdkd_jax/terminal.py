"""What appears on the terminal: nothing of what libraries say about their own work, and every name of a file."""

import logging
import os
import sys
import warnings


def silence_libraries() -> None:
    """Keeps libraries off the terminal; what goes wrong comes as exceptions."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", message="Some donated buffers were not usable")


def escape_names() -> None:
    """Prints names that are not text with escapes; a user's file of such a name would end the program otherwise."""
    if sys.stdout is not None:  # which it is where the shell has closed it
        sys.stdout.reconfigure(errors="backslashreplace")

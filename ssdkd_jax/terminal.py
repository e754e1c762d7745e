"""What appears on the terminal: nothing of what libraries say about their own work, and every name of a file."""

import logging
import os
import sys
import warnings


def silence_libraries() -> None:
    """Keeps libraries off the terminal; what goes wrong comes as exceptions."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    for name in ("absl", "asyncio", "gcsfs", "matplotlib"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", message="Some donated buffers were not usable")


def open_closed_streams() -> None:
    """Reads nothing from, and writes to nowhere what would go to, a standard stream that the shell has closed (`2>&-`).

    Files opened later would have its number otherwise, and what libraries complain of would end in them.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 (until the end)


def escape_names() -> None:
    """Prints what is no text, such as the bytes of some files' names, with escapes; `print` would fail otherwise."""
    sys.stdout.reconfigure(errors="backslashreplace")

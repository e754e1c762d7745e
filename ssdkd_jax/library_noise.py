"""What libraries say about their own work."""

import logging
import os
import warnings


def silence() -> None:
    """Keeps it off the terminal; what goes wrong comes as exceptions."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", message="Some donated buffers were not usable")

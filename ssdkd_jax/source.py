"""This package's source, as it was when the package was imported."""

import hashlib
import os
import pathlib

_PACKAGE = pathlib.Path(__file__).parent


def digest(folder: pathlib.Path = _PACKAGE) -> str:
    """Digest of the names and contents of a folder's Python files; "" where there are none, or some cannot be read."""
    whole, paths = hashlib.sha256(), [path for path in sorted(folder.rglob("[!.]*.py")) if path.is_file()]
    try:
        for path in paths:
            whole.update(os.fsencode(path.relative_to(folder)) + b"\n" + path.read_bytes())
    except OSError:
        return ""
    return whole.hexdigest() if paths else ""


AS_IMPORTED = digest()


def is_unchanged() -> bool:
    """Whether the files are those that were imported; False where that is not known."""
    return AS_IMPORTED != "" and digest() == AS_IMPORTED

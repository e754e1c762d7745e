"""The configs and studies that come with the package, by name."""

import pathlib

from ssdkd_jax.errors import UserError, closest


def shipped_files(package, function):
    """{name: file} of the files in a package's folder that define a function, by name; others help them."""
    files = sorted(pathlib.Path(package.__file__).parent.glob("*.py"))
    return {file.stem: file for file in files if f"\ndef {function}(" in file.read_text()}


def shipped_file(path, package, function):
    """The file that a user means by its name, or by its path in a checkout.

    Raises:
      UserError: there is none; the message goes on after "there is no ...; ".
    """
    name, files = pathlib.PurePath(path), shipped_files(package, function)
    if str(name.parent) in (".", package.__name__) and name.suffix in ("", ".py") and name.stem in files:
        return files[name.stem]
    close = closest(name.stem, files)
    meant = f"did you mean {package.__name__}/{close}.py? " if close else ""
    raise UserError(f"{meant}shipped are: {', '.join(files)}")


def shipped_name(path, package, function):
    """What a file is called in results: one that is shipped by its name, any other by its path."""
    resolved = pathlib.Path(path).resolve()
    return next((name for name, file in shipped_files(package, function).items() if file.resolve() == resolved), path)

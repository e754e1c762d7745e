"""The arguments of a command line, before flags are read from them."""

import configs
from experiments.shipped_files import shipped_file
from ssdkd_jax.errors import UserError
from ssdkd_jax.files import expand

# Flags whose values are names of methods.
OF_METHODS = ("config.method", "methods")


def joined(argv):
    """The command line with `--config X` as `--config=X`, and so the flags that name methods."""
    arguments, rest = [], list(argv)
    while rest:
        argument = rest.pop(0)
        if argument.startswith("-") and argument.lstrip("-") in ("config", *OF_METHODS) and rest:
            argument = f"{argument}={rest.pop(0)}"
        arguments.append(argument)
    return arguments


def config_path(argument):
    """(file, ":argument") of `--config=FILE:ARGUMENT`, or None of another argument."""
    flag, equals, value = argument.partition("=")
    if not (argument.startswith("-") and equals and flag.lstrip("-") == "config"):
        return None
    path, colon, preset = value.partition(":")
    return path, colon + preset


def path_in(argv):
    """The config file of a command line, or "" if it names none."""
    return next((found[0] for found in map(config_path, argv) if found), "")


def with_file(argument, example):
    """The argument, with the file of a shipped config in place of its name."""
    found = config_path(argument)
    if found is None:
        return argument
    path, preset = found
    own = expand(path)  # which the shell does not do behind a "="
    if own.is_file():
        return f"--config={own}{preset}"
    try:
        return f"--config={shipped_file(path, configs, 'get_config')}{preset}"
    except UserError as error:
        raise UserError(f"there is no config file {path!r}; {error}; for example: {example}") from error

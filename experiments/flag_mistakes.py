"""What to say of flags, config files and their fields that are wrong: one line each, with what was meant."""

import os
import re
import traceback

from absl import flags
from ml_collections import ConfigDict

from experiments import arguments
from ssdkd_jax.errors import closest, did_you_mean

# What defines flags of its own when it is imported, none of which does anything here.
_LIBRARIES = ("absl", "chex", "orbax")
# What parsers say of a value, and what it means.
_PARSERS_WORDS = {
    r"invalid literal for int\(\).*": "expected a whole number",
    r"could not convert string to float.*": "expected a number",
    r"\('Non-boolean argument.*": "expected true or false",
}


def unknown_flag(name, example):
    """What to say of a flag that a program does not have."""
    known = {*flags.FLAGS, "help", "version", "list"} - flags_of_libraries()
    close = closest(name, sorted(known))
    of_config = meant_field([f"{field}=" for field in (name, name.partition(".")[2])])
    meant = of_config or (f"; did you mean --{close}?" if close else _close_field(name))
    return f"unknown flag --{name}{meant}; for example: {example}"


def _close_field(name):
    """A question with the config's field that is most like a flag, where the program takes a config; or ""."""
    close = closest(name, known_fields()) if "config" in flags.FLAGS else None
    return f"; did you mean --config.{close}=...?" if close else ""


def flags_of_libraries():
    """Names, short ones too, of the flags that libraries define when they are imported."""
    by_module = flags.FLAGS.flags_by_module_dict()
    theirs = [flag for module in by_module if module.split(".")[0] in _LIBRARIES for flag in by_module[module]]
    return {"undefok", *(name for flag in theirs for name in (flag.name, flag.short_name))}


def meant_field(given):
    """What to add where arguments such as `epochs=5` name a config's fields without saying so; "" if none does."""
    for argument in given:
        field = argument.lstrip("-").partition("=")[0]
        if "=" in argument and field in known_fields():
            return f"; did you mean --config.{field}=...?"
    return ""


def unknown_field(argv, error):
    """What to say where an argument names a field that is not there, or None where the error is another."""
    words = re.findall(r"\w+", str(error.args[0] if error.args else error))
    name = words[0] if words else ""
    for argument in argv[1:]:
        field = argument.partition("=")[0]
        if field.startswith("--config.") and (field.endswith(f".{name}") or name in field.split(".")):
            return not_a_field(field)
    return None


def not_a_field(field):
    """What to say of a `--config.NAME` that no config has."""
    close = closest(field.removeprefix("--config."), known_fields())
    meant = f"did you mean --config.{close}? " if close else ""
    return f"unknown config field {field}; {meant}--help lists the fields"


def known_fields():
    """Names of a config's fields, with a dot in those of sections."""
    from configs.common import get_common_config
    from ssdkd_jax.jobs.config_checks import field_names

    return field_names(get_common_config())


def bad_value(argv, error, example):
    """What to say of a flag's value that cannot be parsed, or of a config file that `flags` took for one."""
    if "Traceback (most recent call last):" in str(error) and error.__context__ is not None:
        return failing_config(argv, error.__context__)
    reason = _reason(error).removeprefix("flag ")
    for words, meaning in _PARSERS_WORDS.items():
        reason = re.sub(words, meaning, reason)
    reason = re.sub(r"=(.*): value should be one of <(.*)>", _choices, reason)
    return reason if reason.startswith("--config.") else f"{reason}; for example: {example}"


def _choices(found):
    """What to say of a value that is none of a flag's, given as (value, "choice|choice")."""
    known = found[2].split("|")
    return f"={found[1]}: {did_you_mean(found[1], known)}expected one of: {', '.join(known)}"


def no_config(argv):
    """What to say where a config file's `get_config`, called once more, returns something else; or None."""
    try:
        path, preset = next(filter(None, map(arguments.config_path, argv)))
        returned = flags.FLAGS["config"].parser.parse(path + preset)
    except (Exception, SystemExit):
        return None
    return None if isinstance(returned, ConfigDict) else returned_something_else(path, returned)


def returned_something_else(path, returned):
    """What to say where `get_config` of a file returned something that is no config."""
    kind = "nothing" if returned is None else f"a {type(returned).__name__}"
    return (
        f"{path}: get_config() returned {kind}, expected an ml_collections.ConfigDict, as "
        "configs.common.get_common_config() makes one"
    )


def failing_config(argv, error):
    """What went wrong in a config file, with the file and the line."""
    path = arguments.path_in(argv)
    if isinstance(error, SyntaxError):
        line = f", line {error.lineno}" if error.lineno else ""
        return f"the config cannot be read: {error.filename or path}{line}: {error.msg}"
    if isinstance(error, AttributeError) and str(error).startswith("FrozenConfigDict"):
        return f"{path}: get_config() returned a FrozenConfigDict, expected an ml_collections.ConfigDict"
    if isinstance(error, AttributeError) and "get_config" in str(error):
        return f"{path} has no function get_config(), which every config file has; configs/digits.py is an example"
    paths = {os.path.abspath(found[0]) for found in map(arguments.config_path, argv) if found}
    frames = [frame for frame in _frames(error) if os.path.abspath(frame.filename) in paths]
    if any(frame.filename.endswith("config_path.py") for frame in traceback.extract_tb(error.__traceback__)):
        return no_config(argv) or (
            f"{path}: a section that the command line changes is none; begin with configs.common.get_common_config()"
        )
    if isinstance(error, TypeError) and not frames:  # raised by the call itself
        what = _reason(error).removeprefix("TypeError: ")
        return f"the config cannot be read: {path}: {what}; expected `def get_config(argument=None):`"
    place = f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else path
    kind = type(error).__name__
    return f"the config cannot be read: {place}: {kind}: {_reason(error).removeprefix(f'{kind}: ')}"


def _frames(error):
    """Of an exception, and of those behind it, from which ml_collections makes a new one."""
    while error is not None:
        yield from traceback.extract_tb(error.__traceback__)
        error = error.__cause__ or error.__context__


def _reason(error):
    """The first line of what an exception says; the last one where it quotes a whole traceback."""
    lines = [line for line in str(error.args[0] if error.args else error).split("\n") if line.strip()]
    if not lines:
        return type(error).__name__
    return " ".join(lines[-1 if "Traceback (most recent call last):" in lines else 0].split())

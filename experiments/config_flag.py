"""The flag `--config`: shipped files by name, a user's own methods, overrides, and mistakes in one line."""

import math
import os
import re
import traceback

from absl import flags
from ml_collections import ConfigDict, config_flags

import configs
from experiments.shipped_files import shipped_file, shipped_files
from ssdkd_jax.errors import UserError, closest, did_you_mean
from ssdkd_jax.files import expand

# What defines flags of its own when it is imported, none of which does anything here.
_LIBRARIES = ("absl", "chex", "orbax")
# Flags whose values are names of methods.
_OF_METHODS = ("config.method", "methods")
# Where ml_collections finds what sets fields: the command line as `read_flags` completed it.
_ARGV: list[str] = []
# What parsers say of a value, and what it means.
_PARSERS_WORDS = {
    r"invalid literal for int\(\).*": "expected a whole number",
    r"could not convert string to float.*": "expected a number",
    r"\('Non-boolean argument.*": "expected true or false",
}


def define(meaning):
    """Defines the flag `--config`; `meaning` is its line of the help."""
    config_flags.DEFINE_config_file("config", None, meaning, flag_values=flags.FLAGS, sys_argv=_ARGV)


def read_flags(argv, example):
    """Positional arguments of the command line; flags are then in `flags.FLAGS`.

    Args:
      argv: the command line, the program first.
      example: a command that works, for messages.

    Raises:
      UserError: anything wrong with a flag, the config's file or one of its fields.
    """
    argv = [_with_file(argument, example) for argument in _joined(argv)]
    _register_methods(argv)
    _refuse(argv, example)
    for field in (argument.partition("=")[0] for argument in argv[1:] if argument.startswith("--config.")):
        if not re.fullmatch(r"[\w.]+", field.removeprefix("--")):  # `--config.evaluate-every=2`
            raise UserError(_not_a_field(field))
    _ARGV[:] = argv
    try:
        rest = flags.FLAGS(argv)[1:]
    except UserError:
        raise
    except flags.UnrecognizedFlagError as error:
        raise UserError(_unknown_flag(error.flagname, example)) from error
    except (AttributeError, KeyError) as error:
        raise UserError(_no_config(argv) or _unknown_field(argv, error) or _where(argv, error)) from error
    except flags.Error as error:
        raise UserError(_bad_value(argv, error, example)) from error
    except (Exception, SystemExit) as error:
        raise UserError(_where(argv, error)) from error
    _check_values(example)
    if _path_in(argv):
        _check_config(flags.FLAGS.config, argv)
    return rest


def _check_values(example):
    """Raises UserError for values of flags that parse but mean nothing; a config's fields have checks of their own."""
    for flag in (flags.FLAGS[name] for name in flags.FLAGS if not name.startswith("config.")):
        if isinstance(flag.value, float) and math.isnan(flag.value):
            raise UserError(f"--{flag.name}=nan, expected a number; for example: {example}")
        if flag.present and isinstance(flag.value, list) and not (flag.value and all(map(str.strip, flag.value))):
            problem = "has an empty name" if flag.value else "names nothing"
            expected = f"expected names with a comma between two; for example: {example}"
            raise UserError(f"--{flag.name}={','.join(flag.value)} {problem}, {expected}")


def overridden_fields():
    """Names of the config's fields that the command line set, such as "ssdkd.alpha"."""
    return list(config_flags.get_override_values(flags.FLAGS["config"]))


def meant_field(arguments):
    """What to add where arguments such as `epochs=5` name a config's fields without saying so; "" if none does."""
    for argument in arguments:
        field = argument.lstrip("-").partition("=")[0]
        if "=" in argument and field in _known_fields():
            return f"; did you mean --config.{field}=...?"
    return ""


def in_place_of_a_field(missing):
    """What to add where a flag that is missing, such as --methods, takes the place of a field that was set; or ""."""
    fields = overridden_fields() if "config" in flags.FLAGS and flags.FLAGS.config is not None else []
    for flag in missing:
        field = flag.removeprefix("--").removesuffix("s")
        if field in fields:
            return f", which takes the place of --config.{field}"
    return ""


def describe_fields(example):
    """Every field of a config as a line; of the one on the command line, else of the common one."""
    import sys

    from ssdkd_jax.jobs.help_text import describe_fields as describe

    argv = [argument for argument in sys.argv if argument not in ("--help", "-h")]
    config = None
    if any(argument.lstrip("-").partition("=")[0] == "config" for argument in argv if argument.startswith("-")):
        read_flags(argv, example)
        config = flags.FLAGS.config
    return describe(config)


def names_of(kind):
    """Names of the methods, networks or configs that there are."""
    from ssdkd_jax.methods import METHODS
    from ssdkd_jax.models import model_names

    known = {
        "methods": lambda: list(METHODS),
        "networks": model_names,
        "configs": lambda: list(shipped_files(configs, "get_config")),
    }
    if not kind:
        raise UserError(f"--list needs a kind of names, one of: {', '.join(known)}; for example: --list=methods")
    if kind not in known:
        raise UserError(f"--list={kind}, {did_you_mean(kind, known)}expected one of: {', '.join(known)}")
    return known[kind]()


def _joined(argv):
    """The command line with `--config X` as `--config=X`, and so the flags that name methods."""
    joined, rest = [], list(argv)
    while rest:
        argument = rest.pop(0)
        if argument.startswith("-") and argument.lstrip("-") in ("config", *_OF_METHODS) and rest:
            argument = f"{argument}={rest.pop(0)}"
        joined.append(argument)
    return joined


def _config_path(argument):
    """(file, ":argument") of `--config=FILE:ARGUMENT`, or None of another argument."""
    flag, equals, value = argument.partition("=")
    if not (argument.startswith("-") and equals and flag.lstrip("-") == "config"):
        return None
    path, colon, preset = value.partition(":")
    return path, colon + preset


def _path_in(argv):
    """The config file of a command line, or "" if it names none."""
    return next((found[0] for found in map(_config_path, argv) if found), "")


def _refuse(argv, example):
    """Raises UserError where flags are given in a way that none of them can be."""
    _refuse_twice(argv)
    files = [argument for argument in argv if _config_path(argument)]
    for argument in argv[1:]:
        flag = argument.partition("=")[0]
        name = flag.lstrip("-")
        if name.startswith("config.") and not files:
            wrong = "which this program does not take; expected its own flags"
            if "config" in flags.FLAGS:
                wrong = "and none is given; expected --config=FILE too"
            raise UserError(f"{flag} changes a config, {wrong}, as in: {example}")
        if flag.startswith("-") and name == "flagfile":
            raise UserError("--flagfile is not read; give the flags themselves")
        if flag.startswith("-") and {name, name.removeprefix("no")} & _flags_of_libraries():
            raise UserError(_unknown_flag(name, example))
        if flag.startswith("--config.") and _is_section(name.removeprefix("config.")):
            raise UserError(f"{name.removeprefix('config.')} is a section: {flag}.FIELD=...")
        _refuse_field_of_field(flag)


def _flags_of_libraries():
    """Their names, short ones too."""
    by_module = flags.FLAGS.flags_by_module_dict()
    theirs = [flag for module in by_module if module.split(".")[0] in _LIBRARIES for flag in by_module[module]]
    return {"undefok", *(name for flag in theirs for name in (flag.name, flag.short_name))}


def _unknown_flag(name, example):
    """What to say of a flag that a program does not have."""
    known = {*flags.FLAGS, "help", "version", "list"} - _flags_of_libraries()
    close = closest(name, sorted(known))
    of_config = meant_field([f"{field}=" for field in (name, name.partition(".")[2])])
    meant = of_config or (f"; did you mean --{close}?" if close else _close_field(name))
    return f"unknown flag --{name}{meant}; for example: {example}"


def _close_field(name):
    """A question with the config's field that is most like a flag, where the program takes a config; or ""."""
    close = closest(name, _known_fields()) if "config" in flags.FLAGS else None
    return f"; did you mean --config.{close}=...?" if close else ""


def _refuse_field_of_field(flag):
    """Raises UserError for a flag `config.FIELD.NAME` where the field is no section, such as `config.epochs.x`."""
    found = re.fullmatch(r"-+(?:no)?config\.(.+\..+)", flag)
    parts, known = (found[1].split("."), _known_fields()) if found else ((), ())
    for field in (".".join(parts[:length]) for length in range(1, len(parts))):
        if field in known:
            raise UserError(f"{field} has no fields of its own, as in {flag}; expected --config.{field}=VALUE")


def _refuse_twice(argv):
    """Raises UserError where one flag or field has two values, of which the last would win without a word."""
    given, rest = {}, list(argv[1:])
    while rest and rest[0] != "--":
        argument = rest.pop(0)
        name, equals, _ = argument.lstrip("-").partition("=")
        if not argument.startswith("-"):
            continue
        known = name if name in flags.FLAGS or name.startswith("config.") else name.removeprefix("no")
        if not (known in flags.FLAGS or known.startswith("config.")):
            continue
        # A value of its own argument is none of a flag, whatever it looks like; switches have none.
        if not equals and rest and not rest[0].startswith("-") and not _is_switch(known):
            argument = f"{argument} {rest.pop(0)}"
        if known in given:
            raise UserError(f"--{known} is given twice: {given[known]} {argument}; expected one")
        given[known] = argument


def _is_switch(name):
    return name in flags.FLAGS and flags.FLAGS[name].boolean


def _is_section(name):
    from ssdkd_jax.jobs.run_settings import SECTIONS
    from ssdkd_jax.methods import METHODS

    return name in SECTIONS or name in METHODS


def _with_file(argument, example):
    """The argument, with the file of a shipped config in place of its name."""
    found = _config_path(argument)
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


def _register_methods(argv):
    """A user's own methods have their sections in the config before it is read."""
    from ssdkd_jax import methods
    from ssdkd_jax.user_code import is_user_code

    for argument in argv:
        flag, _, value = argument.partition("=")
        if flag.lstrip("-") in _OF_METHODS:
            for name in filter(is_user_code, value.split(",")):
                methods.register(name)


def _check_config(config, argv):
    """Raises UserError unless a config file gave what the programs need, whatever the command line changed."""
    from configs.common import get_common_config
    from ssdkd_jax.jobs.config_checks import check_fields

    path = _path_in(argv)
    if not isinstance(config, ConfigDict):
        raise UserError(_returned_something_else(path, config))
    missing = sorted(set(get_common_config()) - set(config))
    if missing:
        raise UserError(
            f"{path}: the config lacks {', '.join(missing[:5])}{' and more' if len(missing) > 5 else ''}; begin with "
            "configs.common.get_common_config() and change fields of that"
        )
    try:
        check_fields(config)
    except UserError as error:
        by_flag = any(f"{field} " in str(error) for field in overridden_fields())
        raise UserError(str(error) if by_flag else f"{path}: {error}") from error


def _no_config(argv):
    """What to say where a config file's `get_config`, called once more, returns something else; or None."""
    try:
        path, preset = next(filter(None, map(_config_path, argv)))
        returned = flags.FLAGS["config"].parser.parse(path + preset)
    except (Exception, SystemExit):
        return None
    return None if isinstance(returned, ConfigDict) else _returned_something_else(path, returned)


def _returned_something_else(path, returned):
    kind = "nothing" if returned is None else f"a {type(returned).__name__}"
    return (
        f"{path}: get_config() returned {kind}, expected an ml_collections.ConfigDict, as "
        "configs.common.get_common_config() makes one"
    )


def _unknown_field(argv, error):
    """What to say where an argument names a field that is not there, or None where the error is another."""
    words = re.findall(r"\w+", str(error.args[0] if error.args else error))
    name = words[0] if words else ""
    for argument in argv[1:]:
        field = argument.partition("=")[0]
        if field.startswith("--config.") and (field.endswith(f".{name}") or name in field.split(".")):
            return _not_a_field(field)
    return None


def _not_a_field(field):
    """What to say of a `--config.NAME` that no config has."""
    close = closest(field.removeprefix("--config."), _known_fields())
    meant = f"did you mean --config.{close}? " if close else ""
    return f"unknown config field {field}; {meant}--help lists the fields"


def _known_fields():
    from configs.common import get_common_config
    from ssdkd_jax.jobs.config_checks import field_names

    return field_names(get_common_config())


def _bad_value(argv, error, example):
    """What to say of a flag's value that cannot be parsed, or of a config file that `flags` took for one."""
    if "Traceback (most recent call last):" in str(error) and error.__context__ is not None:
        return _where(argv, error.__context__)
    reason = _reason(error).removeprefix("flag ")
    for words, meaning in _PARSERS_WORDS.items():
        reason = re.sub(words, meaning, reason)
    reason = re.sub(r"=(.*): value should be one of <(.*)>", _choices, reason)
    return reason if reason.startswith("--config.") else f"{reason}; for example: {example}"


def _choices(found):
    """What to say of a value that is none of a flag's, given as (value, "choice|choice")."""
    known = found[2].split("|")
    return f"={found[1]}: {did_you_mean(found[1], known)}expected one of: {', '.join(known)}"


def _where(argv, error):
    """What went wrong in a config file, with the file and the line."""
    path = _path_in(argv)
    if isinstance(error, SyntaxError):
        line = f", line {error.lineno}" if error.lineno else ""
        return f"the config cannot be read: {error.filename or path}{line}: {error.msg}"
    if isinstance(error, AttributeError) and str(error).startswith("FrozenConfigDict"):
        return f"{path}: get_config() returned a FrozenConfigDict, expected an ml_collections.ConfigDict"
    if isinstance(error, AttributeError) and "get_config" in str(error):
        return f"{path} has no function get_config(), which every config file has; configs/digits.py is an example"
    paths = {os.path.abspath(found[0]) for found in map(_config_path, argv) if found}
    frames = [frame for frame in _frames(error) if os.path.abspath(frame.filename) in paths]
    if any(frame.filename.endswith("config_path.py") for frame in traceback.extract_tb(error.__traceback__)):
        return _no_config(argv) or (
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

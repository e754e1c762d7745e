"""The flag `--config`: shipped files by name, a user's own methods, overrides, and mistakes in one line."""

import math
import re

from absl import flags
from ml_collections import ConfigDict, config_flags

import configs
from experiments import arguments, flag_mistakes
from experiments.shipped_files import shipped_files
from ssdkd_jax.errors import UserError, did_you_mean

# Where ml_collections finds what sets fields: the command line as `read_flags` completed it.
_ARGV: list[str] = []


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
    argv = [arguments.with_file(argument, example) for argument in arguments.joined(argv)]
    _register_methods(argv)
    _refuse(argv, example)
    for field in (argument.partition("=")[0] for argument in argv[1:] if argument.startswith("--config.")):
        if not re.fullmatch(r"[\w.]+", field.removeprefix("--")):  # `--config.evaluate-every=2`
            raise UserError(flag_mistakes.not_a_field(field))
    _ARGV[:] = argv
    try:
        rest = flags.FLAGS(argv)[1:]
    except UserError:
        raise
    except flags.UnrecognizedFlagError as error:
        raise UserError(flag_mistakes.unknown_flag(error.flagname, example)) from error
    except (AttributeError, KeyError) as error:
        raise UserError(
            flag_mistakes.no_config(argv)
            or flag_mistakes.unknown_field(argv, error)
            or flag_mistakes.failing_config(argv, error)
        ) from error
    except flags.Error as error:
        raise UserError(flag_mistakes.bad_value(argv, error, example)) from error
    except (Exception, SystemExit) as error:
        raise UserError(flag_mistakes.failing_config(argv, error)) from error
    _check_values(example)
    if arguments.path_in(argv):
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


def _refuse(argv, example):
    """Raises UserError where flags are given in a way that none of them can be."""
    _refuse_twice(argv)
    files = [argument for argument in argv if arguments.config_path(argument)]
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
        if flag.startswith("-") and {name, name.removeprefix("no")} & flag_mistakes.flags_of_libraries():
            raise UserError(flag_mistakes.unknown_flag(name, example))
        if flag.startswith("--config.") and _is_section(name.removeprefix("config.")):
            raise UserError(f"{name.removeprefix('config.')} is a section: {flag}.FIELD=...")
        _refuse_field_of_field(flag)


def _refuse_field_of_field(flag):
    """Raises UserError for a flag `config.FIELD.NAME` where the field is no section, such as `config.epochs.x`."""
    found = re.fullmatch(r"-+(?:no)?config\.(.+\..+)", flag)
    parts, known = (found[1].split("."), flag_mistakes.known_fields()) if found else ((), ())
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


def _register_methods(argv):
    """A user's own methods have their sections in the config before it is read."""
    from ssdkd_jax import methods
    from ssdkd_jax.user_code import is_user_code

    for argument in argv:
        flag, _, value = argument.partition("=")
        if flag.lstrip("-") in arguments.OF_METHODS:
            for name in filter(is_user_code, value.split(",")):
                methods.register(name)


def _check_config(config, argv):
    """Raises UserError unless a config file gave what the programs need, whatever the command line changed."""
    from configs.common import get_common_config
    from ssdkd_jax.jobs.config_checks import check_fields

    path = arguments.path_in(argv)
    if not isinstance(config, ConfigDict):
        raise UserError(flag_mistakes.returned_something_else(path, config))
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

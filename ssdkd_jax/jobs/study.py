"""What a study file holds: a config, and the fields that its variants change."""

import copy
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from ssdkd_jax import methods
from ssdkd_jax.errors import UserError, closest, did_you_mean
from ssdkd_jax.jobs import config_checks, run_folder
from ssdkd_jax.jobs.experiment import identity
from ssdkd_jax.jobs.networks import add_section
from ssdkd_jax.jobs.schedule import with_fitting_warmup
from ssdkd_jax.reports import run_files
from ssdkd_jax.user_code import is_user_code, load_object, reported_errors

FUNCTION = "get_study"
# Fields that no variant changes, since its runs are held against others seed by seed, with one teacher and test set.
_SHARED = (
    *("seed", "baselines", "devices", "dataset", "data_dir", "image_size", "image_shape", "normalization"),
    *("evaluate_on", "held_out_batches", "allow_weak_teacher", "matmul_precision"),
)
# And where the teacher is not given, those that its training heeds too.
_OF_TRAINING = ("crop_padding", "flip", "dtype", "param_dtype")
# Bytes of a variant's folder; file systems take 255, and seed and suffixes are added.
LONGEST_NAME = 200
# Files of a study, and those that say what else a folder is of.
RESERVED = {run_files.STUDY, run_files.STUDY_PLOT, *run_folder.KINDS.values()}


class Study(NamedTuple):
    """Variants of one config.

    config: ConfigDict with the fields of configs/common.py; its seed is the first one, its baselines are not used.
    variants: name -> {field: value}, with a dot for a field of a section ("ssdkd.alpha"); all are held against the
      first.
    seeds: number of seeds.
    """

    config: Any
    variants: Mapping[str, Mapping[str, Any]]
    seeds: int = 3


def grid(fields: Mapping[str, Iterable[Any]]) -> dict[str, dict[str, Any]]:
    """Every combination of some values, as variants of a study, the last field changing fastest.

    Args:
      fields: {"ssdkd.alpha": [0.0, 0.6], "epochs": [50, 100]}, for example.

    Returns:
      {"alpha=0 epochs=50": {"ssdkd.alpha": 0.0, "epochs": 50}, ...}; a section is named where two fields differ by it
      alone.

    Raises:
      UserError: a field without values; two values of a field would have one name.
    """
    fields = {field: list(values) for field, values in fields.items()}
    for field, values in fields.items():
        if not values:
            raise UserError(f"the grid has no values for {field}, expected one at least; leave the field out")
        _check_names(field, values)
    short = [field.rpartition(".")[2] for field in fields]
    names = [field if short.count(last) > 1 else last for field, last in zip(fields, short, strict=True)]
    return {
        " ".join(f"{name}={_in_words(value)}" for name, value in zip(names, values, strict=True)): dict(
            zip(fields, values, strict=True)
        )
        for values in itertools.product(*fields.values())
    }


def _check_names(field, values):
    """Raises UserError where two values of a grid's field have one name, so that one variant would hide the other."""
    named = {}
    for value in values:
        name = _in_words(value)
        if name in named:
            raise UserError(
                f"the grid has {named[name]!r} and {value!r} for {field}, one name ({name}); remove one of them"
            )
        named[name] = value


def _in_words(value):
    """A value as a part of a name: a number with six digits where these say all of it, else with all that it has."""
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(float(value))
    return re.sub(r"[\s,]+", "_", str(value))


def load_study(path: str) -> Study:
    """What `get_study()` of a Python file returns.

    Raises:
      UserError: no such file or function, it fails, or it returns something else.
    """
    name = f"{path}:{FUNCTION}"
    function = load_object(name)
    if not callable(function):
        raise UserError(f"{name} is {function!r}, expected a function that returns a Study")
    with reported_errors(name):
        study = function()
    if not isinstance(study, Study):
        kind = "nothing" if study is None else f"a {type(study).__name__}"
        raise UserError(f"{name} returned {kind}, expected a Study (ssdkd_jax.jobs.study)")
    try:
        check_study(study, study.seeds)
    except UserError as error:
        raise UserError(f"{path}: {without_flags(error).replace('--seeds', 'seeds')}") from error
    return study


def without_flags(error: UserError) -> str:
    """What is wrong with a config in words for a study, whose fields are set in its file."""
    return str(error).replace("--config.", "")


def check_study(study: Study, seeds: int) -> None:
    """Raises UserError, naming the entry, unless a study's parts are of their types."""
    if not isinstance(seeds, int) or isinstance(seeds, bool):
        raise UserError(f"seeds is {seeds!r}, expected a whole number")
    config_checks.check_fields(study.config)
    config_checks.check_seeds(seeds, first=study.config.seed)
    if not isinstance(study.variants, Mapping) or not study.variants:
        raise UserError(f"variants is {study.variants!r}, expected {{name: {{field: value}}}} with one at least")
    folders = {}
    for name, changes in study.variants.items():
        if not isinstance(name, str) or "," in name or not folder_name(name):
            raise UserError(f"a variant is called {name!r}, expected a text with letters or digits and without commas")
        if not isinstance(changes, Mapping) or not all(isinstance(field, str) for field in changes):
            raise UserError(f"the variant {name} is {changes!r}, expected {{field: value}}")
        if len(folder_name(name).encode()) > LONGEST_NAME:
            raise UserError(f"the variant {name[:40]!r}... has {len(name)} letters, expected at most {LONGEST_NAME}")
        if folder_name(name).lower() in RESERVED | {run_files.STUDY_RESULTS}:
            raise UserError(f"the variant {name!r} would have the name of a file in the study's folder; rename it")
        for field, value in changes.items():
            if isinstance(value, Mapping):
                inner = next(iter(value), "FIELD")
                raise UserError(f"the variant {name} sets {field} to {value!r}; expected '{field}.{inner}': value")
        other = folders.setdefault(folder_name(name).lower(), name)
        if other != name:
            raise UserError(f"the variants {other!r} and {name!r} would have one folder; rename one of them")


def folder_name(name: str) -> str:
    """The name of a variant's folder: with underscores for all but letters, digits and some signs."""
    return re.sub(r"[^\w.=+-]+", "_", name.replace("%", "percent")).strip("._")


def variant_configs(study: Study, only: Sequence[str] = ()) -> dict[str, Any]:
    """name -> ConfigDict of each variant, its values checked.

    Args:
      study: Study, checked.
      only: names of the variants that are wanted besides the first; () is all.

    Raises:
      UserError: an unknown variant or field, a variant that is wanted twice, a value out of its range or without
        effect, a field that all variants must share, two variants with the same result.
    """
    config_checks.check_once("--only", list(only), "variant")
    unknown = sorted(set(only) - set(study.variants))
    if unknown:
        meant = did_you_mean(unknown[0], study.variants)
        raise UserError(f"--only: there is no variant {unknown[0]!r}; {meant}known are: {', '.join(study.variants)}")
    first, configs, same = next(iter(study.variants)), {}, {}
    for name, changes in study.variants.items():
        try:
            config = configs[name] = _changed(study.config, changes)
            config_checks.check_values(config)
            config_checks.check_overrides(config, list(changes))
            _check_measured(config)
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
        decides = json.dumps(identity(with_fitting_warmup(config)[0]), sort_keys=True)
        other = same.setdefault(decides, name)
        if other != name:
            differing = _differing(study, configs, other, name)
            how = f"differ only in {', '.join(differing)}, and that changes no result" if differing else "are the same"
            raise UserError(f"the variants {other!r} and {name!r} {how}; remove one of them")
    return {name: config for name, config in configs.items() if not only or name in only or name == first}


def _differing(study, configs, one, other):
    """Names of the fields in which two variants differ."""
    changed = {**study.variants[one], **study.variants[other]}
    return [field for field in changed if _value(configs[one], field) != _value(configs[other], field)]


def _value(config, field):
    owner, name = _place(config, field)
    return owner[name]


def _place(config, field):
    """(the config, or the section of it that should have a field, the field's name there)."""
    section, _, name = field.rpartition(".")
    return (config.get(section) if section else config), name


def _check_measured(config):
    if config.epochs < 1 or config.evaluate_on != "test":
        raise UserError(
            f"epochs is {config.epochs} and evaluate_on is {config.evaluate_on}, but a study is of the accuracies of "
            "trained students, expected epochs of 1 or more and evaluate_on=test"
        )


def _changed(config, changes):
    """A copy of the config with these fields."""
    config = copy.deepcopy(config)
    config.baselines = ()
    if is_user_code(changes.get("method", "")):
        methods.register(changes["method"])
        add_section(config, changes["method"])
    for field, value in changes.items():
        _refuse_shared(config, field)
        owner, name = _place(config, field)
        if not isinstance(owner, ConfigDict) or name not in owner or isinstance(owner[name], ConfigDict):
            close = closest(field, config_checks.field_names(config))
            meant = f"did you mean {close}?" if close else "python -m experiments.main --help lists the fields"
            raise UserError(f"there is no field {field}; {meant}")
        try:
            owner[name] = value
        except (TypeError, ValueError) as error:
            kind = type(owner[name]).__name__
            raise UserError(f"{field} is {value!r}, expected {kind} such as {owner[name]!r}") from error
    return config


def _refuse_shared(config, field):
    of_training = field in _OF_TRAINING and not config.teacher.path
    if field in _SHARED or field.startswith("teacher.") or of_training:
        raise UserError(f"{field} is the same for all variants; set it in the study's config, or make another study")

"""What can be known to be wrong with a config before any work."""

import pathlib

from ssdkd_jax import models, settings
from ssdkd_jax.errors import UserError
from ssdkd_jax.jobs.networks import method_settings
from ssdkd_jax.jobs.run_settings import SECTIONS, RunSettings
from ssdkd_jax.methods import METHODS, find_method, section_of
from ssdkd_jax.training.devices import check_divisible

MOST_SEEDS = 1000
# Of `config.teacher`: what only the training of a teacher asks for, and what baselines ask for too.
_TEACHER_TRAINING = ("cache_dir", "seed", "epochs")
_REAL_TRAINING = ("batch_size", "learning_rate", "schedule", "nesterov", "weight_decay")


def check_values(config):
    """Raises UserError, naming the field, for an invalid value."""
    preset = find_method(config.method)
    for field, value in config.items():
        if field in settings.fields(RunSettings):
            _check(RunSettings, "", field, value)
    for section, owner in SECTIONS.items():
        for field, value in config[section].items():
            _check(owner, f"{section}.", field, value)
    for field, value in method_settings(config, config.method).items():
        _check(preset.method, f"{section_of(config.method)}.", field, value)
    _check_images(config)
    _check_buffer(config)
    _check_networks(config)


def _check(owner, prefix, field, value):
    problem = settings.problem_with(owner, field, value)
    if problem:
        raise UserError(f"{prefix}{field} is {value!r}, {problem}: --config.{prefix}{field}=...")


def _check_images(config):
    shape = tuple(config.image_shape)
    if any(shape):
        if len(shape) != 3 or not all(isinstance(side, int) and side > 0 for side in shape):
            raise UserError(f"image_shape is {shape}, expected (height, width, channels) such as (32, 32, 3)")
        if config.evaluate_on != "none":
            raise UserError(
                "image_shape is for data sets that are not built in, which have no test images; "
                "add --config.evaluate_on=none, or use --config.image_size=N to resize"
            )
    for share in config.baselines:
        if not (isinstance(share, int | float) and 0 < share <= 1):
            raise UserError(f"baselines holds {share!r}, expected shares of the real images such as (0.1, 1.0)")


def _check_buffer(config):
    values, prefix = method_settings(config, config.method), f"{section_of(config.method)}."
    if "buffer_size" in values and values["buffer_size"] < values.get("synthesis_batch_size", 1):
        raise UserError(
            f"{prefix}buffer_size is {values['buffer_size']}, expected at least one batch "
            f"({prefix}synthesis_batch_size={values['synthesis_batch_size']})"
        )


def _check_networks(config):
    models.create_model(config.student.name)
    if config.teacher.name:
        models.create_model(config.teacher.name)
    path = config.teacher.path
    if not path and config.evaluate_on == "none":
        raise UserError(
            "evaluate_on=none uses no real images, so no teacher can be trained; "
            "give one with --config.teacher.path=FILE_OR_FOLDER"
        )
    if not path and not config.teacher.name:
        raise UserError("there is no teacher: give --config.teacher.path=FILE_OR_FOLDER or --config.teacher.name=NAME")


def check_teacher_exists(config):
    """Raises UserError where the config names a teacher that is not there."""
    path = config.teacher.path
    if path and not pathlib.Path(path).expanduser().exists():
        raise UserError(
            f"there is no teacher at {path}; give an existing folder or file with --config.teacher.path=..."
        )


def check_batches(config, devices):
    """Raises UserError unless every batch can be divided over the devices."""
    values, section = method_settings(config, config.method), section_of(config.method)
    names = [name for name in ("synthesis_batch_size", "kd_batch_size", "renewed_views") if name in values]
    sizes = {f"{section}.{name}": values[name] for name in names if name != "renewed_views" or values[name]}
    if not config.teacher.path or config.baselines:
        sizes["teacher.batch_size"] = config.teacher.batch_size
    check_divisible(devices, **sizes)


def check_overrides(config, overridden, methods=None):
    """Raises UserError where a field was set on the command line but has no effect.

    Args:
      config: ConfigDict after the command line.
      overridden: names of the fields that the command line set, such as "ssdkd.alpha".
      methods: names of the methods that will run; None is the config's.
    """
    chosen = [section_of(name) for name in (methods if methods is not None else [config.method])]
    for field in overridden:
        section, _, name = field.partition(".")
        if name == "warmup_epochs" and section in chosen and 0 < config.epochs <= config[section].warmup_epochs:
            raise UserError(
                f"{field} is {config[section].warmup_epochs}, expected less than the run's epochs={config.epochs} "
                f"(the warm-up is part of the epochs): --config.{field}=N"
            )
        if section in METHODS and section not in chosen:
            raise UserError(
                f"--config.{field} has no effect on {', '.join(chosen)}; {_fix(config, section, name, chosen)}"
            )
        reason = _without_effect(config, section, name)
        if reason:
            raise UserError(f"--config.{field} has no effect {reason}; remove it")


def _fix(config, section, name, chosen):
    has_it = [method for method in chosen if method in config and name in config[method]]
    if has_it:
        return f"did you mean --config.{has_it[0]}.{name}?"
    return f"choose that method with --config.method={section}, or remove it"


def _without_effect(config, section, name):
    """Why a field that is no method's changes nothing, or ""."""
    if section == "teacher" and config.teacher.path:
        if name in _TEACHER_TRAINING:
            return "on a teacher that is given (teacher.path)"
        if name in _REAL_TRAINING and not config.baselines:
            return "on a teacher that is given (teacher.path), without baselines"
    if section == "held_out_batches" and config.evaluate_on != "none":
        return "when real test images are used (evaluate_on=test)"
    return ""


def check_seeds(seeds, least=1):
    """Raises UserError for an implausible number of seeds."""
    why = ": one seed says nothing about the noise" if least > 1 else ""
    if not least <= seeds <= MOST_SEEDS:
        raise UserError(f"--seeds is {seeds}, expected at least {least} and at most {MOST_SEEDS}{why}")

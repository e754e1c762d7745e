"""What can be known to be wrong with a config before any work."""

from ml_collections import ConfigDict, FrozenConfigDict

from ssdkd_jax import models, settings
from ssdkd_jax.data.collected import PHOTOGRAPHS, is_folder
from ssdkd_jax.data.loading import SEGMENTATION, is_prepared
from ssdkd_jax.errors import UserError, closest
from ssdkd_jax.files import expand
from ssdkd_jax.jobs.networks import method_settings
from ssdkd_jax.jobs.run_settings import SECTIONS, RunSettings
from ssdkd_jax.methods import METHODS, find_method, section_of
from ssdkd_jax.outputs import address_advice
from ssdkd_jax.training.devices import check_divisible

MOST_SEEDS = 1000
# Data sets whose names hold their folder.
_PATHS = ("folder:", "segmentation:")
# What a run without epochs reads, which trains and evaluates a teacher only.
READ_WITHOUT_EPOCHS = (
    *("epochs", "dataset", "data_dir", "image_size", "image_shape", "normalization", "evaluate_on", "teacher"),
    *("crop_padding", "flip", "dtype", "param_dtype", "matmul_precision", "devices", "distributed"),
    "evaluation_batch_size",
)
# Of `config.teacher`: what only the training of a teacher asks for, and what baselines ask for too.
_TEACHER_TRAINING = ("cache_dir", "seed", "epochs")
_REAL_TRAINING = ("batch_size", "learning_rate", "schedule", "nesterov", "weight_decay")


def field_names(config) -> list[str]:
    """Names of all fields of a config, those of its sections as "section.field"."""
    return [
        f"{name}.{inner}" if inner else name
        for name, value in config.items()
        for inner in (value if isinstance(value, ConfigDict) else [""])
    ]


def check_values(config):
    """Raises UserError, naming the field, for an invalid value."""
    check_fields(config)
    _check_images(config)
    _check_buffer(config)
    _check_losses(config)
    _check_networks(config)


def check_fields(config):
    """Raises UserError, naming the field, unless every field is there, of its type and in its range, and no other."""
    if not isinstance(config, ConfigDict) or isinstance(config, FrozenConfigDict):
        raise UserError(
            f"the config is a {type(config).__name__}, expected an ml_collections.ConfigDict, as "
            "configs.common.get_common_config() makes one"
        )
    _check_section(config, "", RunSettings, list(settings.fields(RunSettings)))
    methods = {section_of(config.method): find_method(config.method), **METHODS}
    for name, owner in SECTIONS.items():
        _check_section(config.get(name), name, owner, list(settings.fields(owner)))
    for name, preset in methods.items():
        if name in config:  # else the method's own settings are taken
            _check_section(config[name], name, preset.method, list(preset.settings))
    _refuse_unknown("", set(config) - set(settings.fields(RunSettings)), {*SECTIONS, *methods})


def _check_section(values, section, owner, names):
    """Holds the fields of one dataclass against it; `section` is "" for the config's first level."""
    if not isinstance(values, ConfigDict):
        raise UserError(f"{section} is {_short(values)}, expected a section as of configs.common.get_common_config()")
    prefix = f"{section}." if section else ""
    for name in names:
        if name not in values:
            raise UserError(
                f"the config lacks {prefix}{name}; begin with configs.common.get_common_config() and change that"
            )
        problem = settings.problem_with(owner, name, values[name])
        if problem:
            raise UserError(f"{prefix}{name} is {_short(values[name])}, {problem}: --config.{prefix}{name}=...")
    if section:
        _refuse_unknown(prefix, set(values), names)


def _refuse_unknown(prefix, names, known):
    unknown = sorted(set(names) - set(known))
    if unknown:
        close = closest(unknown[0], known)
        meant = f"did you mean {prefix}{close}?" if close else "--help lists the fields"
        raise UserError(f"the config has a field {prefix}{unknown[0]} that nothing reads; {meant}")


def _short(value):
    text = repr(value)
    return text if len(text) < 100 else f"{text[:100]}..."


def _check_images(config):
    shape = tuple(config.image_shape)
    if any(shape):
        if len(shape) != 3 or min(shape) < 1:
            raise UserError(f"image_shape is {shape}, expected (height, width, channels) such as (32, 32, 3)")
        if config.evaluate_on != "none":
            raise UserError(
                "image_shape is for data sets that are not built in, which have no test images; "
                "add --config.evaluate_on=none, or use --config.image_size=N to resize"
            )
    for share in config.baselines:
        if not 0 < share <= 1:
            raise UserError(f"baselines holds {share!r}, expected shares of the real images such as (0.1, 1.0)")
    if len(set(config.baselines)) < len(config.baselines):
        raise UserError(f"baselines is {tuple(config.baselines)}, expected each share once: --config.baselines=...")


def _check_buffer(config):
    values, prefix = method_settings(config, config.method), f"{section_of(config.method)}."
    if "buffer_size" in values and values["buffer_size"] < values.get("synthesis_batch_size", 1):
        raise UserError(
            f"{prefix}buffer_size is {values['buffer_size']}, expected at least one batch "
            f"({prefix}synthesis_batch_size={values['synthesis_batch_size']})"
        )


def _check_losses(config):
    """Raises UserError where no loss shapes the images, so that the student would learn from noise."""
    values, section = method_settings(config, config.method), section_of(config.method)
    weights = [f"{section}.{name}" for name in find_method(config.method).method.image_losses]
    if weights and not any(values[name.rpartition(".")[2]] for name in weights):
        raise UserError(
            f"{', '.join(weights)}: every weight of a loss that shapes the images is 0, so they would stay noise; "
            f"expected more than 0 for one of them at least: --config.{weights[0]}=X"
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
    if config.teacher.path:
        check_teacher_path(config.teacher.path)


def check_teacher_path(path):
    """Raises UserError unless there is something at this path."""
    if not expand(path).exists():
        raise UserError(
            f"there is no teacher at {path}{address_advice(path)}; give an existing folder or file with "
            "--config.teacher.path=..."
        )


def check_batches(config, devices):
    """Raises UserError unless every batch can be divided over the devices."""
    values, section = method_settings(config, config.method), section_of(config.method)
    names = [name for name in ("synthesis_batch_size", "kd_batch_size", "renewed_views") if name in values]
    sizes = {f"{section}.{name}": values[name] for name in names if name != "renewed_views" or values[name]}
    if not config.teacher.path or config.baselines:
        sizes["teacher.batch_size"] = config.teacher.batch_size
    check_divisible(devices, **sizes)


def check_overrides(config, overridden, methods=None, unused=None):
    """Raises UserError where a field was set on the command line but has no effect.

    Args:
      config: ConfigDict after the command line.
      overridden: names of the fields that the command line set, such as "ssdkd.alpha".
      methods: names of the methods that will run; None is the config's.
      unused: {field: why} of fields that the program itself does not use.
    """
    names = [config.method] if methods is None else methods
    chosen = [section_of(name) for name in names]
    for name in names:
        try:
            find_method(name)
        except UserError as error:
            raise UserError(f"--methods: {error}" if methods else str(error)) from error
    for field in overridden:
        section, _, name = field.partition(".")
        if field in (unused or {}):
            raise UserError(f"--config.{field} has no effect {unused[field]}; remove it")
        if name == "warmup_epochs" and section in chosen and 0 < config.epochs <= config[section].warmup_epochs:
            raise UserError(
                f"{field} is {config[section].warmup_epochs}, expected less than the run's epochs={config.epochs} "
                f"(the warm-up is part of the epochs): --config.{field}=N"
            )
        if section in METHODS and section not in chosen:
            raise UserError(
                f"--config.{field} has no effect on {', '.join(chosen)}; {_fix(config, section, name, chosen)}"
            )
        reason = _without_effect(config, section, name, names)
        if reason:
            raise UserError(f"--config.{field} has no effect {reason}; remove it")


def unread_without_epochs(config, overridden):
    """{field: why} of those that a run does not read where epochs=0, as `unused` of `check_overrides`."""
    if config.epochs:
        return {}
    read, given = set(READ_WITHOUT_EPOCHS), config.teacher.path
    of_training = {"crop_padding", "flip", *(f"teacher.{name}" for name in _REAL_TRAINING)} if given else set()
    unread = [field for field in overridden if field in of_training or field.partition(".")[0] not in read]
    return dict.fromkeys(unread, "with epochs=0, which only evaluates the teacher")


def without_effect(config, fields):
    """Those of some fields, named as "teacher.epochs", that change nothing about the config's run."""
    unread = unread_without_epochs(config, fields)
    parts = {field: field.partition(".") for field in fields}
    return {
        field
        for field, (section, _, name) in parts.items()
        if field in unread or _without_effect(config, section, name, [config.method])
    }


def _fix(config, section, name, chosen):
    has_it = [method for method in chosen if method in config and name in config[method]]
    if has_it:
        return f"did you mean --config.{has_it[0]}.{name}?"
    return f"choose that method with --config.method={section}, or remove it"


def _without_effect(config, section, name, methods):
    """Why a field changes nothing where these methods run, or ""."""
    if section == "teacher" and config.teacher.path:
        if name in _TEACHER_TRAINING:
            return "on a teacher that is given (teacher.path)"
        if name in _REAL_TRAINING and not config.baselines:
            return "on a teacher that is given (teacher.path), without baselines"
    if section == "held_out_batches" and config.evaluate_on != "none":
        return "when real test images are used (evaluate_on=test)"
    if section == "generator" and not any(_has_generator(config, method, name) for method in methods):
        return f"on {', '.join(methods)}: without a generator, or with a field of its own"
    if section == "data_dir":
        names = {config.dataset, *(method_settings(config, method).get("images", "") for method in methods)} - {""}
        if not any(map(_has_a_data_dir, names)):
            return f"on {', '.join(sorted(names))}, only on prepared TFDS sets, camvid and nyuv2"
    if section == "crop_padding" and config.teacher.path and not config.baselines:
        unread = [find_method(method).method.unread(method_settings(config, method)) for method in methods]
        if all("crop_padding" in of_method for of_method in unread):
            return unread[0]["crop_padding"]
    if section in METHODS and (why := METHODS[section].method.unread(config[section]).get(name)):
        return why
    return ""


def _has_a_data_dir(name):
    """Whether a data set lies in a folder that `data_dir` names."""
    if name in SEGMENTATION:
        return True
    return not (name == PHOTOGRAPHS or name.startswith(_PATHS) or is_folder(name)) and is_prepared(name)


def _has_generator(config, method, field):
    return find_method(method).method.uses_generator and field not in method_settings(config, method)


def check_once(flag, names, what):
    """Raises UserError where a flag's list names something twice; `what` is one of them, in a word."""
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UserError(f"{flag} names {', '.join(repeated)} more than once, expected each {what} once")


def check_seeds(seeds, first=0):
    """Raises UserError for an implausible number of seeds, or a last one out of range; `first` is the config's."""
    if first + seeds > 2**31:
        raise UserError(
            f"seed is {first}, so the last of {seeds} seeds is {first + seeds - 1}, expected less than {2**31}: "
            "--config.seed=N"
        )
    if not 1 <= seeds <= MOST_SEEDS:
        raise UserError(f"--seeds is {seeds}, expected at least 1 and at most {MOST_SEEDS}")

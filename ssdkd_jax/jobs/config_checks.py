"""What can be known to be wrong with a config before any work."""

import difflib
import math
import pathlib

from ssdkd_jax import models
from ssdkd_jax.errors import UserError
from ssdkd_jax.methods import METHODS
from ssdkd_jax.training.devices import check_divisible

_CHOICES = {
    "loop": ("auto", "scan", "steps"),
    "evaluate_on": ("test", "none"),
    "dtype": ("float32", "bfloat16"),
    "param_dtype": ("float32", "bfloat16"),
    "matmul_precision": ("default", "high", "highest"),
    "buffer_dtype": ("uint8", "bfloat16", "float32"),
    "bank_dtype": ("uint8", "bfloat16", "float32"),
}


def _fields(names, text, holds):
    return dict.fromkeys(names.split(), (text, holds))


# field, a method's without its prefix -> (what is expected, whether a number is that)
_RANGES = {
    **_fields(
        "evaluate_every checkpoint_every evaluation_batch_size held_out_batches generator.latent_size generator.width "
        "teacher.epochs teacher.batch_size inversion_steps synthesis_batch_size kd_steps kd_batch_size generator_steps "
        "kd_steps_per_round feature_bank_size negatives head_size generator_life embedding_size latent_size",
        "at least 1",
        lambda x: x >= 1,
    ),
    **_fields(
        "reset_after epochs devices image_size crop_padding teacher.weight_decay warmup_epochs bn oh adv gamma alpha "
        "generator_learning_rate latent_learning_rate student_final_learning_rate student_weight_decay student_bn act "
        "balance cr tv l2 pixel_learning_rate",
        "0 or more",
        lambda x: x >= 0,
    ),
    **_fields(
        "teacher.learning_rate student_learning_rate temperature priority_epsilon contrast_temperature js_temperature "
        "bank_megabytes",
        "more than 0",
        lambda x: x > 0,
    ),
    **_fields("beta_start beta_end", "between 0 and 1", lambda x: 0 <= x <= 1),
    **_fields("bn_momentum student_momentum", "at least 0 and less than 1", lambda x: 0 <= x < 1),
    **_fields("seed teacher.seed", "at least 0 and less than 2**31", lambda x: 0 <= x < 2**31),
}


def check_values(config):
    """Raises UserError, naming the field, where a value cannot be meant."""
    if config.method not in METHODS:
        raise UserError(unknown_method(config.method))
    for field, value in _flat(config):
        section, _, rest = field.partition(".")
        if section in METHODS and section != config.method:
            continue
        name = rest if section in METHODS else field
        if value not in _CHOICES.get(name, (value,)):
            raise UserError(f"{field} is {value!r}, expected one of: {', '.join(_CHOICES[name])}")
        expected, holds = _RANGES.get(name, ("a finite number", lambda x: True))
        if isinstance(value, int | float) and not (math.isfinite(value) and holds(value)):
            finite = "" if math.isfinite(value) or "finite" in expected else "a finite number, "
            raise UserError(f"{field} is {value}, expected {finite}{expected}: --config.{field}=...")
    _check_images(config)
    _check_schedule(config)
    _check_networks(config)


def unknown_method(name):
    """What to say of a method that there is not."""
    closest = difflib.get_close_matches(str(name), METHODS, n=1)
    suggestion = f"did you mean {closest[0]!r}? " if closest else ""
    return f"unknown method {name!r}; {suggestion}known are: {', '.join(METHODS)}"


def _flat(tree, prefix=""):
    for name, value in tree.items():
        if hasattr(value, "items"):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _check_images(config):
    shape = tuple(config.image_shape)
    if any(shape):
        if len(shape) != 3 or not all(isinstance(side, int) and side > 0 for side in shape):
            raise UserError(f"image_shape is {shape}, expected (height, width, channels) such as (32, 32, 3)")
        if config.evaluate_on != "none":
            raise UserError(
                "image_shape is for data sets that nobody here knows, which have no test images; "
                "add --config.evaluate_on=none, or use --config.image_size=N to resize"
            )
    for share in config.baselines:
        if not (isinstance(share, int | float) and 0 < share <= 1):
            raise UserError(f"baselines holds {share!r}, expected shares of the real images such as (0.1, 1.0)")


def _check_schedule(config):
    settings, prefix = config[config.method], f"{config.method}."
    if "buffer_size" in settings and settings.buffer_size < settings.synthesis_batch_size:
        raise UserError(
            f"{prefix}buffer_size is {settings.buffer_size}, expected at least one batch "
            f"({prefix}synthesis_batch_size={settings.synthesis_batch_size})"
        )


def _check_networks(config):
    models.create_model(config.student.name)
    if config.teacher.name:
        models.create_model(config.teacher.name)
    path = config.teacher.path
    if not path and config.evaluate_on == "none":
        raise UserError(
            "evaluate_on=none looks for no real image, so no teacher can be trained; "
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
    settings = config[config.method]
    names = [name for name in ("synthesis_batch_size", "kd_batch_size") if name in settings]
    sizes = {f"{config.method}.{name}": settings[name] for name in names}
    if not config.teacher.path or config.baselines:
        sizes["teacher.batch_size"] = config.teacher.batch_size
    check_divisible(devices, **sizes)

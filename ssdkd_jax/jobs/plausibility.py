"""What a run cannot mean, though every field on its own can: sizes beyond the machine, teachers that know nothing."""

import math

import jax
import numpy as np

from ssdkd_jax import kept_views, models
from ssdkd_jax.errors import UserError
from ssdkd_jax.jobs.image_spec import dataset_info, shape_and_classes, task_of
from ssdkd_jax.jobs.networks import method_settings
from ssdkd_jax.methods import METHODS, find_method, section_of
from ssdkd_jax.training.memory import check_memory

# A teacher must get at least this share of the way from chance to all right.
LEAST_KNOWLEDGE = 0.1
# Images of a run that nobody waits for, and what a fast device processes of them in a second.
MOST_IMAGES, IMAGES_PER_SECOND = 10**11, 100_000


def check_task(config) -> None:
    """Raises UserError where the config's networks or its method are not for the task of its data set."""
    task = task_of(config).name
    for flag, name in (("teacher.name", config.teacher.name), ("student.name", config.student.name)):
        check_network_task(config, name, f"it: --config.{flag}=NAME")
    if task not in find_method(config.method).method.tasks:
        able = ", ".join(name for name, preset in METHODS.items() if task in preset.method.tasks)
        raise UserError(
            f"{config.method} is not for {task}, which {config.dataset} is for; choose one of {able}: "
            "--config.method=NAME"
        )
    if task == "segmentation" and method_settings(config, config.method).get("views"):
        field = f"{section_of(config.method)}.views"
        raise UserError(f"{field} keeps the teacher's outputs, which are whole maps here; run it: --config.{field}=0")


def check_network_task(config, name, place) -> None:
    """Raises UserError where a network of the registry is for another task than the config's data set.

    Args:
      config: the run's.
      name: the network's.
      place: where it stands, with what mends it: "it: --config.student.name=NAME".
    """
    task = task_of(config).name
    if models.task_of(name) not in ("", task):
        raise UserError(
            f"{name} is a network for {models.task_of(name)}, but {config.dataset} is for {task}; choose one of "
            f"{', '.join(models.model_names(task))} for {place}"
        )


def check_sizes(config, devices) -> None:
    """Raises UserError where batches or data sets of the run's images cannot fit, before any image is read."""
    shape, class_names = shape_and_classes(config)
    classes = len(class_names)
    check_crop(config, shape)
    values = method_settings(config, config.method)
    largest = max((values[name] for name in _batch_fields(values)), default=1)
    # Pixels and their gradient, in float32.
    check_memory(
        2 * 4 * largest * math.prod(shape) // len(devices),
        devices[0],
        f"batches of {largest} images {shape}",
        smaller_batches(config),
    )
    if values.get("views"):
        views = min(values["views"], kept_views.count(config.crop_padding, config.flip))
        prefix = f"--config.{section_of(config.method)}.views"
        # A bank without a size keeps every image of the run.
        entries = values.get("buffer_size", config.epochs * values["synthesis_batch_size"])
        check_memory(
            4 * entries * views * classes // len(devices),
            devices[0],
            f"the teacher's outputs for {views} views of {entries:,} images",
            f"keep fewer views: {prefix}=N, or none: {prefix}=0",
        )
    if config.evaluate_on == "test":
        sizes = dataset_info(config).sizes
        # Of a folder that is not there yet no sizes are known.
        train, test = sizes.get("train", 0), sizes.get("test", 0)
        if not config.teacher.path:
            check_teacher_training(config, train)
        host = jax.devices("cpu")[0]
        check_memory(
            test * math.prod(shape),
            host,
            f"the {test:,} test images {shape}",
            "choose smaller images with --config.image_size=N",
        )


def smaller_batches(config) -> str:
    """What makes the programs of a run's method take less memory, in words."""
    fields = [f"{section_of(config.method)}.{name}" for name in _batch_fields(method_settings(config, config.method))]
    smaller = [f"--config.{field}=N" for field in [*fields, "image_size"]]
    return f"choose smaller batches or images: {', '.join(smaller)}"


def _batch_fields(settings):
    return [name for name in ("synthesis_batch_size", "kd_batch_size") if name in settings]


def work_of(config, method) -> int:
    """Images that a Method processes in all epochs, those of a synthesis as often as it has steps."""
    images = sum(map(method.images_processed, range(config.epochs)))
    # Which counts the images of a synthesis once, whatever the steps that they take.
    steps = getattr(method, "inversion_steps", 1) - 1
    return images + config.epochs * steps * getattr(method, "synthesis_batch_size", 0)


def check_work(config, method) -> None:
    """Raises UserError where a Method's epochs would take weeks on any machine."""
    names = [name for name in ("kd_steps", "inversion_steps", "generator_steps", "gan_steps") if hasattr(method, name)]
    fields = ["epochs", *(f"{section_of(config.method)}.{name}" for name in names)]
    _refuse_weeks(work_of(config, method), f"{config.epochs:,} epochs", _flags(fields))


def check_all_work(images: int, runs: int, at_once: int, choices: str) -> None:
    """Raises UserError where many runs together would take weeks on any machine, though each by itself would not.

    Args:
      images: that all of them process.
      runs: how many there are.
      at_once: how many of them at once, each as if it had a device of its own.
      choices: flag that says which methods or variants there are, such as "--methods=NAMES".
    """
    _refuse_weeks(images, f"{runs:,} runs", f"--seeds=N, {choices}, --config.epochs=N", at_once)


def check_teacher_training(config, training_images: int) -> None:
    """Raises UserError where the training of the teacher would take weeks on any machine."""
    epochs = config.teacher.epochs
    _refuse_weeks(epochs * training_images, f"{epochs:,} epochs", _flags(["teacher.epochs"]))


def _flags(fields):
    return ", ".join(f"--config.{field}=N" for field in fields)


def _refuse_weeks(images, of_what, flags, devices=1):
    speed = devices * IMAGES_PER_SECOND
    if images > devices * MOST_IMAGES:
        days = images / speed / 86400
        time = f"{days:,.0f} days" if days < 1000 else f"{days / 365:,.1f} years"
        raise UserError(
            f"the {of_what} process {images:,} images: at {speed:,} images a second these are {time}; choose fewer: "
            f"{flags}"
        )


def check_crop(config, shape) -> None:
    """Raises UserError where a random crop would cut whole images away."""
    if config.crop_padding >= min(shape[:2]):
        raise UserError(
            f"crop_padding is {config.crop_padding}, expected less than the images' {min(shape[:2])} pixels: "
            "--config.crop_padding=N"
        )


def check_teacher_knows(score: float, chance: float, metric: str, config) -> None:
    """Raises UserError where a teacher's percent on real test images are hardly better than chance.

    Args:
      score, chance: percent.
      metric: what they are, in words.
      config: the run's.
    """
    least = chance + LEAST_KNOWLEDGE * (100 - chance)
    if score < least and not config.allow_weak_teacher:
        causes = "another normalization (--config.normalization=NAME), another order of the classes, another data set"
        if not config.teacher.path:
            causes = "too short a training (--config.teacher.epochs=N), or too high a --config.teacher.learning_rate=X"
        raise UserError(
            f"the teacher has {score:.2f} % {metric}; chance is {chance:.2f} %: no student can learn from it; usual "
            f"causes are {causes}; --config.allow_weak_teacher=true accepts it anyway"
        )


def check_shares(field, shares, train) -> None:
    """Raises UserError where a share of the training set is less than one image of a class.

    Args:
      field: of the config, that has the shares.
      shares: each in (0, 1].
      train: the training set, a Dataset.
    """
    if train.labels.ndim == 1:
        smallest = min(count for count in np.bincount(train.labels).tolist() if count)
        of = "a class"
    else:  # label maps have many classes each
        smallest, of = len(train.labels), "a set"
    for share in shares:
        if share * smallest < 1:
            enough = [max(one, math.ceil(1e4 / smallest) / 1e4) for one in shares]
            value = str(enough[0]) if len(enough) == 1 else f"'{tuple(dict.fromkeys(enough))}'"
            raise UserError(
                f"{field} holds {share}, which is less than one image of {of} with {smallest}; expected at least "
                f"{1 / smallest:.2g}: --config.{field}={value}"
            )

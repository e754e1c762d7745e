"""What kind of images a run is about: shape, classes and normalization."""

from typing import NamedTuple

from ssdkd_jax import data, models
from ssdkd_jax.errors import UserError
from ssdkd_jax.tasks import CLASSIFICATION, TASKS, Task


class ImageSpec(NamedTuple):
    """The images of a run.

    shape: (h, w, c).
    class_names: in the order of the logits.
    mean, std: per channel, on the scale of [0, 1].
    task: what the networks make of them.
    """

    shape: tuple
    class_names: tuple
    mean: tuple
    std: tuple
    task: Task = CLASSIFICATION


def load_split(config, split):
    """The data.Dataset of a config: "train" or "test"."""
    return data.load_split(config.dataset, split, **_source(config))


def split_digest(config, split):
    """Digest of the same split, see `data.split_digest`."""
    return data.split_digest(config.dataset, split, **_source(config))


def dataset_info(config):
    """The data.DatasetInfo of a config."""
    return data.dataset_info(config.dataset, **_source(config))


def _source(config):
    return {"data_dir": config.data_dir or None, "image_size": config.image_size or None}


def shape_and_classes(config, num_classes=None):
    """(shape (h, w, c), class names) of the data set, or of the config where the data set is not built in."""
    if any(config.image_shape):
        names = tuple(str(i) for i in range(num_classes or 10))
        return tuple(config.image_shape), names
    try:
        info = dataset_info(config)
    except UserError as error:
        if config.evaluate_on == "none":
            raise UserError(f"{error} Or say what the images are: --config.image_shape='(32,32,3)'.") from error
        raise
    if len(info.class_names) < 2:
        raise UserError(f"{config.dataset} has a single class, expected two or more: --config.dataset=NAME")
    return tuple(info.image_shape), tuple(info.class_names)


def task_of(config):
    """The Task of the config's data set; of one that is not built in, that of its networks."""
    if any(config.image_shape):
        names = filter(None, (models.task_of(name) for name in (config.student.name, config.teacher.name)))
        return TASKS[next(names, CLASSIFICATION.name)]
    info = dataset_info(config)
    return TASKS[info.task]


def describe_images(config, shape, class_names, metadata, public="", *, tell=True):
    """ImageSpec with its normalization: the config's, else the teacher's own, else the data set's.

    Args:
      config: the run's.
      shape: (h, w, c).
      class_names: of the data set.
      metadata: of the teacher's folder, or {}.
      public: the normalization that the teacher's public checkpoints want, or "".
      tell: whether to print a normalization that is assumed.

    Raises:
      UserError: the teacher is for other images; a normalization for another number of channels.
    """
    if metadata and tuple(metadata["image_shape"]) != tuple(shape):
        raise UserError(
            f"the teacher is for images {tuple(metadata['image_shape'])}, but the run's are {tuple(shape)}; choose the "
            "teacher's data set with --config.dataset=NAME, or resize with --config.image_size=N"
        )
    if metadata and not config.normalization:
        names, mean, std = (tuple(metadata[field]) for field in ("class_names", "mean", "std"))
        return ImageSpec(shape, names, mean, std, task_of(config))
    given = bool(config.teacher.path)
    if given and tell and not config.normalization:
        assumed = public or data.normalization_name(config.dataset)
        print(f"assuming normalization {assumed!r}; set it with --config.normalization=NAME", flush=True)
    if config.normalization or public:
        mean, std = data.chosen_normalization(config.normalization or public, shape[-1])
    else:
        mean, std = data.normalization(config.dataset, shape[-1])
    if len(mean) != shape[-1]:
        raise UserError(
            f"the normalization of {config.dataset!r} is for {len(mean)} channels, but the images have {shape[-1]}; "
            "choose another with --config.normalization=NAME"
        )
    return ImageSpec(shape, class_names, mean, std, task_of(config))

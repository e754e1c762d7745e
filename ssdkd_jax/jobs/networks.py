"""A config made concrete: what images a run is about, and the networks for them."""

import pathlib
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ssdkd_jax import data, models, tasks
from ssdkd_jax.errors import UserError
from ssdkd_jax.methods import METHODS
from ssdkd_jax.models.convolution import loop_friendly_conv_general_dilated
from ssdkd_jax.training.clock import Clock
from ssdkd_jax.training.devices import spread
from ssdkd_jax.training.evaluation import make_predictor


class Images(NamedTuple):
    """What kind of images a run is about: shape (h, w, c), classes, and their normalization."""

    shape: tuple
    class_names: tuple
    mean: tuple
    std: tuple


class Setting(NamedTuple):
    """What every part of a job is handed."""

    config: Any
    devices: list
    clock: Clock
    interruption: Any
    workdir: pathlib.Path


def load_split(config, split):
    """The config's data set: "train" or "test"."""
    return data.load_split(
        config.dataset, split, data_dir=config.data_dir or None, image_size=config.image_size or None
    )


def kind_of_images(config, num_classes=None):
    """(shape (h, w, c), class names) of the data set, or of the config where nobody knows the data set."""
    if any(config.image_shape):
        names = tuple(str(i) for i in range(num_classes or 10))
        return tuple(config.image_shape), names
    try:
        info = data.dataset_info(config.dataset, config.data_dir or None, image_size=config.image_size or None)
    except UserError as error:
        if config.evaluate_on == "none":
            raise UserError(f"{error} Or say what the images are: --config.image_shape='(32,32,3)'.") from error
        raise
    if len(info.class_names) < 2:
        raise UserError(f"{config.dataset} has a single class, expected two or more: --config.dataset=NAME")
    return tuple(info.image_shape), tuple(info.class_names)


def describe_images(config, shape, class_names, metadata, public=""):
    """Images with their normalization: the config's, else the teacher's own, else the data set's.

    Args:
      config: the run's.
      shape: (h, w, c).
      class_names: of the data set.
      metadata: of the teacher's folder, or {}.
      public: the normalization that the teacher's public checkpoints want, or "".
    """
    if metadata and tuple(metadata["image_shape"]) != tuple(shape):
        raise UserError(
            f"the teacher is for images {tuple(metadata['image_shape'])}, but the run's are {tuple(shape)}; choose the "
            "teacher's data set with --config.dataset=NAME, or resize with --config.image_size=N"
        )
    if metadata and not config.normalization:
        return Images(shape, tuple(metadata["class_names"]), tuple(metadata["mean"]), tuple(metadata["std"]))
    if public and not config.normalization:
        print(f"normalization of {public!r} assumed; say which with --config.normalization=NAME", flush=True)
    if config.normalization or public:
        mean, std = data.chosen_normalization(config.normalization or public, shape[-1])
    else:
        mean, std = data.normalization(config.dataset, shape[-1])
    if len(mean) != shape[-1]:
        raise UserError(
            f"the normalization of {config.dataset!r} is for {len(mean)} channels, but the images have {shape[-1]}; "
            "choose another with --config.normalization=NAME"
        )
    return Images(shape, class_names, mean, std)


def real_images(config):
    """(test set or None, [(share, training set)] of the baselines), read before hours of work depend on them."""
    if config.evaluate_on == "none":
        if config.baselines:
            print("no baselines are trained: evaluate_on=none looks for no real image", flush=True)
        return None, []
    test = load_split(config, "test")
    if not config.baselines:
        return test, []
    train = load_split(config, "train")
    return test, [(share, data.subset(train, share, config.seed)) for share in config.baselines]


class GivenImages(NamedTuple):
    """What a baseline is given: whose images, in words; images uint8 (n, h, w, c); labels int32 (n,)."""

    source: str
    images: np.ndarray
    labels: np.ndarray


def no_given_images(shape):
    """GivenImages that nothing is to be learned from."""
    return GivenImages("noise", np.zeros((1, *shape), np.uint8), np.zeros(1, np.int32))


def check_given_images(config):
    """Raises UserError where the config's method is to be given images that it cannot have."""
    method = METHODS[config.method]
    if method.given and config.evaluate_on == "none":
        raise UserError(
            f"{config.method} is measured on real test images, but evaluate_on=none looks for none; "
            "choose a data-free method with --config.method=NAME"
        )
    if method.given == "named":
        source = config[config.method].images
        if not source:
            field = f"{config.method}.images"
            raise UserError(f"{field} is '', expected another data set, such as --config.{field}=folder:/path")
        if source == config.dataset:
            raise UserError(
                f"{config.method}.images is {source}, the run's own data set; expected another one, such as "
                f"--config.{config.method}.images=folder:/path, or --config.method=vanilla_kd"
            )
        data.dataset_info(source, config.data_dir or None, prepared_here=True)


def given_images(config):
    """GivenImages of the config's method, or None where it is given none."""
    given = METHODS[config.method].given
    if not given:
        return None
    check_given_images(config)
    shape = kind_of_images(config)[0]
    if given == "noise":
        return no_given_images(shape)
    if given == "train":
        train = load_split(config, "train")
        return GivenImages("the real training set", train.images, train.labels)
    source = config[config.method].images
    other = data.load_split(source, "train", data_dir=config.data_dir or None, image_size=shape[:2])
    return GivenImages(source, data.with_channels(other.images, shape[-1]), other.labels)


def make_model(setting, name, num_classes, **kwargs):
    """A network in the config's dtypes, for the run's devices."""
    config = setting.config
    return models.create_model(
        name,
        num_classes,
        dtype=jnp.dtype(config.dtype),
        param_dtype=jnp.dtype(config.param_dtype),
        conv_general_dilated=_convolution(setting.devices),
        **kwargs,
    )


def make_generator(setting, image_shape, **kwargs):
    """The config's generator for images of this shape."""
    config = setting.config
    return models.create_generator(
        image_shape,
        config.generator.latent_size,
        config.generator.width,
        dtype=jnp.dtype(config.dtype),
        param_dtype=jnp.dtype(config.param_dtype),
        conv_general_dilated=_convolution(setting.devices),
        **kwargs,
    )


def _convolution(devices):
    """XLA's own on accelerators; on CPU the one whose gradients stay fast inside loops."""
    return loop_friendly_conv_general_dilated if devices[0].platform == "cpu" else None


def metadata(architecture, images):
    """What `checkpoints.save_network` writes beside a network's variables."""
    return {
        "architecture": architecture,
        "num_classes": len(images.class_names),
        "image_shape": images.shape,
        "mean": images.mean,
        "std": images.std,
        "class_names": images.class_names,
    }


def make_predictor_of(setting, architecture, images, variables=None):
    """(predict, pmapped variables) of a network, see `evaluation.make_predictor`."""
    model = make_model(setting, architecture, len(images.class_names))
    predict = make_predictor(
        model,
        images.mean,
        images.std,
        tasks.CLASSIFICATION,
        setting.devices,
        setting.clock,
        batch_size=setting.config.evaluation_batch_size,
    )
    return predict, None if variables is None else spread(variables, setting.devices)

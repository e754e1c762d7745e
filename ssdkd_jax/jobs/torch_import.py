"""What must be known about a network from a PyTorch file in addition to its weights."""

import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ssdkd_jax import data, interop, models
from ssdkd_jax.errors import UserError
from ssdkd_jax.jobs.teacher import FROM_TORCH
from ssdkd_jax.outputs import address_advice
from ssdkd_jax.training import saved_network

IMAGENET_CLASSES = 1000
# No network here is for larger images: height and width.
LARGEST_IMAGE = 4096
# What a network with so many classes was most likely trained on.
_BY_CLASSES = {10: "cifar10", 100: "cifar100", IMAGENET_CLASSES: "imagenet"}


def describe_conversion(
    network, path, *, num_classes=0, dataset="", data_dir="", normalization="", class_names=(), image_size=0
):
    """Metadata for `saved_network.save_network` of a network that came from a PyTorch file; says what it assumed.

    Args:
      network: Teacher.
      path: of the file, for the metadata and messages.
      num_classes: that it must have; 0 is any number.
      dataset: takes class names, image size and normalization from this data set, where they are not given; not the
        normalization where the architecture's public files have one of their own.
      data_dir: where prepared data sets lie.
      normalization: see `data.chosen_normalization`.
      class_names: in the order of the logits.
      image_size: height and width.

    Raises:
      UserError: another number of classes or channels than the network's, an unknown name, or a size of images that the
        network cannot take.
    """
    image_shape = image_shape_of(dataset, data_dir, image_size)
    classes, channels = interop.classes_and_channels(network.architecture, network.variables, image_shape)
    if num_classes not in (0, classes):
        raise UserError(f"{path} has {_count(classes, 'class')}, not {num_classes}: its classifier's tensors say so")
    side = image_size or (224 if classes == IMAGENET_CLASSES else 32)
    shape, names = (side, side, channels), tuple(str(i) for i in range(classes))
    if dataset:
        info = data.dataset_info(dataset, data_dir or None, image_size=image_size or None)
        shape, names = tuple(info.image_shape), tuple(info.class_names)
        if (len(names), shape[-1]) != (classes, channels):
            raise UserError(
                f"{path} has {_count(classes, 'class')} and {_count(channels, 'channel')}, "
                f"but {dataset} has {len(names)} and {shape[-1]}"
            )
    if class_names and len(class_names) != classes:
        raise UserError(f"{path} has {_count(classes, 'class')}, but {len(class_names)} class names were given")
    if len(set(class_names)) != len(class_names):
        raise UserError("class names were given twice; expected a different one for each class")
    _check_runs(network, classes, shape)
    if not (image_size or dataset):
        print(f"images of {side} x {side} pixels assumed; say which with --image_size", flush=True)
    mean, std = _normalization(network.architecture, classes, channels, normalization, dataset)
    return {
        "architecture": network.architecture,
        "num_classes": classes,
        "image_shape": shape,
        "mean": mean,
        "std": std,
        "class_names": tuple(class_names) or names,
        FROM_TORCH: pathlib.Path(path).name,
    }


def check_logits(network, image_shape, path):
    """Raises UserError where a Teacher's finite weights give logits that are not, or the same for any image."""
    classes, _ = interop.classes_and_channels(network.architecture, network.variables, image_shape)
    apply = jax.jit(models.create_model(network.architecture, classes).apply)
    noise = np.random.default_rng(0).standard_normal(image_shape).astype(np.float32)
    logits = np.asarray(apply(network.variables, np.stack([np.zeros_like(noise), noise])))
    if not np.isfinite(logits).all():
        raise UserError(
            f"{path}: the {network.architecture}'s logits are infinite or NaN on a gray image or on noise; its "
            "training diverged, or the file is damaged"
        )
    if np.array_equal(*logits):
        raise UserError(
            f"{path}: the {network.architecture}'s logits are the same for a gray image and for noise, expected those "
            "of a trained network; its weights are zero, or the file is damaged"
        )


def check_is_file(path):
    """Raises UserError unless there is a file to convert."""
    if (path / saved_network.METADATA).is_file():
        raise UserError(f"{path} is a saved network already, expected a PyTorch file; use it as it is")
    if path.is_dir():
        raise UserError(f"{path} is a directory, expected a PyTorch file")
    if not path.exists():
        raise UserError(f"there is no PyTorch file at {path}{address_advice(path)}")


def image_shape_of(dataset, data_dir, image_size):
    """(h, w, c) of the images that a converted network is for; c is None where its tensors are to say it.

    Raises:
      UserError: an unknown data set, one of differing sizes, or a size beyond LARGEST_IMAGE.
    """
    if image_size > LARGEST_IMAGE:
        raise UserError(f"--image_size={image_size}, expected height and width in pixels, at most {LARGEST_IMAGE}")
    if dataset:
        try:
            return tuple(data.dataset_info(dataset, data_dir or None, image_size=image_size or None).image_shape)
        except UserError as error:  # of which a run's advice has the field of a config
            raise UserError(str(error).replace("--config.", "--")) from error
    return (image_size or 32, image_size or 32, None)


def _check_runs(network, classes, shape):
    """Raises UserError unless the network takes such images, and no feature map on its way is empty."""
    model, images = models.create_model(network.architecture, classes), jax.ShapeDtypeStruct((1, *shape), jnp.float32)

    def checked(call, args, kwargs, context):
        result = call(*args, **kwargs)
        if any(0 in getattr(leaf, "shape", ()) for leaf in jax.tree.leaves(result)):
            raise ValueError(f"nothing is left of them in {'.'.join(context.module.path)}")
        return result

    try:
        with nn.intercept_methods(checked):
            jax.eval_shape(model.apply, network.variables, images)
    except Exception as error:  # Flax, JAX and a user's own code raise exceptions of many types
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{network.architecture} does not run on images of {shape[0]} x {shape[1]} pixels ({reason}); "
            "say what size it is for with --image_size=N"
        ) from error


def _count(number, noun):
    """(1, "class") -> "1 class", (10, "class") -> "10 classes"."""
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{number} {noun if number == 1 else plural}"


def _normalization(architecture, classes, channels, chosen, dataset):
    """(mean, std): the user's, else that of the architecture's public files, else the data set's, else a guess.

    Prints which it is, unless the user or the data set said so.
    """
    if chosen:
        return data.chosen_normalization(chosen, channels)
    public = models.public_normalization(architecture) if channels == 3 else ""
    if dataset and not public:
        return data.normalization(dataset, channels)
    likely = public or (_BY_CLASSES.get(classes, "half") if channels == 3 else "half")
    print(f"assuming normalization {likely!r}; set it with --normalization=NAME", flush=True)
    return data.chosen_normalization(likely, channels)

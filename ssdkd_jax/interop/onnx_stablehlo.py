"""A network as a program of its own: StableHLO through `jax.export`, and ONNX through jax2onnx.

Both take images in [0, 1] and normalize them themselves, so that nobody has to pass mean and deviation on.
"""

import importlib
import logging
import os
import pathlib
import warnings
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ssdkd_jax import data, models
from ssdkd_jax.errors import UserError
from ssdkd_jax.files import write_at_once
from ssdkd_jax.user_code import reported_errors

PLATFORMS = ("cpu", "cuda", "tpu")
# Largest difference between what onnxruntime and JAX compute, relative to the largest logit.
ONNX_TOLERANCE = 1e-4


def classifier(variables: dict, metadata: dict) -> Callable[[jax.Array], jax.Array]:
    """Makes a function of the network: images (n, h, w, c) float32 in [0, 1] -> logits (n, classes) float32."""
    model = models.create_model(metadata["architecture"], metadata["num_classes"])
    variables = jax.tree.map(jnp.asarray, variables)

    def logits(images):
        return model.apply(variables, data.normalize(images, metadata["mean"], metadata["std"]))

    return logits


def to_stablehlo(path: str | os.PathLike, variables: dict, metadata: dict) -> None:
    """Writes a serialized `jax.export.Exported` of `classifier`, for any number of images on CPU, CUDA and TPU.

    Anyone with JAX can run it without this project: `jax.export.deserialize(bytes).call(images)`.

    Args:
      path: of the file.
      variables, metadata: as `training.saved_network.load_network` returns them.

    Raises:
      UserError: a user's own network fails for any number of images.
    """
    (count,) = jax.export.symbolic_shape("n")
    images = jax.ShapeDtypeStruct((count, *metadata["image_shape"]), jnp.float32)
    try:
        with reported_errors(metadata["architecture"]):
            exported = jax.export.export(jax.jit(classifier(variables, metadata)), platforms=PLATFORMS)(images)
    except UserError as error:
        raise UserError(f"{error}; it must take any number of images, so write x.shape[0] for len(x)") from error
    write_at_once(_made(path), bytes(exported.serialize()))


def to_onnx(path: str | os.PathLike, variables: dict, metadata: dict) -> float:
    """Writes an ONNX model of `classifier` with input `images` and output `logits`, and checks it with onnxruntime.

    Args:
      path: of the file.
      variables, metadata: as `training.saved_network.load_network` returns them.

    Returns:
      the largest difference of the logits of eight random images, relative to the largest logit.

    Raises:
      UserError: jax2onnx or onnxruntime is not installed, or the model computes something else.
    """
    # It logs a traceback for each of its own examples whose packages are not installed.
    logging.getLogger("jax2onnx").setLevel(logging.CRITICAL)
    jax2onnx, onnxruntime = _import("jax2onnx"), _import("onnxruntime")
    shape = tuple(metadata["image_shape"])
    logits = classifier(variables, metadata)
    images = np.random.default_rng(0).random((8, *shape), np.float32)
    expected = np.asarray(logits(images))
    try:
        content = _onnx(jax2onnx, logits, shape, metadata["architecture"])
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        (found,) = session.run(["logits"], {"images": images})
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"jax2onnx cannot convert {metadata['architecture']} ({reason}); nothing was written; "
            "StableHLO takes every network of this project: to-stablehlo"
        ) from error
    difference = float(np.abs(found - expected).max() / np.abs(expected).max())
    if not difference <= ONNX_TOLERANCE:
        raise UserError(
            f"the ONNX model differs from the network by {difference:.1e} of the largest logit, expected at most "
            f"{ONNX_TOLERANCE}; nothing was written"
        )
    write_at_once(_made(path), content)
    return difference


def _onnx(jax2onnx, function, shape, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = jax2onnx.to_onnx(
            function, [("n", *shape)], model_name=name, input_names=["images"], output_names=["logits"]
        )
    # Shapes in between are only remarks, and those before a transposition are wrong, of which onnxruntime complains.
    del model.graph.value_info[:]
    return model.SerializeToString()


def _import(package):
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UserError(
            f"writing ONNX needs {package}; install it: pip install --no-deps -r requirements-onnx.txt"
        ) from error


def _made(path):
    """The path, whose folder exists."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path

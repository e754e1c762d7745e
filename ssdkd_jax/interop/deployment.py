"""A network as a program of its own: StableHLO through `jax.export`, and ONNX through jax2onnx.

Both take images in [0, 1] and normalise them themselves, so that nobody has to carry mean and deviation along.
"""

import importlib
import logging
import pathlib
import warnings

import jax
import jax.numpy as jnp
import numpy as np

from ssdkd_jax import data, models
from ssdkd_jax.errors import UserError

PLATFORMS = ("cpu", "cuda", "tpu")
# What jax2onnx converts to within is checked against what JAX computes, relative to the largest logit.
ONNX_TOLERANCE = 1e-4


def classifier(variables, metadata):
    """The network as a function: images (n, h, w, c) float32 in [0, 1] -> logits (n, classes) float32."""
    model = models.create_model(metadata["architecture"], metadata["num_classes"])
    variables = jax.tree.map(jnp.asarray, variables)

    def logits(images):
        return model.apply(variables, data.normalize(images, metadata["mean"], metadata["std"]))

    return logits


def to_stablehlo(path, variables, metadata):
    """Writes a serialised `jax.export.Exported` of `classifier`, for any number of images on CPU, CUDA and TPU.

    Whoever has JAX runs it without this project: `jax.export.deserialize(bytes).call(images)`.

    Args:
      path: of the file.
      variables, metadata: as `runtime.checkpoints.load_network` returns them.
    """
    (count,) = jax.export.symbolic_shape("n")
    images = jax.ShapeDtypeStruct((count, *metadata["image_shape"]), jnp.float32)
    exported = jax.export.export(jax.jit(classifier(variables, metadata)), platforms=PLATFORMS)(images)
    _replace(path, exported.serialize())


def to_onnx(path, variables, metadata):
    """Writes an ONNX model of `classifier` with input `images` and output `logits`, and checks it with onnxruntime.

    Args:
      path: of the file.
      variables, metadata: as `runtime.checkpoints.load_network` returns them.

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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = jax2onnx.to_onnx(
            logits,
            [("n", *shape)],
            model_name=metadata["architecture"],
            input_names=["images"],
            output_names=["logits"],
        )
    content = model.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # the shapes it complains about are those of jax2onnx's own transposes
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).random((8, *shape), np.float32)
    expected = np.asarray(logits(images))
    difference = float(np.abs(session.run(["logits"], {"images": images})[0] - expected).max() / np.abs(expected).max())
    if not difference <= ONNX_TOLERANCE:
        raise UserError(
            f"the ONNX model differs from the network by {difference:.1e} of the largest logit, expected at most "
            f"{ONNX_TOLERANCE}; nothing was written"
        )
    _replace(path, content)
    return difference


def _import(package):
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UserError(
            f"writing ONNX needs {package}; install it: pip install --no-deps -r requirements-onnx.txt"
        ) from error


def _replace(path, content):
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_bytes(content)
    unfinished.replace(path)

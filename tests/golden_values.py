"""The golden files, and the rule that makes their weights.

The `.npz` and `.json` files in `golden/` hold what public PyTorch implementations compute.  Weights are not stored:
both sides make them from the tensor's PyTorch name and shape.
"""

import json
import pathlib
import zlib

import numpy as np

FOLDER = pathlib.Path(__file__).parent / "golden"


def load(name):
    """Arrays of `golden/<name>.npz` by their key."""
    with np.load(FOLDER / f"{name}.npz") as file:
        return dict(file)


def layouts():
    """architecture -> {state_dict name: shape}."""
    return json.loads((FOLDER / "layouts.json").read_text())


# Networks whose BatchNorm loss is compared too.  One each of: normalization before the activation of a residual branch,
# a plain chain, parameter-free shortcuts, blocks that end without activation.
WITH_BN_LOSS = ("wrn16_1", "vgg11", "resnet20_option_a", "mobilenetv2")


def generator_layout():
    """{state_dict name: shape} of the 32x32 generator with 256 latents and width 64."""
    return json.loads((FOLDER / "generator_layout.json").read_text())


def tensor(name, shape):
    """The value of the tensor called `name` (its PyTorch state_dict name), float32."""
    shape = tuple(shape)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if name.endswith(("running_var", "stored_var")):
        value = rng.uniform(0.5, 1.5, shape)
    elif name.endswith(("running_mean", "stored_mean")):
        value = 0.1 * rng.standard_normal(shape)
    elif name.endswith("weight") and len(shape) >= 2:
        value = np.sqrt(1 / np.prod(shape[1:])) * rng.standard_normal(shape)
    elif name.endswith("weight") or (name.endswith("gain") and len(shape) == 1):
        value = rng.uniform(0.5, 1.0, shape)
    else:
        value = 0.05 * rng.standard_normal(shape)
    return value.astype(np.float32)


def state_dict(layout):
    """{name: shape} -> {name: value} by the rule."""
    return {name: tensor(name, shape) for name, shape in layout.items()}

"""How exactly every network agrees with PyTorch, both ways.

    python -m tests.exactness --out=results/exactness.json --checkpoints resnet20-12fca82f.th resnet56-4bfd9763.th

In: weights by the golden files' rule go into PyTorch and into our network.  Out: our initial weights, with BatchNorm
statistics of a random batch, go into PyTorch by `load_state_dict(strict=True)`.  Differences of logits are
relative to the largest logit.  Checkpoints are akamaster's public ones for CIFAR-10, which want ImageNet's
normalization: their accuracy on the test images here, and in PyTorch after the way through an exported file.
"""

import argparse
import datetime
import json
import pathlib
import shlex
import sys
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import torch

from ssdkd_jax import data
from ssdkd_jax.interop import from_torch_state_dict, to_torch_state_dict, torch_export
from ssdkd_jax.interop.public_definitions import definition_of
from ssdkd_jax.jobs import run_folder
from ssdkd_jax.jobs.teacher import load_teacher
from ssdkd_jax.jobs.torch_import import describe_conversion
from ssdkd_jax.models import create_model, model_names
from ssdkd_jax.training.evaluation import accuracy
from tests import golden_values
from tests.models import torch_reference

CLASSES = 10
TOLERANCE = 1e-4


def reference(name):
    """The network in PyTorch, in evaluation mode: of tests/models, or the one that an export's note prints."""
    network = torch_reference.build(name, CLASSES)
    if network is None:
        scope = {"torch": torch}
        exec(definition_of(name, CLASSES, channels=3).lines, scope)
        network = scope["model"]
    return network.eval()


def measure(name):
    """{parameters, difference in, difference out, round trip exact} of one network."""
    network = reference(name)
    layout = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    channels = next(iter(layout.values()))[1]
    weights = golden_values.state_dict(layout)
    variables = from_torch_state_dict(name, weights)
    back = to_torch_state_dict(name, variables)
    exact = back.keys() == weights.keys() and all(np.array_equal(back[key], weights[key]) for key in weights)

    model = create_model(name, CLASSES)
    size = 64 if "imagenet" in name or name.startswith("mobilenet") else 32
    images = np.random.default_rng(1).standard_normal((32, size, size, channels)).astype(np.float32)
    own = _with_statistics_of(images, model, model.init(jax.random.key(0), images))
    return {
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(variables["params"])),
        "in": _difference(network, weights, model, variables, images[:2]),
        "out": _difference(network, to_torch_state_dict(name, own), model, own, images[:2], telling=True),
        "round_trip_exact": exact,
    }


def _with_statistics_of(images, model, variables):
    """As after training: with the initial statistics, deep networks' signals die away or explode."""
    before = variables.get("batch_stats", {})
    _, updated = model.apply(variables, images, train=True, mutable=["batch_stats"])
    batch = jax.tree.map(lambda new, old: (new - 0.9 * old) / 0.1, updated.get("batch_stats", {}), before)
    return {**variables, "batch_stats": batch}


def _difference(network, state_dict, model, variables, images, telling=False):
    """Of the logits, relative to the largest; `telling`: two images must have different ones.

    By the golden rule's statistics, signals of deep networks without shortcuts die away, which says little of them.
    """
    network.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in state_dict.items()}, strict=True)
    with torch.no_grad():
        expected = network(torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))).numpy()
    largest = np.abs(expected).max()
    if telling and not np.abs(expected[0] - expected[1]).max() > 1e-3 * largest:
        raise SystemExit(f"{model}: two images have nearly the same logits, which says nothing about the layers before")
    difference = float(np.abs(np.asarray(model.apply(variables, images)) - expected).max() / largest)
    if not difference < TOLERANCE:
        raise SystemExit(f"{model}: logits differ by {difference:.1e}, expected less than {TOLERANCE}")
    return difference


def measure_checkpoint(path):
    """{architecture, accuracy here, accuracy in PyTorch after the export}, in percent of CIFAR-10's test images."""
    network = load_teacher(path)
    test = data.load_split("cifar10", "test")
    metadata = describe_conversion(network, path, normalization="imagenet")
    mean, std = metadata["mean"], metadata["std"]
    images = np.asarray(data.normalize(data.to_unit(test.images), mean, std))

    model = create_model(network.architecture, metadata["num_classes"])
    predict = jax.jit(lambda x: jnp.argmax(model.apply(network.variables, x), -1))
    here = np.concatenate([predict(batch) for batch in np.split(images, 20)])

    with tempfile.TemporaryDirectory() as folder:
        file, _ = torch_export.export_network(pathlib.Path(folder) / "out.pth", network.variables, metadata)
        exported = reference(network.architecture)
        exported.load_state_dict(torch.load(file, weights_only=True), strict=True)
    with torch.no_grad():
        batches = [torch.from_numpy(np.ascontiguousarray(b.transpose(0, 3, 1, 2))) for b in np.split(images, 20)]
        there = np.concatenate([exported(batch).argmax(1).numpy() for batch in batches])
    return {
        "architecture": network.architecture,
        "here": accuracy(here, test.labels),
        "exported": accuracy(there, test.labels),
    }


def main():
    """Measures every network and every checkpoint, and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--checkpoints", nargs="*", default=[], type=pathlib.Path)
    arguments = parser.parse_args()
    out, checkpoints = arguments.out, {path.name: measure_checkpoint(path) for path in arguments.checkpoints}
    print(checkpoints, flush=True)
    networks = {}
    for name in model_names():
        networks[name] = measure(name)
        print(name, networks[name], flush=True)
    result = {
        "kind": "exactness",
        "command": shlex.join(["python", "-m", "tests.exactness", *sys.argv[1:]]),
        "hardware": run_folder.hardware(jax.local_devices()),
        "date": datetime.date.today().isoformat(),
        "versions": {**run_folder.versions(), "torch": torch.__version__},
        "networks": networks,
        "checkpoints": checkpoints,
    }
    out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())

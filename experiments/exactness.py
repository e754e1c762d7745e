"""Measures how exactly every network agrees with PyTorch, in both directions.

    python -m experiments.exactness --out=exactness.json --checkpoints=resnet20-12fca82f.th,resnet56-4bfd9763.th

Run it from the root of the repository: weights and most PyTorch definitions are those of tests/.  Differences of
logits are relative to the largest logit.  Checkpoints are akamaster's public ones for CIFAR-10: their accuracy on the
test images here, and in PyTorch after the way through an exported file.
"""

import importlib
import pathlib
import tempfile

from absl import flags

from experiments.command_line import launch
from ssdkd_jax.errors import UserError
from ssdkd_jax.files import expand

FLAGS = flags.FLAGS
flags.DEFINE_string("out", None, "JSON file to write.")
flags.DEFINE_list("checkpoints", [], "PyTorch files of networks for CIFAR-10, separated by commas.")
flags.DEFINE_list("networks", [], "Names of the networks; all where not given.")

CLASSES = 10


def main(command, interruption):
    """Measures the checkpoints and the networks, and writes the results."""
    from ssdkd_jax.jobs.exactness_results import KIND, check_asked, check_keeps_results, write
    from ssdkd_jax.models import model_names
    from ssdkd_jax.outputs import check_results_file
    from ssdkd_jax.training.devices import local_devices

    del interruption
    local_devices()  # or its error is one of the first network
    _check_in_checkout()
    check_asked(FLAGS.networks, FLAGS.checkpoints)
    out, names = check_results_file(FLAGS.out, KIND), FLAGS.networks or model_names("classification")
    check_keeps_results(out, names, FLAGS.checkpoints)
    checkpoints, networks = {}, {}
    for path, network, metadata in [_read_checkpoint(expand(path)) for path in FLAGS.checkpoints]:
        checkpoints[path.name] = _measure_checkpoint(network, metadata)
        print(path.name, checkpoints[path.name], flush=True)
    for name in names:
        networks[name] = _measure(name)
        print(name, networks[name], flush=True)
    write(out, command, networks, checkpoints)


def _check_in_checkout():
    try:
        importlib.import_module("tests.golden_values")
    except ModuleNotFoundError as error:
        raise UserError("weights and definitions are those of tests/: run it in the root of a checkout") from error


def _measure(name):
    """What `interop.exactness.compare` finds with weights by the golden files' rule."""
    import numpy as np

    from ssdkd_jax.interop import exactness
    from tests import golden_values

    definition = _definition(name)
    layout = {key: tuple(value.shape) for key, value in definition.state_dict().items()}
    channels = next(iter(layout.values()))[1]
    # Networks that reduce the resolution by 32 need more than one pixel at the end.
    size = 64 if "imagenet" in name or "mobilenet" in name else 32
    images = np.random.default_rng(1).standard_normal((32, size, size, channels)).astype(np.float32)
    return exactness.compare(name, definition, golden_values.state_dict(layout), images)


def _definition(name):
    """The network in PyTorch, in evaluation mode: that of tests/models, or else the one in the notes of exports."""
    import torch

    from ssdkd_jax.models import create_model, public_definition
    from tests.models import torch_reference

    create_model(name)
    network = torch_reference.build(name, CLASSES)
    if network is None:
        scope = {"torch": torch}
        exec(public_definition(name, CLASSES, channels=3).lines, scope)
        network = scope["model"]
    return network.eval()


def _read_checkpoint(path):
    """(path, Teacher, what goes with it) of a PyTorch file."""
    from ssdkd_jax.jobs.teacher import load_teacher
    from ssdkd_jax.jobs.torch_import import describe_conversion

    network = load_teacher(path)
    metadata = describe_conversion(network, path, normalization="imagenet")
    if metadata["num_classes"] != CLASSES:
        raise UserError(f"{path} has {metadata['num_classes']} classes, expected CIFAR-10's {CLASSES}; leave it out")
    return path, network, metadata


def _measure_checkpoint(network, metadata):
    """{architecture, accuracy here, accuracy in PyTorch after the export}, in percent of CIFAR-10's test images."""
    import numpy as np
    import torch

    from ssdkd_jax import data
    from ssdkd_jax.interop import exactness, torch_export

    test = data.load_split("cifar10", "test")
    images = np.asarray(data.normalize(data.to_unit(test.images), metadata["mean"], metadata["std"]))
    definition = _definition(network.architecture)
    with tempfile.TemporaryDirectory() as folder:
        file, _ = torch_export.export_network(pathlib.Path(folder) / "out.pth", network.variables, metadata)
        definition.load_state_dict(torch.load(file, weights_only=True), strict=True)
    batches = np.split(images, 20)
    ours, theirs = exactness.predictions(network.architecture, network.variables, definition, batches)
    return {
        "architecture": network.architecture,
        "here": 100 * float(np.mean(ours == test.labels)),
        "exported": 100 * float(np.mean(theirs == test.labels)),
    }


def run():
    """The program."""
    launch(main, required=("out",), example="--out=exactness.json")


if __name__ == "__main__":
    run()

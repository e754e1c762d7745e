"""Converts networks: PyTorch files in, PyTorch files, ONNX and StableHLO out.

    python -m experiments.convert from-torch FILE --out=DIR [--arch=wrn40_2] [--dataset=cifar10] ...
    python -m experiments.convert to-torch DIR --out=student.pth          (or .safetensors)
    python -m experiments.convert to-onnx DIR --out=student.onnx
    python -m experiments.convert to-stablehlo DIR --out=student.stablehlo

DIR is a saved network, such as <workdir>/student.  Nothing in a FILE is ever executed.  What is there already is
replaced only with --overwrite.
"""

import pathlib
import shlex

from absl import flags

from experiments.command_line import launch

FLAGS = flags.FLAGS
flags.DEFINE_string("out", None, "The folder or file to write.")
flags.DEFINE_bool("overwrite", False, "Replace what is at --out, and the note beside a PyTorch file.")
flags.DEFINE_string(
    "arch", "", "from-torch: the architecture, or path/to/file.py:make; inferred from names and shapes where not given."
)
flags.DEFINE_integer("num_classes", 0, "from-torch: how many classes the file must have.", lower_bound=0)
flags.DEFINE_string(
    "dataset",
    "",
    "from-torch: data set whose class names the network is for, and whose normalization, unless the public files of "
    "its architecture have one of their own.",
)
flags.DEFINE_string("data_dir", "", "from-torch: where prepared TFDS sets are stored.")
flags.DEFINE_string("normalization", "", "from-torch: cifar10, imagenet, ..., half, or numbers: mean,mean/std,std.")
flags.DEFINE_list("class_names", [], "from-torch: names of the classes, in the order of the logits.")
flags.DEFINE_integer("image_size", 0, "from-torch: height and width of the images that the network is for.", 0)


FROM_TORCH_FLAGS = ("arch", "num_classes", "dataset", "data_dir", "normalization", "class_names", "image_size")
# What each action writes; from-torch writes a folder.
SUFFIXES = {
    "from-torch": (),
    "to-torch": (".pth", ".pt", ".th", ".safetensors"),
    "to-onnx": (".onnx",),
    "to-stablehlo": (".stablehlo",),
}


def main(command, interruption, action, path):
    """Does what the action says."""
    from ssdkd_jax.errors import UserError, did_you_mean
    from ssdkd_jax.files import expand
    from ssdkd_jax.training.devices import local_devices

    del command, interruption
    local_devices()  # without which a sound network could not be read
    actions = {
        "from-torch": _from_torch,
        "to-torch": _to_torch,
        "to-onnx": _to_onnx,
        "to-stablehlo": _to_stablehlo,
    }
    if action not in actions:
        raise UserError(f"unknown action {action!r}; {did_you_mean(action, actions)}known are: {', '.join(actions)}")
    _check_flags(action)
    path = expand(path)
    if action != "from-torch":
        _check_is_ours(path)
    actions[action](path)


def _check_flags(action):
    from ssdkd_jax.errors import UserError

    unused = [name for name in FROM_TORCH_FLAGS if FLAGS[name].present and action != "from-torch"]
    if unused:
        raise UserError(f"--{unused[0]} has no effect on {action}; remove it")
    if FLAGS.data_dir and not FLAGS.dataset:
        raise UserError("--data_dir has no effect without a data set; name it with --dataset, or remove it")
    suffix = pathlib.PurePath(FLAGS.out).suffix
    if action == "from-torch" and suffix in {one for others in SUFFIXES.values() for one in others}:
        raise UserError(f"--out={FLAGS.out} ends in {suffix}, which from-torch does not write; expected a folder")


def _from_torch(path):
    from ssdkd_jax.files import check_ours
    from ssdkd_jax.jobs import torch_import
    from ssdkd_jax.jobs.teacher import load_teacher
    from ssdkd_jax.outputs import check_output
    from ssdkd_jax.training import saved_network

    torch_import.check_is_file(path)
    image_shape = torch_import.image_shape_of(FLAGS.dataset, FLAGS.data_dir, FLAGS.image_size)
    out = check_output(FLAGS.out, overwrite=FLAGS.overwrite)
    check_ours(out, saved_network.OWN)
    network = load_teacher(path, FLAGS.arch, image_shape=image_shape, flag="--arch")
    metadata = torch_import.describe_conversion(
        network,
        path,
        num_classes=FLAGS.num_classes,
        dataset=FLAGS.dataset,
        data_dir=FLAGS.data_dir,
        normalization=FLAGS.normalization,
        class_names=FLAGS.class_names,
        image_size=FLAGS.image_size,
    )
    torch_import.check_logits(network, metadata["image_shape"], path)
    saved_network.save_network(out, network.variables, metadata)
    print(
        f"{out}: {network.architecture}, {metadata['num_classes']} classes, images {metadata['image_shape']}, "
        f"mean {metadata['mean']}, std {metadata['std']}"
    )


def _check_is_ours(path):
    from ssdkd_jax.errors import UserError

    if path.is_file():
        raise UserError(
            f"{path} is a file, expected the folder of a saved network; make one of a PyTorch file: "
            f"python -m experiments.convert from-torch {shlex.quote(str(path))} --out=DIR"
        )


def _to_torch(folder):
    from ssdkd_jax.interop import torch_export
    from ssdkd_jax.outputs import check_output
    from ssdkd_jax.training.saved_network import load_finite

    out = check_output(FLAGS.out, SUFFIXES["to-torch"], overwrite=FLAGS.overwrite)
    torch_export.check_can_write(out, overwrite=FLAGS.overwrite)
    written = torch_export.export_network(out, *load_finite(folder), overwrite=FLAGS.overwrite)
    print(f"{' and '.join(map(str, written))} written")


def _to_onnx(folder):
    from ssdkd_jax.interop import onnx_stablehlo
    from ssdkd_jax.outputs import check_output
    from ssdkd_jax.training.saved_network import load_finite

    out = check_output(FLAGS.out, SUFFIXES["to-onnx"], overwrite=FLAGS.overwrite)
    difference = onnx_stablehlo.to_onnx(out, *load_finite(folder))
    print(f"{out} written: input images (n, h, w, c) in [0, 1], output logits; differs from JAX by {difference:.1e}")


def _to_stablehlo(folder):
    from ssdkd_jax.interop import onnx_stablehlo
    from ssdkd_jax.outputs import check_output
    from ssdkd_jax.training.saved_network import load_finite

    out = check_output(FLAGS.out, SUFFIXES["to-stablehlo"], overwrite=FLAGS.overwrite)
    onnx_stablehlo.to_stablehlo(out, *load_finite(folder))
    print(f"{out} written: jax.export.deserialize(its bytes).call(images (n, h, w, c) float32 in [0, 1]) -> logits")


def run():
    """The program."""
    launch(
        main,
        required=("out",),
        arguments=("ACTION", "PATH"),
        example="to-torch runs/digits/student --out=student.pth",
    )


if __name__ == "__main__":
    run()

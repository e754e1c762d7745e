"""Converts networks: PyTorch files in, PyTorch files, ONNX and StableHLO out.

    python -m experiments.convert from-torch FILE --out=DIR [--arch=wrn40_2] [--dataset=cifar10] ...
    python -m experiments.convert to-torch DIR --out=student.pth          (or .safetensors)
    python -m experiments.convert to-onnx DIR --out=student.onnx
    python -m experiments.convert to-stablehlo DIR --out=student.stablehlo

DIR is a saved network, such as <workdir>/student.  Nothing in a FILE is ever executed.
"""

import pathlib

from absl import flags

from experiments.command_line import launch

FLAGS = flags.FLAGS
flags.DEFINE_string("out", None, "The folder or file to write.")
flags.DEFINE_string(
    "arch", "", "from-torch: the architecture, or path/to/file.py:make; inferred from names and shapes where not given."
)
flags.DEFINE_integer("num_classes", 0, "from-torch: how many classes the file must have.", lower_bound=0)
flags.DEFINE_string("dataset", "", "from-torch: data set whose normalization and class names the network is for.")
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
    from ssdkd_jax.errors import UserError

    actions = {
        "from-torch": _from_torch,
        "to-torch": _to_torch,
        "to-onnx": _to_onnx,
        "to-stablehlo": _to_stablehlo,
    }
    if action not in actions:
        raise UserError(f"unknown action {action!r}; known are: {', '.join(actions)}")
    unused = [name for name in FROM_TORCH_FLAGS if FLAGS[name].present and action != "from-torch"]
    if unused:
        raise UserError(f"--{unused[0]} has no effect on {action}; leave it out")
    suffix, expected = pathlib.PurePath(FLAGS.out).suffix, SUFFIXES[action]
    if suffix not in expected and suffix in {one for others in SUFFIXES.values() for one in others}:
        kind = f"a file in {' or '.join(expected)}" if expected else "a folder"
        raise UserError(f"--out={FLAGS.out} ends in {suffix}, which {action} does not write; expected {kind}")
    actions[action](pathlib.Path(path).expanduser(), pathlib.Path(FLAGS.out).expanduser())


def _from_torch(path, out):
    from ssdkd_jax.errors import UserError
    from ssdkd_jax.jobs.teacher import load_teacher
    from ssdkd_jax.jobs.torch_import import describe_conversion, image_shape_of
    from ssdkd_jax.training import saved_network

    if out.exists() and not (out / saved_network.METADATA).is_file():
        raise UserError(f"{out} exists and is no saved network; give another folder with --out=DIR")
    if not path.is_file():
        raise UserError(f"there is no PyTorch file at {path}")
    image_shape = image_shape_of(FLAGS.dataset, FLAGS.data_dir, FLAGS.image_size)
    network = load_teacher(path, FLAGS.arch, image_shape=image_shape, flag="--arch")
    metadata = describe_conversion(
        network,
        path,
        num_classes=FLAGS.num_classes,
        dataset=FLAGS.dataset,
        data_dir=FLAGS.data_dir,
        normalization=FLAGS.normalization,
        class_names=FLAGS.class_names,
        image_size=FLAGS.image_size,
    )
    saved_network.save_network(out, network.variables, metadata)
    print(
        f"{out}: {network.architecture}, {metadata['num_classes']} classes, images {metadata['image_shape']}, "
        f"mean {metadata['mean']}, std {metadata['std']}"
    )


def _to_torch(folder, out):
    from ssdkd_jax.interop import torch_export
    from ssdkd_jax.training.saved_network import load_network

    torch_export.check_can_write(out)
    written = torch_export.export_network(out, *load_network(folder))
    print(f"{' and '.join(map(str, written))} written")


def _to_onnx(folder, out):
    from ssdkd_jax.interop import onnx_stablehlo
    from ssdkd_jax.training.saved_network import load_network

    difference = onnx_stablehlo.to_onnx(out, *load_network(folder))
    print(f"{out} written: input images (n, h, w, c) in [0, 1], output logits; differs from JAX by {difference:.1e}")


def _to_stablehlo(folder, out):
    from ssdkd_jax.interop import onnx_stablehlo
    from ssdkd_jax.training.saved_network import load_network

    onnx_stablehlo.to_stablehlo(out, *load_network(folder))
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

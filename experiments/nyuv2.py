"""Converts NYU Depth v2's published files to a folder that configs/nyuv2.py takes.

    python -m experiments.nyuv2 FOLDER --out=nyuv2
    python -m experiments.main --config=configs/nyuv2.py --config.data_dir=nyuv2 --workdir=runs/nyuv2

FOLDER holds nyu_depth_v2_labeled.mat, splits.mat, classMapping40.mat and class13Mapping.mat.  Needs h5py.
"""

from absl import flags

from experiments.command_line import launch

FLAGS = flags.FLAGS
flags.DEFINE_string("out", None, "The folder to write.")
flags.DEFINE_bool("overwrite", False, "Replace an earlier conversion at --out.")


def main(command, interruption, folder):
    """Converts the files and says what it wrote."""
    from ssdkd_jax.data import nyuv2
    from ssdkd_jax.files import expand
    from ssdkd_jax.outputs import check_output

    del command, interruption
    out = check_output(FLAGS.out, overwrite=FLAGS.overwrite)
    sizes = nyuv2.convert(expand(folder), out)
    print(f"{out}: {sizes['train']} training and {sizes['test']} test images with 13 classes", flush=True)


def run():
    """The program."""
    launch(main, required=("out",), arguments=("FOLDER",), example="downloads --out=nyuv2")


if __name__ == "__main__":
    run()

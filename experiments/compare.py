"""Runs several methods over several seeds with one teacher, and puts them side by side: a table and a page.

    python -m experiments.compare --config=configs/fashion_mnist.py:small --methods=ssdkd,fastdfkd --seeds=3 \\
        --workdir=runs/compare_fashion_mnist

Writes comparison.json, comparison.md and comparison.html into the workdir after every run.  Finished runs in it are
reused, so an interrupted comparison resumes where it stopped, and a method can be added later.
"""

from absl import flags
from ml_collections import config_flags

from experiments.command_line import launch
from experiments.config_flag import overridden_fields

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file("config", None, "Config file of the runs, with an argument after a colon.")
flags.DEFINE_list("methods", [], "Names of the methods, in the order of the table's rows.")
flags.DEFINE_integer("seeds", 3, "Number of seeds, starting with config.seed.")
flags.DEFINE_string("workdir", None, "Folder of the comparison; its runs are in METHOD/seedN.")


def main(command, interruption):
    """Runs the comparison of the flags."""
    from ssdkd_jax.jobs.comparison import compare
    from ssdkd_jax.jobs.config_checks import check_overrides

    check_overrides(FLAGS.config, overridden_fields(), FLAGS.methods)
    compare(FLAGS.config, FLAGS.methods, FLAGS.seeds, FLAGS.workdir, command=command, interruption=interruption)


def run():
    """The program."""
    launch(
        main,
        required=("config", "methods", "workdir"),
        example="--config=configs/digits.py --methods=ssdkd,fastdfkd --seeds=3 --workdir=runs/compare_digits",
    )


if __name__ == "__main__":
    run()

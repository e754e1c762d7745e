"""Runs several methods over several seeds with one teacher, and puts them side by side: a table and a page.

    python -m experiments.compare --config=configs/fashion_mnist.py:small --methods=ssdkd,fastdfkd --seeds=3 \\
        --workdir=runs/compare_fashion_mnist

Writes comparison.json, comparison.md and comparison.html into the workdir after every run.  Finished runs in it are
reused, so an interrupted comparison resumes where it stopped, and a method can be added later.
"""

from absl import flags

from experiments import config_flag
from experiments.command_line import launch
from experiments.config_flag import overridden_fields

FLAGS = flags.FLAGS
# Fields of a config that a comparison has no use for.
UNUSED = {"method": "on a comparison, whose methods are --methods=NAME,...", "baselines": "on a comparison"}
config_flag.define("Config file of the runs, with an argument after a colon.")
flags.DEFINE_list("methods", [], "Names of the methods, in the order of the table's rows.")
flags.DEFINE_integer("seeds", 3, "Number of seeds, starting with config.seed.")
flags.DEFINE_integer(
    "jobs", 1, "Number of runs at once, each with its share of the cores, or an accelerator of its own.", lower_bound=1
)
flags.DEFINE_string("workdir", None, "Folder of the comparison; its runs are in METHOD/seedN.")


def main(command, interruption):
    """Runs the comparison of the flags."""
    from ssdkd_jax.jobs.comparison import compare
    from ssdkd_jax.jobs.config_checks import check_overrides, check_seeds
    from ssdkd_jax.training import environment

    environment.check_alone("experiments.compare")
    check_overrides(FLAGS.config, overridden_fields(), FLAGS.methods, unused=UNUSED)
    check_seeds(FLAGS.seeds, first=FLAGS.config.seed)
    compare(
        FLAGS.config,
        FLAGS.methods,
        FLAGS.seeds,
        FLAGS.workdir,
        at_once=FLAGS.jobs,
        command=command,
        interruption=interruption,
    )


def run():
    """The program."""
    launch(
        main,
        required=("config", "methods", "workdir"),
        example="--config=configs/digits.py --methods=ssdkd,fastdfkd --seeds=3 --workdir=runs/compare_digits",
        resumes=True,
    )


if __name__ == "__main__":
    run()

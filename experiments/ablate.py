"""Runs SSD-KD with its switches changed one by one, over several seeds: the paper's table 4 and more.

    python -m experiments.ablate --config=configs/digits.py --seeds=5 --workdir=runs/ablation_digits \\
        --out=results/digits_ablation.json

Finished runs in the workdir are reused, so an interrupted ablation resumes where it stopped.
"""

from absl import flags

from experiments import config_flag
from experiments.command_line import launch
from experiments.config_flag import overridden_fields

FLAGS = flags.FLAGS
config_flag.define("Config file of the runs.")
flags.DEFINE_integer("seeds", 3, "Number of seeds, starting with config.seed.")
flags.DEFINE_string("workdir", None, "Folder of all runs, each in its own subfolder.")
flags.DEFINE_string("out", None, "JSON file with the results.")
flags.DEFINE_list("only", [], "Names of variants to run; all by default.")


def main(command, interruption):
    """Runs the ablation of the flags."""
    from ssdkd_jax.jobs.ablation import ablate
    from ssdkd_jax.jobs.config_checks import check_overrides, check_seeds
    from ssdkd_jax.training import environment

    environment.check_alone("experiments.ablate")
    check_overrides(FLAGS.config, overridden_fields(), unused={"baselines": "on an ablation"})
    check_seeds(FLAGS.seeds, least=2, first=FLAGS.config.seed)
    ablate(
        FLAGS.config,
        FLAGS.seeds,
        FLAGS.workdir,
        FLAGS.out,
        only=FLAGS.only,
        command=command,
        interruption=interruption,
    )


def run():
    """The program."""
    launch(
        main,
        required=("config", "workdir", "out"),
        example="--config=configs/digits.py --seeds=5 --workdir=runs/ablation --out=results/digits_ablation.json",
        resumes=True,
    )


if __name__ == "__main__":
    run()

"""Runs variants of one config over several seeds with one teacher, and holds each against the first, seed by seed.

    python -m experiments.study --study=studies/digits_ablation.py --workdir=runs/ablation_digits --jobs=2

Writes study.json (elsewhere with --out), study.md and study.png into the workdir after every run.  Finished runs in it
are reused, so an interrupted study resumes where it stopped, and variants and seeds can be added later.
"""

from absl import flags

import studies
from experiments.command_line import launch
from experiments.shipped_files import shipped_file
from ssdkd_jax.errors import UserError
from ssdkd_jax.files import expand

FLAGS = flags.FLAGS
EXAMPLE = "--study=studies/digits_ablation.py --workdir=runs/ablation"
flags.DEFINE_string("study", None, "Python file with a function get_study(); docs/studies.md says what it returns.")
flags.DEFINE_string("workdir", None, "Folder of the study; its runs are in VARIANT/seedN.")
flags.DEFINE_string("out", None, "JSON file with the results; study.json in the workdir by default.")
flags.DEFINE_integer(
    "jobs", 1, "Number of runs at once, each with its share of the cores, or an accelerator of its own.", lower_bound=1
)
flags.DEFINE_integer("seeds", 0, "Number of seeds, starting with the config's; 0 takes the study's.", lower_bound=0)
flags.DEFINE_list("only", [], "Names of variants to run besides the first; all by default.")


def main(command, interruption):
    """Runs the study of the flags."""
    from ssdkd_jax.jobs.study import load_study
    from ssdkd_jax.jobs.study_runs import run_study
    from ssdkd_jax.training import environment

    environment.check_alone("experiments.study")
    run_study(
        load_study(_file(FLAGS.study)),
        FLAGS.workdir,
        FLAGS.out,
        seeds=FLAGS.seeds,
        only=FLAGS.only,
        at_once=FLAGS.jobs,
        command=command,
        interruption=interruption,
    )


def _file(path):
    """The study's file: the user's own, or a shipped one."""
    own = expand(path)
    if own.is_file() and own.suffix == ".py":
        return str(own)
    try:
        return str(shipped_file(path, studies, "get_study"))
    except UserError as error:
        raise UserError(f"there is no study file {path!r} (a .py); {error}") from error


def run():
    """The program."""
    launch(main, required=("study", "workdir"), example=EXAMPLE, resumes=True)


if __name__ == "__main__":
    run()

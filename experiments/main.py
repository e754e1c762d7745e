"""Distills a student from a teacher without data.

python -m experiments.main --config=configs/digits.py --workdir=runs/digits
"""

import os
import sys

from absl import flags

from experiments import config_flag
from experiments.command_line import launch
from experiments.config_flag import overridden_fields

FLAGS = flags.FLAGS
config_flag.define("Config file, with an argument after a colon if it takes one.")
flags.DEFINE_string("workdir", None, "Folder of this run; a run that was interrupted resumes.")
flags.DEFINE_string(
    "mirror",
    "",
    "Address such as gs://BUCKET/FOLDER that gets a copy of --workdir, and gives it back where that is lost.",
)


def main(command, interruption):
    """Runs the job of the flags."""
    from ssdkd_jax.jobs.config_checks import check_overrides, unread_without_epochs
    from ssdkd_jax.jobs.run import run_job
    from ssdkd_jax.training import environment, multiprocess

    fields = overridden_fields()
    check_overrides(FLAGS.config, fields, unused=unread_without_epochs(FLAGS.config, fields))
    multiprocess.start(environment.asked_for(FLAGS.config.distributed), command)
    if not multiprocess.is_first():
        sys.stdout = open(os.devnull, "w", errors="replace")  # noqa: SIM115 (until the end)
    run_job(FLAGS.config, FLAGS.workdir, mirror=FLAGS.mirror, command=command, interruption=interruption)


def run():
    """The program."""
    launch(
        main,
        required=("config", "workdir"),
        example="--config=configs/digits.py --workdir=runs/digits",
        resumes=True,
    )


if __name__ == "__main__":
    run()

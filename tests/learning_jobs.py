"""Several runs on the real digits in one process, since a start costs as much as a run.

python -m tests.learning_jobs FOLDER < RUNS

RUNS is JSON: {name: [pair of networks, {field of the config: value}]}.  A run leaves FOLDER/NAME.
"""

import json
import pathlib
import sys

import jax

from configs import digits
from ssdkd_jax.jobs.run import run_job


def main(folder, runs):
    for name, (pair, fields) in runs.items():
        config = digits.get_config(pair)
        config.update_from_flattened_dict({"teacher.cache_dir": str(folder / "teachers"), "baselines": (), **fields})
        run_job(config, folder / name)
        jax.clear_caches()


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), json.load(sys.stdin))

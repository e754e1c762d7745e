"""How soon runs begin: seconds from a command to the end of its first epoch, which makes eight images in one step.

    python -m tests.begin --workdir=/tmp/begin --resnet56=resnet56-4bfd9763.th --out=results/begin.json

A folder of compiled programs of its own is filled by a first run.  Then runs that find whole programs (kept) and runs
that trace them and find what the compiler made of them (traced) take turns.  Each is a program of its own with a new
workdir, and ended after that epoch.
"""

import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

from ssdkd_jax.training.kept_programs import KEEP_PROGRAMS
from tests import facts_file
from tests.tiny_job import epochs_done

# The first epoch is warm-up, and is not evaluated.
ONE_STEP = {"epochs": 2, "evaluate_every": 2, "baselines": (), "ssdkd.kd_steps": 1, "ssdkd.inversion_steps": 1}
ONE_STEP["ssdkd.synthesis_batch_size"] = 8


def commands(workdir, resnet56):
    """name -> arguments of experiments.main but the workdir."""
    found = {"digits": ["--config=configs/digits.py", f"--config.teacher.cache_dir={workdir}/teachers"]}
    if resnet56:
        pair = "resnet56_option_a-resnet20"
        found[pair] = [f"--config=configs/cifar10.py:{pair},small", f"--config.teacher.path={resnet56}"]
    short = [f"--config.{field}={value}" for field, value in ONE_STEP.items()]
    return {name: [*arguments, *short] for name, arguments in found.items()}


def seconds(arguments, workdir, keep, to_its_end=False):
    """(seconds until the teacher is evaluated, until the first epoch is done) of a run."""
    workdir.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, KEEP_PROGRAMS: keep, "JAX_COMPILATION_CACHE_DIR": str(workdir / "programs")}
    command = [sys.executable, "-m", "experiments.main", *arguments, f"--workdir={workdir}/run"]
    log, began, times = workdir / "log", time.monotonic(), {}
    with log.open("w") as out, subprocess.Popen(command, env=environment, stdout=out, stderr=out) as run:
        while "epoch" not in times:
            if run.poll() is not None:
                sys.exit(f"exit status {run.returncode}: {log.read_text()[-2000:]}")
            time.sleep(0.02)
            now = time.monotonic() - began
            if " on real test images" in log.read_text():
                times.setdefault("teacher", now)
            if epochs_done(workdir / "run"):
                times["epoch"] = now
        if not to_its_end:
            run.kill()
    shutil.rmtree(workdir / "run")
    if "teacher" not in times:
        sys.exit(f"it did not say how good its teacher is: {log.read_text()[-2000:]}")
    return times["teacher"], times["epoch"]


def in_words(found):
    """The median and all of them in order."""
    teachers, epochs = zip(*found, strict=True)
    first, teacher = statistics.median(epochs), statistics.median(teachers)
    each = ", ".join(f"{value:.1f}" for value in epochs)
    return f"{first:.1f} s ({each}); the teacher is evaluated after {teacher:.1f} s"


def main():
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=pathlib.Path, required=True)
    parser.add_argument("--resnet56", default="", help="akamaster's resnet56-4bfd9763.th; CIFAR-10 must be prepared")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=pathlib.Path, help="JSON file for what was found")
    options = parser.parse_args()
    if options.workdir.exists():
        parser.error(f"--workdir={options.workdir} is there, expected a new folder: programs in it would be found")
    out = facts_file.check(options.out)
    facts = {}
    for name, arguments in commands(options.workdir, options.resnet56).items():
        facts[f"{name}, first run"] = in_words([seconds(arguments, options.workdir, "1", to_its_end=True)])
        kept, traced = [], []
        for _ in range(options.repeats):
            kept.append(seconds(arguments, options.workdir, "1"))
            traced.append(seconds(arguments, options.workdir, "0"))
        facts |= {f"{name}, programs kept": in_words(kept), f"{name}, programs traced": in_words(traced)}
        print("\n".join(f"{what}: {found}" for what, found in facts.items()), flush=True)
    if out:
        facts_file.write(out, "tests.begin", facts)


if __name__ == "__main__":
    main()

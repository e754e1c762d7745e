"""A job of seconds on the real digits, from the command line or in this process."""

import json
import pathlib
import signal
import time

import jax
import numpy as np

from configs import digits
from ssdkd_jax.jobs.config_checks import READ_WITHOUT_EPOCHS
from ssdkd_jax.jobs.run import run_job
from ssdkd_jax.training import saved_network
from tests import programs

# Few enough steps that rounding has not grown yet.
SHORT = {"epochs": 3, "ssdkd__kd_steps": 4, "evaluate_every": 1}
ROOT = pathlib.Path(__file__).parent.parent
PAIR = "convnet_8-convnet_8"
FIELDS = {
    "teacher.epochs": 3,
    "epochs": 8,
    "evaluate_every": 2,
    "checkpoint_every": 3,
    "baselines": (),
    "generator.width": 8,
    "generator.latent_size": 16,
    "ssdkd.warmup_epochs": 1,
    "ssdkd.synthesis_batch_size": 16,
    "ssdkd.inversion_steps": 2,
    "ssdkd.buffer_size": 44,  # which 8 devices cannot share equally
    "ssdkd.kd_steps": 150,  # epochs of about half a second, so that a test can act between two of them
    "ssdkd.kd_batch_size": 16,
    "ssdkd.views": 4,  # of 9, so that which they are is drawn
    "ssdkd.student_learning_rate": 0.05,
}


def arguments(workdir, cache_dir, **fields):
    """Command-line arguments of experiments.main; `fields` write a dot as two underscores: ssdkd__adv."""
    fields = {**FIELDS, **_dotted(fields), "teacher.cache_dir": cache_dir}
    if "teacher.path" in fields:  # where the settings of a teacher's training have no effect
        del fields["teacher.epochs"], fields["teacher.cache_dir"]
    if fields["epochs"] == 0:
        fields = {name: value for name, value in fields.items() if name.partition(".")[0] in READ_WITHOUT_EPOCHS}
    overrides = [f"--config.{name}={value}" for name, value in fields.items()]
    return [f"--config=configs/digits.py:{PAIR}", f"--workdir={workdir}", *overrides]


def xla_flags(devices=1):
    """So many virtual devices, and less work for the compiler than is worth it for programs that run for seconds."""
    return (
        f"--xla_force_host_platform_device_count={devices} --xla_llvm_disable_expensive_passes=true "
        "--xla_cpu_use_fusion_emitters=false"
    )


def start(arguments, devices=1, **environment):
    """The job as a program of its own, a `programs.Program`."""
    return programs.Program("experiments.main", arguments, XLA_FLAGS=xla_flags(devices), **environment)


def finish(process):
    """(exit status, stdout, stderr)."""
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def command_line(arguments, devices=1):
    """(exit status, stdout, stderr) of the whole program."""
    return programs.run("main", *arguments, XLA_FLAGS=xla_flags(devices))


def wait_until(condition, seconds=300):
    """Looks every moment whether a condition holds, and fails when it has not for so many seconds."""
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, f"waited in vain for {seconds} seconds"
        time.sleep(0.02)


def stop_when(process, number, condition):
    """Sends a signal as soon as a condition holds; (exit status, stdout, stderr)."""

    def is_time():
        assert process.poll() is None, f"ended before the signal: {process.communicate()}"
        return condition()

    wait_until(is_time)
    process.send_signal(number)
    return finish(process)


def config(cache_dir, **fields):
    """The same job's config, for `ssdkd_jax.jobs.run.run_job`."""
    c = digits.get_config(PAIR)
    c.update_from_flattened_dict({**FIELDS, "teacher.cache_dir": str(cache_dir), "devices": 1, **_dotted(fields)})
    return c


def job(workdir, cache_dir, **fields):
    """Runs it in this process; the summary as in summary.json."""
    return run_job(config(cache_dir, **fields), workdir).to_dict()


def assert_same_student(workdir, other, rtol):
    """Every tensor of the saved students agrees, in relation to the tensor's norm."""
    (one, _), (two, _) = (saved_network.load_network(folder / "student") for folder in (workdir, other))
    distances = jax.tree.map(lambda a, b: float(np.linalg.norm(a - b) / np.linalg.norm(a)), one, two)
    assert max(jax.tree.leaves(distances)) < rtol, distances


def epochs_done(workdir):
    """Epochs in metrics.jsonl, in its order; the last line may be half written."""
    path = pathlib.Path(workdir) / "metrics.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [json.loads(line)["epoch"] for line in lines]


def summary(workdir):
    """summary.json."""
    return json.loads((pathlib.Path(workdir) / "summary.json").read_text())


def _dotted(fields):
    return {name.replace("__", "."): value for name, value in fields.items()}


SIGNALS = {"SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT, "SIGKILL": signal.SIGKILL}

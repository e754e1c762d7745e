"""Compiles a config's programs for TPUs, without a TPU, and says what an epoch costs one device.

    python -m experiments.compile_check --config=configs/cifar10.py --topology=v5e:2x4
    python -m experiments.compile_check --config=configs/cifar10.py:wrn40_2-wrn16_1 --topology=v4:2x2x1,v6e:2x2 \\
        --out=results/compile_check.json

Needs libtpu: pip install -r requirements-tpu.txt.  --out keeps the rows that are in the file already.  --quick compiles
large networks several times faster; memory and its traffic are then upper bounds.
"""

from absl import flags
from ml_collections import config_flags

import configs
from experiments import config_flag
from experiments.command_line import launch
from experiments.config_flag import overridden_fields
from experiments.shipped_files import shipped_name

FLAGS = flags.FLAGS
config_flag.define("Config file whose programs are compiled, with an argument after a colon.")
flags.DEFINE_list("topology", [], "TPU topologies, such as v5e:2x4 or v4:2x2x1,v4:2x2x2.")
flags.DEFINE_string("out", "", "JSON file with the results.")
flags.DEFINE_bool("quick", False, "Compile with less effort, much sooner; memory and its traffic are upper bounds.")


def main(command, interruption):
    """Runs the check of the flags."""
    del interruption
    import jax

    from ssdkd_jax.jobs.config_checks import check_once, check_overrides
    from ssdkd_jax.speed.compile_check import compile_check
    from ssdkd_jax.speed.workload import UNUSED

    check_once("--topology", FLAGS.topology, "topology")
    # Or JAX looks for a TPU as soon as libtpu is installed.
    jax.config.update("jax_platforms", "cpu")
    # What was compiled for a device that is not there can be kept, but not read again.
    jax.config.update("jax_enable_compilation_cache", False)
    check_overrides(FLAGS.config, overridden_fields(), unused=dict.fromkeys(UNUSED, "on programs that are not run"))
    compile_check(FLAGS.config, _name(), FLAGS.topology, FLAGS.out, command, FLAGS.quick)


def _name():
    """The config's file, a shipped one without its folder and suffix; its argument, and what the flags changed."""
    path, _, argument = config_flags.get_config_filename(FLAGS["config"]).partition(":")
    name = shipped_name(path, configs, "get_config") + (f":{argument}" if argument else "")
    changed = [f"{field}={config_flags.get_override_values(FLAGS['config'])[field]}" for field in overridden_fields()]
    return " ".join([name, *changed])


def run():
    """The program."""
    launch(
        main,
        required=("config", "topology"),
        example="--config=configs/cifar10.py --topology=v5e:2x4",
    )


if __name__ == "__main__":
    run()

"""Times a config's programs while buffer, batches, images or the number of devices grow; writes a table and a plot.

    XLA_FLAGS=--xla_force_host_platform_device_count=8 python -m experiments.growth \\
        --config=configs/cifar10.py:resnet20_option_a-wrn16_1,small --out=results/growth.json --plot=docs/growth.png

Nothing is trained, weights are random, and no data set is read.  A file of an earlier call with the same config is
continued.
"""

from absl import flags

from experiments import config_flag
from experiments.command_line import launch
from experiments.config_flag import overridden_fields
from experiments.measuring import compile_anew, define_budget
from ssdkd_jax.training import environment

FLAGS = flags.FLAGS
config_flag.define("Config file whose method, networks, batch sizes and dtype are used.")
flags.DEFINE_string("out", None, "JSON file with the results, or with the first of them.")
flags.DEFINE_string("plot", None, "PNG file to draw.")
flags.DEFINE_list("only", None, "What grows: some of buffer size, batch size, image size, devices; all unless set.")
define_budget(repeats=5)


def main(command, interruption):
    """Measures, then draws."""
    del interruption
    from ssdkd_jax.files import expand, write_at_once
    from ssdkd_jax.jobs.config_checks import check_once, check_overrides
    from ssdkd_jax.outputs import check_output
    from ssdkd_jax.reports.growth_plot import growth_plot
    from ssdkd_jax.speed.growth import VALUES, growth
    from ssdkd_jax.speed.timing import Budget
    from ssdkd_jax.speed.workload import UNUSED

    environment.check_alone("experiments.growth")
    check_once("--only", FLAGS.only or [], "name")
    why = "on what is timed here, steps of a run under way"
    check_overrides(FLAGS.config, overridden_fields(), unused=dict.fromkeys(UNUSED, why))
    out = expand(FLAGS.out)
    # A picture beside results that are there already is theirs; any other is somebody else's.
    plot = check_output(FLAGS.plot, (".png",), overwrite=out.exists(), flag="--plot") if FLAGS.plot else None
    compile_anew()
    values = VALUES if FLAGS.only is None else {name: VALUES.get(name, ()) for name in FLAGS.only}
    budget = Budget(FLAGS.repeats, FLAGS.seconds)
    result = growth(FLAGS.config, out, budget=budget, values=values, command=command)
    if plot:
        write_at_once(plot, growth_plot(result))
        print(f"see {plot}", flush=True)


def run():
    """The program."""
    launch(
        main,
        required=("config", "out"),
        example="--config=configs/cifar10.py:resnet20_option_a-wrn16_1,small --out=growth.json",
    )


if __name__ == "__main__":
    run()

"""Times the replay buffer's work against the student step that it serves, in one run on one device.

    python -m experiments.benchmark --config=configs/cifar10.py:wrn40_2-wrn16_1 --capacity=50000 \\
        --out=results/benchmark_buffer.json
"""

from absl import flags

from experiments import config_flag
from experiments.command_line import launch
from experiments.config_flag import overridden_fields

FLAGS = flags.FLAGS
config_flag.define("Config file whose networks, batch sizes and buffer settings are used.")
flags.DEFINE_integer("capacity", 50_000, "Number of entries of the buffer.", lower_bound=1)
flags.DEFINE_integer("repeats", 20, "Number of timed calls; the median is reported.", lower_bound=1, upper_bound=10**6)
flags.DEFINE_string("out", None, "JSON file with the results.")


def main(command, interruption):
    """Runs the benchmark of the flags."""
    from ssdkd_jax.jobs.benchmark import USED, benchmark
    from ssdkd_jax.jobs.config_checks import check_overrides

    del interruption
    fields = overridden_fields()
    unused = {field: f"on the benchmark, which uses {', '.join(USED)}" for field in fields if field not in USED}
    check_overrides(FLAGS.config, fields, unused=unused)
    benchmark(FLAGS.config, FLAGS.capacity, FLAGS.repeats, FLAGS.out, command=command)


def run():
    """The program."""
    launch(
        main,
        required=("config", "out"),
        example="--config=configs/cifar10.py:wrn40_2-wrn16_1 --out=results/benchmark_buffer.json",
    )


if __name__ == "__main__":
    run()

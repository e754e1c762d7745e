"""Times a config's programs on this device, with random weights and no data set, or only the replay buffer.

    python -m experiments.benchmark --config=configs/cifar10.py:wrn40_2-wrn16_1 --out=speed.json
    python -m experiments.benchmark --config=configs/cifar10.py:wrn40_2-wrn16_1 --against=torch --out=speed.json
    python -m experiments.benchmark --config=configs/cifar10.py:wrn40_2-wrn16_1 --capacity=50000 \\
        --out=results/benchmark_buffer.json

--against=torch runs the same work in PyTorch on the same device and gives ratios: how many times longer PyTorch's
fastest variant takes.  --capacity=N times a buffer of N entries next to the student step that it serves.
"""

from absl import flags

from experiments import config_flag
from experiments.command_line import launch
from experiments.config_flag import overridden_fields
from experiments.measuring import compile_anew, define_budget, leave_memory_to_pytorch
from ssdkd_jax.errors import UserError
from ssdkd_jax.training import environment

FLAGS = flags.FLAGS
config_flag.define("Config file whose method, networks, batch sizes and dtype are used.")
flags.DEFINE_string("out", None, "JSON file with the results.")
define_budget(repeats=20)
flags.DEFINE_enum("against", None, ["torch"], "What the programs are compared with.")
flags.DEFINE_list("variants", [], "Of PyTorch; those that fit the device unless set.")
flags.DEFINE_integer("capacity", None, "Only the replay buffer, with so many entries.", lower_bound=1)


def main(command, interruption):
    """Runs the benchmark of the flags."""
    del interruption
    environment.check_alone("experiments.benchmark")
    if FLAGS.capacity:
        _time_buffer(command)
    else:
        _time_programs(command)


def _time_buffer(command):
    from ssdkd_jax.jobs.config_checks import check_overrides
    from ssdkd_jax.speed.buffer import USED, benchmark

    for name in ("seconds", "against", "variants"):
        if FLAGS[name].present:
            raise UserError(f"--{name} has no effect with --capacity, which only times the buffer; remove one of them")
    fields = overridden_fields()
    unused = {field: f"on the benchmark, which uses {', '.join(USED)}" for field in fields if field not in USED}
    check_overrides(FLAGS.config, fields, unused=unused)
    benchmark(FLAGS.config, FLAGS.capacity, FLAGS.repeats, FLAGS.out, command=command)


def _time_programs(command):
    if FLAGS.variants and not FLAGS.against:
        raise UserError("--variants are PyTorch's, which is not timed without --against=torch")
    if FLAGS.against:
        leave_memory_to_pytorch()
    from ssdkd_jax.jobs.config_checks import check_once, check_overrides
    from ssdkd_jax.speed.benchmark import benchmark
    from ssdkd_jax.speed.timing import Budget
    from ssdkd_jax.speed.workload import UNUSED

    check_once("--variants", FLAGS.variants, "variant")
    compile_anew()
    why = "on the benchmark, which times steps of a run under way and trains no network"
    check_overrides(FLAGS.config, overridden_fields(), unused=dict.fromkeys(UNUSED, why))
    benchmark(
        FLAGS.config,
        FLAGS.out,
        budget=Budget(FLAGS.repeats, FLAGS.seconds),
        against=FLAGS.against or "",
        variants=FLAGS.variants,
        command=command,
    )


def run():
    """The program."""
    launch(
        main,
        required=("config", "out"),
        example="--config=configs/cifar10.py:wrn40_2-wrn16_1 --out=speed.json",
    )


if __name__ == "__main__":
    run()

"""Makes the most of a borrowed accelerator's minutes: smoke test, benchmark against PyTorch, the published pairs.

    python -m experiments.accelerator_report --workdir=runs/accelerator --minutes=20
    python -m experiments.accelerator_report --workdir=runs/accelerator --minutes=20 \\
        --teachers=wrn40_2=wrn40_2.pth,resnet34=resnet34.pth --data_dir=/data/tensorflow_datasets

Writes accelerator_report.md after every stage; the same command goes on where the minutes ended.  Teachers that are not
given are trained, which needs CIFAR-10 (prepared, see the message that names it); without it, give both.
"""

from absl import flags

from experiments.command_line import launch
from experiments.measuring import leave_memory_to_pytorch
from ssdkd_jax.errors import UserError
from ssdkd_jax.training import environment

FLAGS = flags.FLAGS
PAIRS = ("wrn40_2-wrn16_1", "resnet34-resnet18")
flags.DEFINE_string("workdir", None, "Folder of the report and of its runs.")
flags.DEFINE_float("minutes", 20.0, "After which no stage begins, and a run saves and stops.", lower_bound=0)
flags.DEFINE_list("teachers", [], "Given teachers, as ARCHITECTURE=FILE_OR_FOLDER.")
flags.DEFINE_string("data_dir", "", "Where prepared TFDS sets are stored.")
flags.DEFINE_enum("dtype", "bfloat16", ["bfloat16", "float32"], "Compute dtype of the published pairs.")
flags.DEFINE_list("pairs", list(PAIRS), "Pairs of networks, as TEACHER-STUDENT.")


def main(command, interruption):
    """Makes the report of the flags."""
    environment.check_alone("experiments.accelerator_report")
    leave_memory_to_pytorch()
    from configs import cifar10, digits
    from ssdkd_jax.jobs.accelerator_report import accelerator_report, check_pairs, given_teachers, make_stages

    smoke = digits.get_config("convnet_8-convnet_8")
    smoke.update(epochs=3, baselines=())
    smoke.teacher.epochs = 10
    check_pairs(FLAGS.pairs)
    published = {pair: _published(cifar10, pair) for pair in FLAGS.pairs}
    for config in published.values():
        config.update(dtype=FLAGS.dtype, data_dir=FLAGS.data_dir)
    stages = make_stages(smoke, published, given_teachers(FLAGS.teachers), FLAGS.workdir)
    accelerator_report(stages, FLAGS.workdir, FLAGS.minutes, command=command, interruption=interruption)


def _published(cifar10, pair):
    try:
        return cifar10.get_config(pair)
    except UserError as error:
        raise UserError(f"--pairs: {error}") from error


def run():
    """The program."""
    launch(main, required=("workdir",), example="--workdir=runs/accelerator --minutes=20", resumes=True)


if __name__ == "__main__":
    run()

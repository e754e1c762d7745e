"""SSD-KD on CIFAR-10: the published benchmark.

    python -m experiments.main --config=configs/cifar10.py --workdir=runs/cifar10
    python -m experiments.main --config=configs/cifar10.py:wrn40_2-wrn16_1 --workdir=runs/cifar10_wrn

Reaches: not measured at full size yet.  FastDFKD publishes 94.05 % (resnet34-resnet18) and 89.29 % (wrn40_2-wrn16_1)
with ten inversion steps and a growing bank.

HiDFD needs a few images of anything, `--config.hidfd.images=FOLDER` or a prepared data set's name:

    python -m experiments.main --config=configs/cifar10.py:hidfd --config.hidfd.images=FOLDER --workdir=runs/hidfd

Arguments: TEACHER-STUDENT, default resnet34-resnet18; the published pairs are resnet34-resnet18, vgg11-resnet18,
wrn40_2-wrn16_1, wrn40_2-wrn40_1 and wrn40_2-wrn16_2.  The name of a method, such as `fastdfkd10`: its published preset.
`published_teacher`: a missing teacher is trained as FastDFKD's were.  `small`: a schedule for two CPU cores.  A public
checkpoint:

    python -m experiments.main --config=configs/cifar10.py:resnet56_option_a-resnet20,small \\
        --config.teacher.path=resnet56-4bfd9763.th --workdir=runs/cifar10_resnet56

reaches 78.1 % from a teacher of 93.4 % and 5,000 synthetic images (seed 0, 80 minutes on two CPU cores as two virtual
devices, 2026-11-30; results/cifar10_resnet56_resnet20.json).
"""

from configs.cifar import get_cifar_config


def get_config(argument=None):
    """The config; 5,000 synthetic images are 10 % of the real training set."""
    return get_cifar_config("cifar10", argument)

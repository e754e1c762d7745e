"""Who is where, and when, on CIFAR-10 from a public ResNet-56: SSD-KD beside FastDFKD, as at 16x16 pixels.

    python -m experiments.study --study=studies/cifar10_race.py --workdir=runs/cifar10_race --jobs=2 \\
        --out=results/cifar10_race.json

The teacher is akamaster's resnet56-4bfd9763.th, expected in runs/; it takes ten times its student's multiplications.
"""

from configs import cifar10
from ssdkd_jax.jobs.study import Study
from studies.cifar10_16 import STUDENT_EPOCHS, half_as_long, many_small_steps, ours, short_run
from studies.readings import NO_WEIGHTS, on_real_images


def get_study():
    """The study of ResNet-56 and ResNet-8."""
    return race("resnet56_option_a-resnet8", "runs/resnet56-4bfd9763.th")


def race(pair, teacher_path):
    """The study of `cifar10.py:PAIR,small` with schedules of `studies/cifar10_16_race.py`, from a given teacher."""
    config = half_as_long(cifar10.get_config(f"{pair},small"))
    config.teacher.path = teacher_path
    config.evaluate_every = 2  # five epochs are nine per cent of Fast-10's time
    steps = many_small_steps(config)
    many = NO_WEIGHTS | steps
    variants = {
        # As many student steps as `ssdkd`, with 40 syntheses less.
        "ssdkd for 10 epochs of 800 steps": ours(student_epochs=10, **{**many, "kd_steps": 800}),
        "ssdkd for 10 long epochs of 4 views": ours(**short_run(config)),
        **{name: {"method": name} for name in ("fastdfkd5", "fastdfkd10", "fastdfkd2", "fast")},
        "ssdkd": ours(**many),
        # As many real images as SSD-KD keeps synthetic ones.
        "labels of 10 % real images": on_real_images("scratch", 0.1, steps, STUDENT_EPOCHS),
    }
    return Study(config, variants, seeds=3)

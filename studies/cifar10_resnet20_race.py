"""Who is where, and when, on CIFAR-10 from a public ResNet-20: SSD-KD beside FastDFKD, to a WRN-16-1.

    python -m experiments.study --study=studies/cifar10_resnet20_race.py --workdir=runs/cifar10_resnet20_race \\
        --jobs=2 --out=results/cifar10_resnet20_race.json

The teacher is akamaster's resnet20-12fca82f.th, expected in runs/. It takes 1.5 times the multiplications of its
student, so that kept views save less than from a large one.
"""

from studies.cifar10_race import race


def get_study():
    """The study of ResNet-20 and WRN-16-1."""
    return race("resnet20_option_a-wrn16_1", "runs/resnet20-12fca82f.th")

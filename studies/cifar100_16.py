"""Whether a hundred classes need balance: CIFAR-100 at 16x16 pixels, with targets and quotas that even out the classes.

    python -m experiments.study --study=studies/cifar100_16.py --workdir=runs/cifar100_16 --jobs=2 \\
        --out=results/cifar100_16.json

SSD-KD as in the short run of `studies/cifar10_16_race.py`; a class has 50 places in its buffer.
"""

from configs import cifar100
from ssdkd_jax.jobs.study import Study
from studies.cifar10_16 import at_16_pixels, ours, short_run


def get_study():
    """The study of ResNet-20 and ResNet-8, whose teacher costs three times its student."""
    config = at_16_pixels(cifar100.get_config("resnet20-resnet8,small"), teacher_epochs=12)
    changes = {
        "ssdkd": {},
        "lacking targets": {"targets": "lacking"},
        "quotas": {"replacement": "quota"},
        "lacking targets and quotas": {"targets": "lacking", "replacement": "quota"},
        "drawn targets": {"targets": "drawn"},
        "lacking targets and task loss doubled": {"targets": "lacking", "oh": 2 * config.ssdkd.oh},
    }
    variants = {name: ours(**{**short_run(config), **change}) for name, change in changes.items()}
    return Study(config, {**variants, "fastdfkd5": {"method": "fastdfkd5"}}, seeds=3)

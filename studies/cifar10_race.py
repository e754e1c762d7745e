"""Who is where, and when, on CIFAR-10 from a public ResNet-20: SSD-KD with the leads of its readings beside FastDFKD.

    python -m experiments.study --study=studies/cifar10_race.py --workdir=runs/cifar10_race \\
        --out=results/cifar10_race.json

The teacher is akamaster's resnet20-12fca82f.th, expected in runs/.
"""

from configs import cifar10
from ssdkd_jax.jobs.study import Study
from studies.readings import NO_META_STEP, NO_WEIGHTS, as_cifar_small_was, as_the_paper, of_ssdkd, small_steps


def get_study():
    """The study of `cifar10.py:resnet20_option_a-wrn16_1,small`, as it was, with half of its epochs."""
    config = as_cifar_small_was(cifar10.get_config("resnet20_option_a-wrn16_1,small"))
    config.teacher.path = "runs/resnet20-12fca82f.th"
    as_the_paper(config)
    config.epochs = 60
    config.evaluate_every = 5
    no_meta_step = NO_META_STEP | NO_WEIGHTS
    small = small_steps(config.ssdkd)
    variants = {
        "ssdkd as the paper reads": {},
        "no meta step and no importance weights": of_ssdkd(no_meta_step),
        "no meta step and no importance weights and small steps": of_ssdkd(no_meta_step | small),
        "no importance weights": of_ssdkd(NO_WEIGHTS),
        "no importance weights and small steps": of_ssdkd(NO_WEIGHTS | small),
        "the same with 8 kept views": of_ssdkd(NO_WEIGHTS | small | {"views": 8}),
        **{name: {"method": name} for name in ("fastdfkd2", "fastdfkd5", "fastdfkd10")},
    }
    return Study(config, variants, seeds=3)

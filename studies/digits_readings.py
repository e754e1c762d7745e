"""SSD-KD's open questions on the digits.

    python -m experiments.study --study=studies/digits_readings.py --workdir=runs/digits_readings --jobs=2 \\
        --out=results/digits_readings.json
"""

from configs import digits
from ssdkd_jax.jobs.study import Study
from studies.readings import as_the_paper, questions

TRAINING_IMAGES = 1437
# python -m experiments.real_bn_loss runs/teachers/digits-convnet_32-7c1d693c1940 digits 64
BN_FLOOR = 1.41


def get_study():
    """The study of `digits.py` with 40 of its 100 epochs, after which not all students are as good as they get."""
    config = digits.get_config()
    as_the_paper(config)
    config.epochs = 40
    config.evaluate_every = 10
    return Study(config, variants=questions(config, TRAINING_IMAGES, BN_FLOOR), seeds=5)

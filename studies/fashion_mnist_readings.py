"""SSD-KD's open questions on Fashion-MNIST, at the size of one core for two minutes.

    python -m experiments.study --study=studies/fashion_mnist_readings.py --workdir=runs/fashion_mnist_readings \\
        --jobs=2 --out=results/fashion_mnist_readings.json
"""

from configs import fashion_mnist
from configs.common import set_all_methods
from ssdkd_jax.jobs.study import Study
from studies.readings import as_the_paper, questions

TRAINING_IMAGES = 60_000
# python -m experiments.real_bn_loss runs/teachers/fashion_mnist-strided_convnet_64-f69225a2ecd9 fashion_mnist 128
BN_FLOOR = 0.65


def get_study():
    """The study of `fashion_mnist.py:short`."""
    config = fashion_mnist.get_config("short")
    as_the_paper(config)
    set_all_methods(config, kd_steps=30, kd_batch_size=128)
    return Study(config, variants=questions(config, TRAINING_IMAGES, BN_FLOOR), seeds=3)

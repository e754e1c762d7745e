"""SSD-KD's open questions on Fashion-MNIST, at the size of one core for two minutes.

    python -m experiments.study --study=studies/fashion_mnist_readings.py --workdir=runs/fashion_mnist_readings \\
        --jobs=2 --out=results/fashion_mnist_readings.json
"""

import math

from configs import fashion_mnist
from configs.common import set_all_methods
from ssdkd_jax.jobs.study import Study
from studies.readings import as_fashion_mnist_short_was, as_the_paper, of_ssdkd, questions

TRAINING_IMAGES = 60_000
# python -m experiments.real_bn_loss runs/teachers/fashion_mnist-strided_convnet_64-f69225a2ecd9 fashion_mnist 128
BN_FLOOR = 0.65


def get_study():
    """The study of `fashion_mnist.py:short`."""
    config = as_fashion_mnist_short_was(fashion_mnist.get_config("short"))
    as_the_paper(config)
    set_all_methods(config, kd_steps=30, kd_batch_size=128)
    return Study(config, {**questions(config, TRAINING_IMAGES, BN_FLOOR), **_turnover(config)}, seeds=3)


def _turnover(config):
    """How many images enter the buffer an epoch, how long the student waits, and a task loss that reaches the floor."""
    ssdkd = config.ssdkd
    batch, full = ssdkd.synthesis_batch_size, math.ceil(ssdkd.buffer_size / ssdkd.synthesis_batch_size)
    # With as many student steps as by default.
    waiting = {**of_ssdkd({"warmup_epochs": full}), "epochs": full + config.epochs - ssdkd.warmup_epochs}
    return {
        "half of the images an epoch": of_ssdkd({"synthesis_batch_size": batch // 2}),
        "twice the images an epoch": of_ssdkd({"synthesis_batch_size": 2 * batch}),
        "no student step before the buffer is full": waiting,
        "BatchNorm floor and task loss doubled": of_ssdkd({"bn_floor": BN_FLOOR, "oh": 2 * ssdkd.oh}),
    }

"""SSD-KD's switches on Fashion-MNIST, changed one by one, on a shorter schedule than that of the benchmark.

    python -m experiments.study --study=studies/fashion_mnist_ablation.py --workdir=runs/ablation_fashion_mnist \\
        --jobs=2 --out=results/fashion_mnist_study.json
"""

from configs import fashion_mnist
from ssdkd_jax.jobs.study import Study
from studies.readings import as_the_paper
from studies.switches import switches

TRAINING_IMAGES = 60_000


def get_study():
    """The study of `fashion_mnist.py:small` with 60 epochs of 5 inversion and 20 student steps."""
    config = fashion_mnist.get_config("small")
    as_the_paper(config)
    config.epochs = 60
    config.evaluate_every = 20
    config.ssdkd.inversion_steps = 5
    config.ssdkd.kd_steps, config.ssdkd.kd_batch_size = 20, 128
    return Study(config, variants=switches(config.ssdkd, TRAINING_IMAGES), seeds=3)

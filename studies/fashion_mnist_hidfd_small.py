"""HiDFD's parts on Fashion-MNIST, with twice the GAN's steps and four times the student's of the short runs.

    python -m experiments.study --study=studies/fashion_mnist_hidfd_small.py --workdir=runs/hidfd_fashion_mnist_small \\
        --jobs=2 --out=results/fashion_mnist_hidfd_small.json
"""

from configs import fashion_mnist
from configs.common import set_all_methods
from ssdkd_jax.jobs.study import Study
from studies.hidfd import parts


def get_study():
    """The study of `fashion_mnist.py:small` with `method=hidfd`."""
    config = fashion_mnist.get_config("small")
    config.method = "hidfd"
    set_all_methods(config, kd_steps=40, kd_batch_size=128)
    variants = parts(config)
    # The study of digits has these, and the short runs.
    for name in ("as the released code", "SSD-KD's buffer", "SSD-KD's buffer with KD", "KD instead of SimKD"):
        del variants[name]
    return Study(config, variants=variants, seeds=3)

"""HiDFD's parts on Fashion-MNIST, in short runs; and which collected images are kept.

    python -m experiments.study --study=studies/fashion_mnist_hidfd.py --workdir=runs/hidfd_fashion_mnist --jobs=2 \\
        --out=results/fashion_mnist_hidfd.json
"""

from configs import fashion_mnist
from ssdkd_jax.jobs.study import Study
from studies.hidfd import parts


def get_study():
    """The study of `fashion_mnist.py:short` with `method=hidfd`."""
    config = fashion_mnist.get_config("short")
    config.method = "hidfd"
    drawn = {"hidfd.collected_by": "random"}
    return Study(config, variants=parts(config) | {"collected images drawn at random": drawn}, seeds=3)

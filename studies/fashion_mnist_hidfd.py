"""HiDFD's parts on small Fashion-MNIST.

    python -m experiments.study --study=studies/fashion_mnist_hidfd.py --workdir=runs/hidfd_fashion_mnist --jobs=2 \\
        --out=results/fashion_mnist_hidfd.json
"""

from configs import fashion_mnist
from ssdkd_jax.jobs.study import Study
from studies.hidfd import parts


def get_study():
    """The study of `fashion_mnist.py:small` with `method=hidfd`."""
    config = fashion_mnist.get_config("small")
    config.method = "hidfd"
    return Study(config, variants=parts(config), seeds=3)

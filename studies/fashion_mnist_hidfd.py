"""HiDFD's parts on Fashion-MNIST, in short runs; and which collected images are kept.

    python -m experiments.study --study=studies/fashion_mnist_hidfd.py --workdir=runs/hidfd_fashion_mnist --jobs=2 \\
        --out=results/fashion_mnist_hidfd.json
"""

from configs import fashion_mnist
from configs.common import set_all_methods
from ssdkd_jax.jobs.study import Study
from studies.hidfd import parts
from studies.readings import as_fashion_mnist_short_was


def get_study():
    """The study of `fashion_mnist.py:short` with `method=hidfd`."""
    config = as_fashion_mnist_short_was(fashion_mnist.get_config("short"))
    config.method = "hidfd"
    set_all_methods(config, kd_steps=30, kd_batch_size=128)
    variants = parts(config) | {"collected images drawn at random": {"hidfd.collected_by": "random"}}
    # These take the longest, and the study of digits has them.
    for name in ("as the released code", "SSD-KD's buffer"):
        del variants[name]
    return Study(config, variants=variants, seeds=3)

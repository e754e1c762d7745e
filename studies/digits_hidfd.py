"""HiDFD's parts on the digits: what the collected images, the GAN and its losses are worth.

    python -m experiments.study --study=studies/digits_hidfd.py --workdir=runs/hidfd_digits \\
        --out=results/digits_hidfd.json
"""

from configs import digits
from ssdkd_jax.jobs.study import Study
from studies.hidfd import parts


def get_study():
    """The study of `digits.py` with `method=hidfd`."""
    config = digits.get_config()
    config.method = "hidfd"
    return Study(config, variants=parts(config), seeds=3)

"""SSD-KD's switches on the digits, changed one by one: the paper's table 4 and more.

    python -m experiments.study --study=studies/digits_ablation.py --workdir=runs/ablation_digits --jobs=2 \\
        --out=results/digits_study.json
"""

from configs import digits
from ssdkd_jax.jobs.study import Study
from studies.readings import as_the_paper
from studies.switches import switches

# Of the 1,797 images that are not test images.
TRAINING_IMAGES = 1437


def get_study():
    """The study of `digits.py`."""
    config = digits.get_config()
    as_the_paper(config)
    return Study(config, variants=switches(config.ssdkd, TRAINING_IMAGES), seeds=5)

"""Who is where, and when, on Fashion-MNIST: SSD-KD with a buffer of 10 % of the training set, FastDFKD and NAYER.

    python -m experiments.study --study=studies/fashion_mnist_race.py --workdir=runs/fashion_mnist_race --jobs=2 \\
        --out=results/fashion_mnist_race.json
"""

from configs import fashion_mnist
from configs.common import set_all_methods
from ssdkd_jax.jobs.study import Study
from studies.readings import (
    NO_META_STEP,
    NO_WEIGHTS,
    as_fashion_mnist_short_was,
    as_the_paper,
    of_ssdkd,
    on_real_images,
    small_steps,
)

# Of SSD-KD's 90 epochs, of which five are warm-up.
STUDENT_EPOCHS = 85


def get_study():
    """The study of `fashion_mnist.py:short`, whose own buffer is half as large."""
    config = as_fashion_mnist_short_was(fashion_mnist.get_config("short"))
    as_the_paper(config)
    config.evaluate_every = 1  # five epochs take a tenth of the time of Fast-5
    set_all_methods(config, kd_steps=30, kd_batch_size=128)
    # The leads of docs/ssdkd_readings.md together.
    small = small_steps(config.ssdkd)
    # Few of the 50 views that there are: a new image meets the student in 60 steps' images only.
    ssdkd = {**NO_WEIGHTS, **NO_META_STEP, **small, "buffer_size": 6000, "views": 8}
    # About as long as SSD-KD's 90 epochs take.
    long_fast = {"method": "fast", "epochs": 75, **{f"fast.{field}": value for field, value in small.items()}}

    def ours(**changes):
        return {**of_ssdkd({**ssdkd, **changes}), "epochs": 90}

    variants = {
        "ssdkd": ours(),
        **{name: {"method": name} for name in ("fastdfkd2", "fastdfkd5", "fastdfkd10", "fast", "nayer")},
        "fast with small steps and 8 kept views for 75 epochs": {**long_fast, "fast.views": 8},
        "ssdkd with the teacher in every step": ours(views=0),
        "ssdkd with a buffer of 5 %": ours(buffer_size=3000),
        "fastdfkd5 with 8 kept views": {"method": "fastdfkd5", "fastdfkd5.views": 8},
        "fastdfkd10 with 8 kept views": {"method": "fastdfkd10", "fastdfkd10.views": 8},
        # As many real images as SSD-KD keeps synthetic ones.
        "labels of 10 % real images": on_real_images("scratch", 0.1, small, STUDENT_EPOCHS),
    }
    return Study(config, variants, seeds=3)

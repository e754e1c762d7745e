"""Who is where, and when, on Fashion-MNIST: SSD-KD beside FastDFKD and NAYER.

    python -m experiments.study --study=studies/fashion_mnist_race.py --workdir=runs/fashion_mnist_race \\
        --out=results/fashion_mnist_race.json
"""

from configs import fashion_mnist
from configs.common import set_all_methods
from ssdkd_jax.jobs.study import Study
from studies.readings import NO_META_STEP, NO_WEIGHTS, as_the_paper, of_ssdkd, on_real_images, small_steps

# Of SSD-KD's 90 epochs, of which five are warm-up.
STUDENT_EPOCHS = 85


def get_study():
    """The study of `fashion_mnist.py:short`."""
    config = fashion_mnist.get_config("short")
    as_the_paper(config)
    set_all_methods(config, kd_steps=30, kd_batch_size=128)
    # The leads of docs/ssdkd_readings.md together.
    small = small_steps(config.ssdkd)
    ours = of_ssdkd(NO_WEIGHTS | NO_META_STEP | small)
    fast = {"method": "fast", **{f"fast.{field}": value for field, value in small.items()}}
    others = ("fastdfkd2", "fastdfkd5", "fastdfkd10", "fast", "nayer")
    variants = {
        "ssdkd": ours,
        "ssdkd for 30 epochs": {**ours, "epochs": 30},
        "ssdkd for 90 epochs": {**ours, "epochs": 90},
        # Few of the 50 that there are: a new image meets the student in 30 steps' images only.
        "ssdkd with 8 kept views": {**ours, "ssdkd.views": 8},
        "ssdkd with 8 kept views for 90 epochs": {**ours, "ssdkd.views": 8, "epochs": 90},
        "ssdkd by default": {},  # as it was then
        **{name: {"method": name} for name in others},
        "fast with small steps": fast,
        # As long as SSD-KD's 90 epochs take, without and with views.
        "fast with small steps for 75 epochs": {**fast, "epochs": 75},
        "fast with small steps and 8 kept views for 75 epochs": {**fast, "fast.views": 8, "epochs": 75},
        # As many real images as SSD-KD keeps synthetic ones, and twice as many.
        "KD on 5 % real images": on_real_images("vanilla_kd", 0.05, small, STUDENT_EPOCHS),
        "KD on 10 % real images": on_real_images("vanilla_kd", 0.1, small, STUDENT_EPOCHS),
        "labels of 5 % real images": on_real_images("scratch", 0.05, small, STUDENT_EPOCHS),
        "labels of 10 % real images": on_real_images("scratch", 0.1, small, STUDENT_EPOCHS),
    }
    return Study(config, variants, seeds=3)

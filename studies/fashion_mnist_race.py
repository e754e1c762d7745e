"""Who is where, and when, on Fashion-MNIST: SSD-KD with kept views beside FastDFKD, with and without, and NAYER.

    python -m experiments.study --study=studies/fashion_mnist_race.py --workdir=runs/fashion_mnist_race \\
        --out=results/fashion_mnist_race.json
"""

from configs import fashion_mnist
from ssdkd_jax.jobs.study import Study

# All views of a 28x28 image: crops of 2 pixels' padding, and flips.
VIEWS = 50


def get_study():
    """The study of `fashion_mnist.py:short`; what ours changes is from docs/ssdkd_readings.md."""
    config = fashion_mnist.get_config("short")
    ours = {"ssdkd.priority": "kl", "ssdkd.beta_start": 0.0, "ssdkd.beta_end": 0.0, "ssdkd.meta_update": "none"}
    ours |= {"ssdkd.kd_batch_size": 64, "ssdkd.kd_steps": 60}
    kept = {**ours, "ssdkd.views": VIEWS}
    others = ("fastdfkd2", "fastdfkd5", "fastdfkd10", "fast", "nayer")
    small_steps = {"method": "fast", "fast.kd_batch_size": 64, "fast.kd_steps": 60}
    variants = {
        "ssdkd with kept views": kept,
        "ssdkd recomputing them": ours,
        "ssdkd by default": {},
        **{name: {"method": name} for name in others},
        "fast with kept views and small steps": {**small_steps, "fast.views": VIEWS},
        "ssdkd with kept views for 60 epochs": {**kept, "epochs": 60},
        "ssdkd with kept views for 100 epochs": {**kept, "epochs": 100},
    }
    return Study(config, variants, seeds=3)

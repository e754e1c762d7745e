"""Whether the student should wait for a full buffer on Fashion-MNIST, as `short` was until 2026-12-01.

    python -m experiments.study --study=studies/fashion_mnist_waiting.py --workdir=runs/fashion_mnist_waiting \\
        --jobs=2 --out=results/fashion_mnist_waiting.json
"""

import math

from configs import fashion_mnist
from ssdkd_jax.jobs.study import Study
from studies.readings import as_fashion_mnist_short_was


def get_study():
    """The study of `fashion_mnist.py:short`; all variants have as many student steps."""
    config = as_fashion_mnist_short_was(fashion_mnist.get_config("short"))
    config.evaluate_every = 1
    ssdkd = config.ssdkd
    full = math.ceil(ssdkd.buffer_size / ssdkd.synthesis_batch_size)
    student_epochs = config.epochs - ssdkd.warmup_epochs

    def waiting(method, warmup):
        return {"method": method, f"{method}.warmup_epochs": warmup, "epochs": student_epochs + warmup}

    variants = {
        "default": {},
        "no student step before the buffer is full": waiting("ssdkd", full),
        "warm-up twice as long": waiting("ssdkd", 2 * full),
        "fastdfkd5": {"method": "fastdfkd5"},
        "fastdfkd5 with as long a warm-up": waiting("fastdfkd5", full),
    }
    return Study(config, variants, seeds=5)

"""How many images enter SSD-KD's buffer an epoch, and how long the student waits for them, on the digits.

    python -m experiments.study --study=studies/digits_turnover.py --workdir=runs/digits_turnover --jobs=2 \\
        --out=results/digits_turnover.json
"""

from configs import digits
from ssdkd_jax.jobs.study import Study
from studies.digits_readings import BN_FLOOR
from studies.readings import NO_WEIGHTS, of_ssdkd

STUDENT_EPOCHS = 30


def after(warmup_epochs):
    """A variant with as many student steps, but another number of epochs before the first of them."""
    return {"ssdkd.warmup_epochs": warmup_epochs, "epochs": warmup_epochs + STUDENT_EPOCHS}


def get_study():
    """The study of `digits.py` with 40 of its 100 epochs, ten of them warm-up."""
    config = digits.get_config()
    config.epochs = config.ssdkd.warmup_epochs + STUDENT_EPOCHS
    config.evaluate_every = 10
    oh, buffer_size = config.ssdkd.oh, config.ssdkd.buffer_size
    variants = {
        "default": {},
        "a quarter of the images an epoch": of_ssdkd({"synthesis_batch_size": 16}),
        "half of the images an epoch": of_ssdkd({"synthesis_batch_size": 32}),
        "twice the images an epoch": of_ssdkd({"synthesis_batch_size": 128}),
        "warm-up of 3 epochs": after(3),  # in which the buffer fills
        "warm-up of 30 epochs": after(30),
        "warm-up of 70 epochs": after(70),
        # In the demo's 100 epochs, as that of 70 is, with more student steps.
        "warm-up of 40 epochs of 100": {"ssdkd.warmup_epochs": 40, "epochs": 100},
        "warm-up of 10 epochs of 100": {"epochs": 100},
        "fastdfkd5": {"method": "fastdfkd5"},
        "fastdfkd5 with a warm-up of 70 epochs": {"method": "fastdfkd5", "fastdfkd5.warmup_epochs": 70, "epochs": 100},
        "4 of the 9 views": of_ssdkd({"views": 4}),
        "4 of the 9 views and new ones for a quarter": of_ssdkd({"views": 4, "renewed_views": buffer_size // 4}),
        "no importance weights": of_ssdkd(NO_WEIGHTS),
        "no importance weights and insertion at the mean": of_ssdkd({**NO_WEIGHTS, "insertion": "mean"}),
        "BatchNorm floor and task loss doubled": of_ssdkd({"bn_floor": BN_FLOOR, "oh": 2 * oh}),
        "BatchNorm floor and four times the task loss": of_ssdkd({"bn_floor": BN_FLOOR, "oh": 4 * oh}),
    }
    return Study(config, variants, seeds=5)

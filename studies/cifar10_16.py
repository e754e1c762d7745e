"""Where seconds are best spent on CIFAR-10, at 16x16 pixels: SSD-KD from a teacher that costs ten times its student.

    python -m experiments.study --study=studies/cifar10_16.py --workdir=runs/cifar10_16 --jobs=2 \\
        --out=results/cifar10_16.json

With a quarter of the pixels every part of a run costs a quarter, so that what pays is found in a quarter of the time.
"""

from configs import cifar10
from ssdkd_jax.jobs.study import Study
from studies.readings import NO_META_STEP, NO_WEIGHTS, as_cifar_small_was, of_ssdkd, small_steps

# In which the buffer of 5,000 images gets full.
FULL = 40
STUDENT_EPOCHS = 50


def half_as_long(config):
    """A CIFAR config `small` with the schedule that it had (`as_cifar_small_was`), for half as many epochs."""
    as_cifar_small_was(config)
    config.evaluate_every = 5
    config.epochs = config.ssdkd.warmup_epochs + STUDENT_EPOCHS
    return config


def at_16_pixels(config, teacher_epochs):
    """`half_as_long`, and with a quarter of the pixels."""
    config.image_size, config.crop_padding = 16, 2
    config.teacher.epochs = teacher_epochs
    return half_as_long(config)


def get_config():
    """`cifar10.py:resnet56-resnet8,small` at 16x16 pixels."""
    return at_16_pixels(cifar10.get_config("resnet56-resnet8,small"), teacher_epochs=8)


def ours(warmup_epochs=FULL, student_epochs=STUDENT_EPOCHS, **changes):
    """A variant of SSD-KD: {field of its section: value} and the epochs without and with student steps."""
    return {**of_ssdkd({"warmup_epochs": warmup_epochs, **changes}), "epochs": warmup_epochs + student_epochs}


def many_small_steps(config):
    """Without the teacher, student steps cost so little that four times as many pay."""
    small = small_steps(config.ssdkd)
    return {**small, "kd_steps": 2 * small["kd_steps"]}


def short_run(config):
    """Fields of SSD-KD's short run: ten long epochs after the warm-up, with half of the views, for `ours`."""
    return {**NO_WEIGHTS, **many_small_steps(config), "student_epochs": 10, "kd_steps": 400, "views": 4}


def get_study():
    """The study of `get_config`."""
    config = get_config()
    many = NO_WEIGHTS | many_small_steps(config)
    variants = {
        "ssdkd": ours(),
        "many small steps": ours(**many),
        "many small steps for 25 epochs": ours(student_epochs=25, **many),
        "many small steps for 25 epochs after 20": ours(20, student_epochs=25, **many),
        "many small steps for 25 epochs after 60": ours(60, student_epochs=25, **many),
        "many small steps for 15 epochs": ours(student_epochs=15, **many),
        "fastdfkd5": {"method": "fastdfkd5"},
        "small steps": ours(**small_steps(config.ssdkd)),
        "replace oldest": ours(replacement="oldest"),
        "no importance weights": ours(**NO_WEIGHTS),
        "no meta step": ours(**NO_META_STEP),
        "warm-up of 20 epochs": ours(20),
        "warm-up of 10 epochs": {},
        "32 kept views": ours(views=32),
        "teacher in every step": ours(views=0),
        "drawn targets": ours(targets="drawn"),
        "fastdfkd2": {"method": "fastdfkd2"},
        "fastdfkd10": {"method": "fastdfkd10"},
    }
    return Study(config, variants, seeds=3)

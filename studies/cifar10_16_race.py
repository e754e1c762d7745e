"""Who is where, and when, on CIFAR-10 at 16x16 pixels: SSD-KD beside FastDFKD, NAYER and students of real images.

    python -m experiments.study --study=studies/cifar10_16_race.py --workdir=runs/cifar10_16_race --jobs=2 \\
        --out=results/cifar10_16_race.json
"""

from ssdkd_jax.jobs.study import Study
from studies.cifar10_16 import STUDENT_EPOCHS, get_config, many_small_steps, ours, short_run
from studies.readings import NO_WEIGHTS, on_real_images, small_steps


def get_study():
    """The study of `cifar10_16.get_config`, in which SSD-KD waits for a full buffer and takes many small steps."""
    config = get_config()
    config.teacher.epochs = 5  # a weaker teacher, but the same for all
    steps = many_small_steps(config)
    many = NO_WEIGHTS | steps
    others = ("fastdfkd5", "fastdfkd10", "fastdfkd2", "fast", "nayer")
    variants = {
        # As many student steps as in 25 epochs, with 15 syntheses less and half of the views.
        "ssdkd for 10 long epochs of 4 views": ours(**short_run(config)),
        "ssdkd for 10 epochs of 500 steps and 4 views": ours(
            student_epochs=10, **{**many, "kd_steps": 500, "views": 4}
        ),
        "ssdkd for 10 epochs of 800 steps": ours(student_epochs=10, **{**many, "kd_steps": 800}),
        "ssdkd for 25 epochs": ours(student_epochs=25, **many),
        "ssdkd for 25 epochs of 4 views": ours(student_epochs=25, **many, views=4),
        "ssdkd for 25 epochs of 2 inversion steps": ours(student_epochs=25, **many, inversion_steps=2),
        "ssdkd for 25 epochs of 4 views of 2 inversion steps": ours(
            student_epochs=25, **many, views=4, inversion_steps=2
        ),
        **{name: {"method": name} for name in others},
        "ssdkd": ours(**many),
        # As many student images as FastDFKD has.
        "ssdkd with small steps": ours(**NO_WEIGHTS, **small_steps(config.ssdkd)),
        # What CIFAR's `small` set until this race.
        "ssdkd by default": ours(warmup_epochs=10),
        # As many real images as SSD-KD keeps synthetic ones.
        "labels of 10 % real images": on_real_images("scratch", 0.1, steps, STUDENT_EPOCHS),
        "KD on 10 % real images": on_real_images("vanilla_kd", 0.1, steps, STUDENT_EPOCHS),
    }
    return Study(config, variants, seeds=3)

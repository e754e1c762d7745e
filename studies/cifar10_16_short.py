"""What could raise SSD-KD's short run of `cifar10_16_race`, on CIFAR-10 at 16x16 pixels, in about as much time.

    python -m experiments.study --study=studies/cifar10_16_short.py --workdir=runs/cifar10_16_short --jobs=2 \\
        --seeds=1 --out=results/cifar10_16_short.json
"""

from ssdkd_jax.jobs.study import Study
from studies import cifar10_16_race
from studies.cifar10_16 import ours, short_run
from studies.readings import NO_META_STEP


def get_study():
    """The study of `cifar10_16_race` with changes of its short run's student steps, schedule and generator."""
    config = cifar10_16_race.get_study().config
    of_short = short_run(config)

    def changed(**fields):
        return ours(**of_short | fields)

    variants = {
        "ssdkd for 10 long epochs of 4 views": changed(),
        "student batches of 32": changed(kd_batch_size=32, kd_steps=800),
        "student batches of 32 and rate 0.1": changed(kd_batch_size=32, kd_steps=800, student_learning_rate=0.1),
        "student rate 0.4": changed(student_learning_rate=0.4),
        "student rate 0.1": changed(student_learning_rate=0.1),
        "14 epochs": changed(student_epochs=14),
        "20 epochs of 300 steps": changed(student_epochs=20, kd_steps=300),
        "generator rate 6e-3": changed(generator_learning_rate=6e-3),
        "generator rate 1e-2": changed(generator_learning_rate=1e-2),
        "no meta step": changed(**NO_META_STEP),
        "no meta step and generator rate 6e-3": changed(**NO_META_STEP, generator_learning_rate=6e-3),
    }
    return Study(config, variants, seeds=3)

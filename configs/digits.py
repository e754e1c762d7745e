"""SSD-KD on scikit-learn's handwritten digits (8x8, comes with the installation): the demo.

    python -m experiments.main --config=configs/digits.py --workdir=runs/digits

Reaches: teacher 100.0 %, student 98.9 % from 144 synthetic images; the same student on 10 % real images gets 93.9 %
(seed 0, 91 s in all on two cores of an AMD EPYC, 2026-12-01; results/digits.json).

Argument: TEACHER-STUDENT, default convnet_32-convnet_8.
"""

from configs.common import (
    FAST_FAMILY,
    HIDFD,
    SSDKD,
    get_common_config,
    set_all_methods,
    shorten_hidfd,
    shorten_synthesis,
)
from configs.presets import parse


def get_config(argument=None):
    """The config; 144 synthetic images are 10 % of the 1,437 real training images."""
    (teacher, student), _ = parse(argument, ("convnet_32", "convnet_8"))
    c = get_common_config()
    c.dataset = "digits"
    c.teacher.name, c.student.name = teacher, student
    c.teacher.epochs = 100
    c.crop_padding = 1
    c.flip = False  # mirrored digits are not valid digits
    c.generator.latent_size = 64
    c.generator.width = 16
    c.epochs = 100
    c.evaluate_every = 10
    c.checkpoint_every = 25
    c.baselines = (0.1,)
    set_all_methods(c, SSDKD, buffer_size=144)
    c.ssdkd.views = 9  # which are all that there are
    set_all_methods(c, synthesis_batch_size=64, kd_steps=60, kd_batch_size=64)
    set_all_methods(c, FAST_FAMILY, warmup_epochs=10, adv=1.0)
    shorten_synthesis(c)
    shorten_hidfd(c, warmup_epochs=10, gan_steps=100, width=32, generated_images=5000)
    set_all_methods(c, HIDFD, images="photographs", resized_crop=1.0)  # crops by crop_padding instead
    return c

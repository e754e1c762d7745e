"""What shapes.py, camvid.py and nyuv2.py share."""

from configs.common import FAST_FAMILY, get_common_config, set_all_methods
from configs.presets import parse

PUBLISHED_PAIR = ("deeplabv3_resnet50", "deeplabv3_mobilenet")
SMALL_PAIR = ("encoder_decoder_32", "encoder_decoder_8")


def get_segmentation_config(dataset, argument, *, always_small=False):
    """(config of a data set with label maps, whether it is small): DeepLabV3 at 128x128, or the small pair at 64x64."""
    small = always_small or "small" in (argument or "").split(",")
    pair, _ = parse(argument, SMALL_PAIR if small else PUBLISHED_PAIR, sizes=() if always_small else ("small",))
    c = get_common_config()
    c.dataset = dataset
    c.teacher.name, c.student.name = pair
    c.image_size = 128
    c.crop_padding = 16
    c.evaluation_batch_size = 64
    # A batch of 256, as for images of 32x32, takes tens of gigabytes at this size.
    c.teacher.batch_size = 32
    set_all_methods(c, synthesis_batch_size=64, kd_batch_size=64)
    if small:
        _fit_two_cores(c)
    return c, small


def _fit_two_cores(c):
    """Short schedules, for the small pair of networks."""
    c.image_size = 64
    c.crop_padding = 8
    c.teacher.epochs = 60
    c.teacher.learning_rate = 0.05
    c.generator.latent_size = 64
    c.generator.width = 16
    c.epochs = 60
    c.evaluate_every = 10
    c.checkpoint_every = 20
    set_all_methods(c, synthesis_batch_size=32, kd_steps=40, kd_batch_size=32)
    set_all_methods(c, FAST_FAMILY, warmup_epochs=5, adv=1.0)
    c.dafl.latent_size = c.generator.latent_size

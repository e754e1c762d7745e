"""SSD-KD for semantic segmentation on made images of colored shapes, 5 classes: needs no data.

    python -m experiments.main --config=configs/shapes.py --workdir=runs/shapes

Argument: TEACHER-STUDENT, default encoder_decoder_32-encoder_decoder_8 at 64x64.
"""

from configs.common import SSDKD, set_all_methods
from configs.segmentation import get_segmentation_config


def get_config(argument=None):
    """The config; 320 synthetic images are two thirds of the 480 made training images."""
    c, _ = get_segmentation_config("shapes", argument, always_small=True)
    c.teacher.epochs = 20
    c.epochs = 30
    set_all_methods(c, SSDKD, buffer_size=320)
    return c

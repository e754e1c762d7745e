"""SSD-KD for semantic segmentation on NYUv2, 13 classes: the published benchmark.

    python -m experiments.nyuv2 DOWNLOADED --out=nyuv2
    python -m experiments.main --config=configs/nyuv2.py --config.data_dir=nyuv2 --workdir=runs/nyuv2

Reaches: not measured yet.  Published mIoU for this pair of networks: SSD-KD 38.4 % with 16,000 images, FastDFKD 36.6 %,
DAFL 10.5 %.  The number of images is published; size, batches and weights are FastDFKD's for 32x32 images, but for
what does not fit, which is our reading.

Arguments: TEACHER-STUDENT, default deeplabv3_resnet50-deeplabv3_mobilenet at 128x128; `small`: the schedule and the
networks of configs/camvid.py:small.
"""

from configs.common import SSDKD, set_all_methods
from configs.segmentation import get_segmentation_config


def get_config(argument=None):
    """The config."""
    c, small = get_segmentation_config("nyuv2", argument)
    set_all_methods(c, SSDKD, buffer_size=320 if small else 16_000)
    return c

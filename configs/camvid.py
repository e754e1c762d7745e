"""SSD-KD for semantic segmentation on CamVid: 367 training and 233 test images of streets, 11 classes.

    python -m experiments.main --config=configs/camvid.py:small --config.data_dir=FOLDER --workdir=runs/camvid

FOLDER has train/images, train/labels, test/images and test/labels; docs/segmentation.md says what is in them.

`small` reaches with --config.epochs=30: teacher 33.0 %, student 26.7 % mIoU from 320 synthetic images; FastDFKD 27.2 %
from 960, DAFL 13.7 %, the same student on the real labels 32.1 % (mean of 3 seeds, one core of an Intel Xeon,
2026-11-28; results/camvid_comparison.json).

Arguments: TEACHER-STUDENT, default deeplabv3_resnet50-deeplabv3_mobilenet at 128x128, which is not measured yet;
`small`: encoder_decoder_32-encoder_decoder_8 at 64x64 and a schedule for two CPU cores.
"""

from configs.common import SSDKD, set_all_methods
from configs.segmentation import get_segmentation_config


def get_config(argument=None):
    """The config; `small` has 320 synthetic images, fewer than the 367 real training images."""
    c, small = get_segmentation_config("camvid", argument)
    set_all_methods(c, SSDKD, buffer_size=320 if small else 2000)
    return c

"""HiDFD on Tiny-ImageNet (200 classes, 64x64): one of its published benchmarks, and SSD-KD beside it.

    python -m experiments.main --config=configs/tiny_imagenet.py:hidfd --config.dataset=folder:/path/tiny-imagenet \\
        --config.hidfd.images=folder:/path/collected --workdir=runs/tiny_imagenet

Not measured.  The data set is a folder with train/CLASS/*.JPEG and test/CLASS/*.JPEG, or the name of a TFDS set with
--config.image_size=64.

Arguments as for configs/cifar10.py; `small` is a schedule for two CPU cores, which is not enough for 200 classes.
"""

from configs.cifar import get_cifar_config


def get_config(argument=None):
    """The config; 10,000 synthetic images are 10 % of the real training set; `small` keeps 5,000."""
    c = get_cifar_config("folder:tiny-imagenet", argument, buffer_size=10_000)
    c.image_size = 64
    c.crop_padding = 8
    c.normalization = "imagenet"
    return c

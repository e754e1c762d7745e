"""Every field of a config, with its meaning and its default; the benchmarks' files beside this one change some.

All fields are overridden on the command line as `--config.FIELD=VALUE`, for example `--config.seed=1` or
`--config.ssdkd.alpha=0`.  The fields of a method's section are explained in its class, which
ssdkd_jax/methods/__init__.py names.
"""

import dataclasses

import ml_collections
from ml_collections import config_dict

from ssdkd_jax.methods import METHODS


def get_common_config():
    """The defaults: FastDFKD's schedule with SSD-KD's buffer, modulation and priorities."""
    c = ml_collections.ConfigDict()
    c.method = "ssdkd"  # a method of ssdkd_jax.methods
    c.seed = 0  # of everything random
    c.epochs = 220  # each one synthesis and a number of student steps; 0 evaluates the teacher and stops

    # Data.  Real images only train a missing teacher and evaluate.
    c.dataset = "digits"  # digits, a TFDS name, or folder:/path
    c.data_dir = ""  # where prepared TFDS sets lie; "" is $TFDS_DATA_DIR or ~/tensorflow_datasets
    c.image_size = 0  # every image is resized to this height and width; 0 keeps them as they are
    c.image_shape = (0, 0, 0)  # (h, w, c), only for a data set that nobody here knows; zeros: the data set's own
    c.normalization = ""  # cifar10, cifar100, imagenet, ... ; "" is the teacher's own, else the data set's
    c.crop_padding = 4  # random crop of the images that networks see, in pixels of zero padding
    c.flip = True  # random mirroring
    c.evaluate_on = "test"  # test, or none: no real image is looked for, agreement with the teacher is reported

    # Networks.
    c.teacher = ml_collections.ConfigDict()
    c.teacher.name = "resnet34"  # architecture; "" with a path: what the file says
    c.teacher.path = ""  # a folder of ours or a PyTorch file; "" trains one from real images, once
    c.teacher.cache_dir = "runs/teachers"  # where trained teachers are kept and found again
    c.teacher.seed = 0  # of its training, so that runs of many seeds share one teacher
    c.teacher.epochs = 200  # SGD with Nesterov momentum 0.9, cosine to 0, crop and flip as above
    c.teacher.batch_size = 128
    c.teacher.learning_rate = 0.1
    c.teacher.weight_decay = 5e-4
    c.student = ml_collections.ConfigDict()
    c.student.name = "resnet18"  # architecture
    c.generator = ml_collections.ConfigDict()
    c.generator.latent_size = 256  # nz
    c.generator.width = 64  # ngf
    c.dtype = "float32"  # of computation: float32 or bfloat16
    c.param_dtype = "float32"  # of parameters
    c.matmul_precision = "default"  # of float32 products on accelerators: default, high or highest

    # The run.
    c.devices = 0  # how many local devices; 0 is all
    c.loop = "auto"  # scan: an epoch is one program; steps: single calls; auto: scan
    c.evaluate_every = 5  # epochs
    c.checkpoint_every = 10  # epochs
    c.baselines = ()  # shares of the real training set to train the same student on, for comparison, e.g. (0.1,)
    c.evaluation_batch_size = 500  # images
    c.export_torch = config_dict.placeholder(bool)  # student as a PyTorch file too; None: if the teacher was one
    c.held_out_batches = 4  # evaluate_on=none: batches of synthetic images that the student never sees

    # One section of each method: c.ssdkd, c.fastdfkd, ...; the fields and the published values are those of its class.
    for name, method in METHODS.items():
        c[name] = ml_collections.ConfigDict(settings(method))
    return c


def settings(method):
    """A method class's own fields with their defaults: all but the problem and the epochs, which the config gives."""
    return {
        field.name: field.default for field in dataclasses.fields(method) if field.name not in ("problem", "epochs")
    }


# What shares FastDFKD's inversion loss, and so its weights for a teacher.
FAST_FAMILY = ("ssdkd", "fastdfkd", "fastdfkd2", "fastdfkd5", "fastdfkd10", "fast", "nayer")


def set_all_methods(c, methods=tuple(METHODS), **fields):
    """Sets fields in the sections of the methods that have them, so that methods are compared on the same schedule."""
    for name in methods:
        for field, value in fields.items():
            if field in c[name]:
                c[name][field] = value


def shorten_synthesis(c):
    """For two CPU cores: what takes hundreds of steps a batch takes fewer, larger ones; generators are the config's."""
    c.deepinversion.inversion_steps = 100
    c.cmi.inversion_steps = 50
    c.cmi.generator_learning_rate = 4e-3
    c.cmi.feature_bank_size = 2048
    c.cmi.negatives = 512
    c.cmi.head_size = 64
    c.nayer.embedding_size = 64
    c.dafl.latent_size = c.generator.latent_size

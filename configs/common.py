"""Every field of a config, with its default; the benchmarks' files in this folder change some.

All fields are overridden on the command line as `--config.FIELD=VALUE`, for example `--config.seed=1` or
`--config.ssdkd.alpha=0`.  `python -m experiments.main --config=configs/digits.py --help` prints every field with its
default, meaning and range, which are defined in ssdkd_jax/jobs/run_settings.py and in the methods' classes.
"""

import ml_collections
from ml_collections import config_dict

from ssdkd_jax import settings
from ssdkd_jax.jobs.run_settings import SECTIONS, RunSettings
from ssdkd_jax.methods import METHODS


def get_common_config():
    """The defaults: FastDFKD's schedule with SSD-KD's buffer, modulation and priorities."""
    c = ml_collections.ConfigDict(settings.defaults(RunSettings))
    c.export_torch = config_dict.placeholder(bool)
    for name, section in SECTIONS.items():
        c[name] = ml_collections.ConfigDict(settings.defaults(section))
    # One section for each method: c.ssdkd, c.fastdfkd, ..., with the published values.
    for name, preset in METHODS.items():
        c[name] = ml_collections.ConfigDict(preset.settings)
    return c


# SSD-KD with our defaults, and as we read the paper.
SSDKD = ("ssdkd", "ssdkd_paper")
# What shares FastDFKD's inversion loss, and so its weights for a teacher.
FAST_FAMILY = (*SSDKD, "fastdfkd", "fastdfkd2", "fastdfkd5", "fastdfkd10", "fast", "nayer")
# HiDFD as the paper means it, and as its released code is.
HIDFD = ("hidfd", "hidfd_released")


def set_all_methods(c, methods=None, **fields):
    """Sets fields in the sections of the methods that have them, so that methods are compared on the same schedule.

    Raises:
      KeyError: a field that none of them has.
    """
    for field, value in fields.items():
        having = [c[name] for name in (METHODS if methods is None else methods) if field in c[name]]
        if not having:
            raise KeyError(f"none of the methods has a field {field}")
        for section in having:
            section[field] = value


def shorten_synthesis(c):
    """Fits slow syntheses to two CPU cores: hundreds of steps a batch become fewer, larger ones."""
    set_all_methods(c, ("deepinversion", "deepinversion2k"), inversion_steps=100)
    set_all_methods(
        c,
        ("cmi", "cmi500"),
        inversion_steps=50,
        generator_learning_rate=4e-3,
        feature_bank_size=2048,
        negatives=512,
        head_size=64,
    )
    set_all_methods(c, ("nayer", *SSDKD), embedding_size=64)
    c.dafl.latent_size = c.generator.latent_size


def shorten_hidfd(c, *, warmup_epochs, gan_steps, width, generated_images):
    """Fits HiDFD to two CPU cores: a narrow GAN, a moving average that follows within its few steps, a fast student.

    SimKD's loss is a mean over features, so that its gradients are small.  The published rate, 0.05, was made for
    375,000 student steps; after a hundredth of them the student of digits is at 87.5 %, and at 95.8 % with 0.5 (seed 0,
    2026-11-28; results/digits_hidfd_published_rate.json, results/digits_hidfd_run.json).

    Of the collected images there are a tenth as many as of the generated ones, as published.
    """
    set_all_methods(
        c,
        HIDFD,
        warmup_epochs=warmup_epochs,
        gan_steps=gan_steps,
        width=width,
        latent_size=c.generator.latent_size,
        generated_images=generated_images,
        collected_images=generated_images // 10,
        average_from=warmup_epochs * gan_steps // 4,
        average_decay=0.99,
        student_learning_rate=0.5,
    )

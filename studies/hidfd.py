"""The variants of an ablation of HiDFD."""

from ssdkd_jax.methods import METHODS


def parts(config):
    """name -> changed fields: HiDFD without each of its parts, with equally many student steps each.

    Args:
      config: of a run with `method=hidfd`.
    """
    # Without stage 1 there is no warm-up; without collected images the GAN still learns from them.
    no_gan = {"generated_images": 0, "warmup_epochs": 0}
    # At the learning rate that the methods with KD have; SimKD's is too high for it.
    kd = {"distillation": "kd", "student_learning_rate": 0.2}
    changes = {
        "full": {},
        "collected images only with KD": {**no_gan, **kd},
        "collected images only": no_gan,
        "generated images only": {"inflation": 0.0},
        "no feature integration": {"integration": 0.0},
        "no smoothing": {"smoothing": 0.0},
        "no inflation": {"inflation": 1.0},
        "KD instead of SimKD": kd,
        "as the released code": METHODS["hidfd_released"].changes,
        "SSD-KD's buffer": {"replay": True},
        "SSD-KD's buffer with KD": {"replay": True, **kd},
    }
    variants = {name: {f"hidfd.{field}": value for field, value in change.items()} for name, change in changes.items()}
    for name in ("collected images only with KD", "collected images only"):
        variants[name]["epochs"] = config.epochs - config.hidfd.warmup_epochs
    return variants

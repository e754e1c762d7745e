"""The variants of SSD-KD that its open questions ask for, each a change of the defaults."""

from configs.common import SSDKD, set_all_methods

# Priorities that no importance weights undo.
NO_WEIGHTS = {"priority": "kl", "beta_start": 0.0, "beta_end": 0.0}
# Ahead of the defaults in docs/ssdkd_readings.md, as are `small_steps`.
NO_META_STEP = {"meta_update": "none"}
_MEAN = {"phi_scale": "mean"}
# Priorities that are not undone.
PRIORITIES = {
    "kl with beta 0": NO_WEIGHTS,
    "kl with beta to 0.2": {**NO_WEIGHTS, "beta_end": 0.2},
    "kl with beta to 0.5": {**NO_WEIGHTS, "beta_end": 0.5},
    "kl with beta 0 and alpha 0.3": {**NO_WEIGHTS, "alpha": 0.3},
    "kl with beta 0 and alpha 1": {**NO_WEIGHTS, "alpha": 1.0},
    "kl with beta 0 and insertion at the mean": {**NO_WEIGHTS, "insertion": "mean"},
    "uniform sampling": {"alpha": 0.0},
}
PHI = {
    "phi of mean 1": _MEAN,
    "phi of mean 1 on the adversarial loss": {**_MEAN, "modulated_term": "adversarial"},
    "phi of mean 1 on both": {**_MEAN, "modulated_term": "both"},
    "phi of mean 1 on the task and the student": {**_MEAN, "modulate_student": True},
    "phi on the student too": {"modulate_student": True},
    "no phi": {"modulated_term": "none"},
    "gamma 0.5": {"gamma": 0.5},
    "gamma 2": {"gamma": 2.0},
}
TARGETS = {
    "drawn targets": {"targets": "drawn"},
    "lacking targets": {"targets": "lacking"},
    "quotas": {"replacement": "quota"},
    "lacking targets and quotas": {"targets": "lacking", "replacement": "quota"},
}
# With as many images made in all.
REPLACEMENT = {
    "replace oldest": {"replacement": "oldest"},
    "replace lowest phi": {"replacement": "lowest_phi"},
    "replace random": {"replacement": "random"},
}


def as_the_paper(config):
    """Makes SSD-KD of a config what the paper reads like to us, from which its studies change one thing at a time."""
    config.ssdkd.update(config.ssdkd_paper)


def as_fashion_mnist_short_was(config):
    """Gives the config `fashion_mnist.py:short` the epochs and SSD-KD's warm-up of before 2026-12-01."""
    set_all_methods(config, SSDKD, warmup_epochs=5)
    config.epochs = 40
    return config


def as_cifar_small_was(config):
    """Gives a CIFAR config `small` the steps, warm-up and weights of before 2026-11-30; its 120 epochs are not set."""
    set_all_methods(config, kd_steps=40, kd_batch_size=128)
    set_all_methods(config, SSDKD, warmup_epochs=10)
    config.ssdkd.update({"priority": "weighted_kl", "beta_start": 0.4, "beta_end": 1.0})
    return config


def small_steps(settings):
    """Twice the student steps of half the batch, for a method's section of a config."""
    return {"kd_batch_size": settings.kd_batch_size // 2, "kd_steps": 2 * settings.kd_steps}


def on_real_images(method, share, steps, epochs):
    """Fields of a baseline on a share of the real images, with a method's `steps` in so many epochs."""
    changes = {"share": share, **steps}
    return {"method": method, "epochs": epochs, **{f"{method}.{field}": value for field, value in changes.items()}}


def of_ssdkd(changes):
    """{field of the method: value} as fields of a config."""
    return {f"ssdkd.{field}": value for field, value in changes.items()}


def questions(config, training_images, bn_floor):
    """name -> changed fields, in groups: priorities, phi, targets, replacement, synthesis, student steps, sizes.

    Args:
      config: of a run with `method=ssdkd`.
      training_images: of the real training set, of which the buffer's sizes are shares.
      bn_floor: BatchNorm loss of a batch of real images.
    """
    ssdkd = config.ssdkd
    small = small_steps(ssdkd)
    together = {**NO_WEIGHTS, **NO_META_STEP}
    changes = {
        **PRIORITIES,
        **PHI,
        "no phi and a third of the task loss": {"modulated_term": "none", "oh": ssdkd.oh / 3},
        **TARGETS,
        **REPLACEMENT,
        "no meta step": NO_META_STEP,
        "noisy layer": {"synthesis": "noisy_layer", "targets": "drawn"},
        "BatchNorm floor of real batches": {"bn_floor": bn_floor},
        "task loss doubled": {"oh": 2 * ssdkd.oh},
        "no adversarial loss": {"adv": 0.0},
        "twice the steps of half the batch": small,
        "temperature 4": {"temperature": 4.0},
        "half the learning rate": {"student_learning_rate": ssdkd.student_learning_rate / 2},
        **_buffer_sizes(ssdkd, training_images),
        "kl with beta 0 and no meta step": together,
        "kl with beta 0 and no meta step and small steps": {**together, **small},
        "kl with beta 0 and no meta step and small steps and phi of mean 1": {**together, **small, **_MEAN},
    }
    return {"default": {}, **{name: of_ssdkd(change) for name, change in changes.items()}}


def _buffer_sizes(ssdkd, training_images):
    sizes = {percent: round(training_images * percent / 100) for percent in (1, 2, 5, 10, 20)}
    return {
        f"buffer {percent} %": {"buffer_size": size}
        for percent, size in sizes.items()
        if size >= ssdkd.synthesis_batch_size and size != ssdkd.buffer_size
    }

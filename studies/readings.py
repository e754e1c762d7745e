"""The variants of SSD-KD that its open questions ask for, each a change of the defaults."""

from configs.common import SSDKD, set_all_methods

# Priorities that no importance weights undo.
NO_WEIGHTS = {"priority": "kl", "beta_start": 0.0, "beta_end": 0.0}
# Ahead of the defaults in docs/ssdkd_readings.md, as are `small_steps`.
NO_META_STEP = {"meta_update": "none"}


def as_the_paper(config):
    """Makes SSD-KD of a config what the paper reads like to us, from which its studies change one thing at a time."""
    config.ssdkd.update(config.ssdkd_paper)


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
    """name -> changed fields, in groups: priorities, phi, targets, turnover, synthesis, student steps.

    Args:
      config: of a run with `method=ssdkd`.
      training_images: of the real training set, of which the buffer's sizes are shares.
      bn_floor: BatchNorm loss of a batch of real images.
    """
    ssdkd = config.ssdkd
    mean = {"phi_scale": "mean"}
    small = small_steps(ssdkd)
    changes = {
        # Priorities that are not undone.
        "kl with beta 0": NO_WEIGHTS,
        "kl with beta to 0.2": {"priority": "kl", "beta_start": 0.0, "beta_end": 0.2},
        "kl with beta to 0.5": {"priority": "kl", "beta_start": 0.0, "beta_end": 0.5},
        "kl with beta 0 and alpha 0.3": {**NO_WEIGHTS, "alpha": 0.3},
        "kl with beta 0 and alpha 1": {**NO_WEIGHTS, "alpha": 1.0},
        "kl with beta 0 and insertion at the mean": {**NO_WEIGHTS, "insertion": "mean"},
        "uniform sampling": {"alpha": 0.0},
        # phi.
        "phi of mean 1": mean,
        "phi of mean 1 on the adversarial loss": {**mean, "modulated_term": "adversarial"},
        "phi of mean 1 on both": {**mean, "modulated_term": "both"},
        "phi of mean 1 on the task and the student": {**mean, "modulate_student": True},
        "phi on the student too": {"modulate_student": True},
        "no phi": {"modulated_term": "none"},
        "no phi and a third of the task loss": {"modulated_term": "none", "oh": ssdkd.oh / 3},
        "gamma 0.5": {"gamma": 0.5},
        "gamma 2": {"gamma": 2.0},
        # Targets and classes.
        "drawn targets": {"targets": "drawn"},
        "lacking targets": {"targets": "lacking"},
        "quotas": {"replacement": "quota"},
        "lacking targets and quotas": {"targets": "lacking", "replacement": "quota"},
        # Replacement and turnover, with as many images made in all.
        "replace oldest": {"replacement": "oldest"},
        "replace lowest phi": {"replacement": "lowest_phi"},
        "replace random": {"replacement": "random"},
        # The synthesis.
        "no meta step": NO_META_STEP,
        "noisy layer": {"synthesis": "noisy_layer", "targets": "drawn"},
        "BatchNorm floor of real batches": {"bn_floor": bn_floor},
        "task loss doubled": {"oh": 2 * ssdkd.oh},
        "no adversarial loss": {"adv": 0.0},
        # The student's work.
        "twice the steps of half the batch": small,
        "temperature 4": {"temperature": 4.0},
        "half the learning rate": {"student_learning_rate": ssdkd.student_learning_rate / 2},
    }
    sizes = {percent: round(training_images * percent / 100) for percent in (1, 2, 5, 10, 20)}
    changes |= {
        f"buffer {percent} %": {"buffer_size": size}
        for percent, size in sizes.items()
        if size >= ssdkd.synthesis_batch_size and size != ssdkd.buffer_size
    }
    together = {**NO_WEIGHTS, **NO_META_STEP}
    changes |= {
        "kl with beta 0 and no meta step": together,
        "kl with beta 0 and no meta step and small steps": {**together, **small},
        "kl with beta 0 and no meta step and small steps and phi of mean 1": {**together, **small, **mean},
    }
    return {
        "default": {},
        **{name: of_ssdkd(change) for name, change in changes.items()},
    }

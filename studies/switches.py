"""The variants of an ablation of SSD-KD."""


def switches(ssdkd, training_images):
    """name -> changed fields: both parts of phi, priority sampling, targets, replacement rule, buffer size.

    Args:
      ssdkd: the config's section, whose own rule and size are no variants.
      training_images: of the real training set, of which the buffer's sizes are shares.
    """
    uniform = {"alpha": 0.0}
    changes = {
        "no diversity part": {"use_diversity": False},
        "no difficulty part": {"use_difficulty": False},
        "no phi": {"modulated_term": "none"},
        "phi on both terms": {"modulated_term": "both"},
        "uniform sampling": uniform,
        "no phi and uniform sampling": {"modulated_term": "none", **uniform},
        "no importance weights": {"beta_start": 0.0, "beta_end": 0.0},
        "importance weights over the batch's largest": {"weight_normalization": "batch"},
        "importance weights over the buffer's largest": {"weight_normalization": "buffer"},
        "drawn targets": {"targets": "drawn"},
    }
    for rule in ("lowest_priority", "oldest", "lowest_phi", "random"):
        changes[f"replace {rule.replace('_', ' ')}"] = {"replacement": rule}
    for percent in (1, 5, 10, 20):
        size = round(training_images * percent / 100)
        batch_size = min(ssdkd.synthesis_batch_size, size)
        changes[f"buffer {percent} %"] = {"buffer_size": size, "synthesis_batch_size": batch_size}
    changed = {
        name: change
        for name, change in changes.items()
        if any(ssdkd[field] != value for field, value in change.items())
    }
    return {
        "default": {},
        **{name: {f"ssdkd.{field}": value for field, value in change.items()} for name, change in changed.items()},
    }

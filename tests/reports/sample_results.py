"""Results as a run, a comparison, a study and an ablation (of older versions) leave them."""

SOURCE = {"command": "python -m experiments.x", "hardware": "2 cores", "date": "2026-01-02"}


def run(**changes):
    return {
        "kind": "run",
        **SOURCE,
        "dataset": "digits",
        "teacher": "convnet_32",
        "student": "convnet_8",
        "teacher_sha256": "3a7bd3e2" * 8,
        "epochs": 100,
        "seed": 7,
        "teacher_accuracy": 99.0,
        "student_accuracy": 98.0,
        "best_student_accuracy": 98.5,
        "images_kept": 1440,
        "images_made": 6400,
        "baselines": {"same student on 10% real images": 94.0},
        "seconds": {"teacher": 10.0, "synthesis": 1.0, "student": 2.0, "host": 1.0, "total": 14.0},
        "versions": {"python": "3.11.7", "jax": "0.10.2"},
        **changes,
    }


def row(seeds=(0, 1), accuracies=(90.0, 92.0), **changes):
    return {
        "given_images": None,
        "accuracies": list(accuracies),
        "seeds": list(seeds),
        "mean": sum(accuracies) / len(accuracies) if accuracies else None,
        "std": 1.0 if accuracies else None,
        "images_made": 6400,
        "images_kept": 144,
        "seconds": {"whole": 10.0, "synthesis": 4.0, "student": 5.0, "other": 1.0} if accuracies else None,
        "memory_bytes": 5_000_000,
        "diverged": [],
        "curves": [[[1.0, 50.0], [9.0, value]] for value in accuracies],
        **changes,
    }


def comparison(methods=None, seeds=(0, 1), **changes):
    return {
        "kind": "comparison",
        **SOURCE,
        "dataset": "digits",
        "teacher": "convnet_32",
        "student": "convnet_8",
        "teacher_accuracy": 99.0,
        "teacher_sha256": "3a7bd3e2" * 8,
        "epochs": 100,
        "seeds": list(seeds),
        "versions": {"python": "3.11.7", "jax": "0.10.2"},
        "methods": {"ssdkd": row(), "cmi": row()} if methods is None else methods,
        **changes,
    }


def study(variants=None, seeds=(0, 1), **changes):
    paired = {"seeds": [0, 1], "mean": -10.0, "low": -11.0, "high": -9.0, "beyond_noise": True}
    default = {"default": row(paired=None), "no phi": row(accuracies=(80.0, 82.0), paired=paired)}
    return {
        "kind": "study",
        **SOURCE,
        "dataset": "digits",
        "teacher": "convnet_32",
        "student": "convnet_8",
        "teacher_accuracy": 99.0,
        "teacher_sha256": "3a7bd3e2" * 8,
        "seeds": list(seeds),
        "runs_at_once": 2,
        "versions": {"python": "3.11.7", "jax": "0.10.2"},
        "variants": default if variants is None else variants,
        **changes,
    }


def ablation(**changes):
    default = {"accuracies": [90.0, 92.0], "mean": 91.0, "std": 1.4, "difference": 0.0, "exceeds_noise": False}
    worse = {"accuracies": [80.0, 80.0], "mean": 80.0, "std": 0.0, "difference": -11.0, "exceeds_noise": True}
    return {
        "kind": "ablation",
        **SOURCE,
        "dataset": "digits",
        "teacher": "convnet_32",
        "teacher_accuracy": 99.0,
        "seconds": {"synthesis": 1.0, "student": 2.0, "host": 1.0, "total": 4.0},
        "variants": {"default": default, "no phi": worse},
        **changes,
    }

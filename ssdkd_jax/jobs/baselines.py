"""Training on real images, as a config asks for it: a missing teacher, and baselines to compare a student with."""

from ssdkd_jax.jobs.networks import load_split, make_model, make_predictor_of, metadata
from ssdkd_jax.jobs.teacher import trained_teacher
from ssdkd_jax.training import checkpoints, supervised
from ssdkd_jax.training.devices import AXIS
from ssdkd_jax.training.evaluation import accuracy


def _recipe(config, epochs):
    return supervised.Recipe(
        epochs=epochs,
        batch_size=config.teacher.batch_size,
        learning_rate=config.teacher.learning_rate,
        weight_decay=config.teacher.weight_decay,
        crop_padding=config.crop_padding,
        flip=config.flip,
    )


def train_teacher(setting, images):
    """The config's teacher, trained from the real training set where none is kept."""
    config = setting.config
    recipe = _recipe(config, config.teacher.epochs)
    train_images = load_split(config, "train")

    def train(unfinished):
        return supervised.train(
            make_model(setting, config.teacher.name, len(images.class_names), bn_axis_name=AXIS),
            train_images,
            recipe,
            images.mean,
            images.std,
            seed=config.teacher.seed,
            devices=setting.devices,
            clock=setting.clock,
            title=f"teacher {config.teacher.name}",
            checkpoints=unfinished,
            interruption=setting.interruption,
        )

    made_from = {
        "dataset": config.dataset,
        "training_images": len(train_images.images),
        "training_sha256": checkpoints.sha256({"images": train_images.images, "labels": train_images.labels}),
        "class_names": list(images.class_names),
        "image_shape": list(images.shape),
        "normalization": [list(images.mean), list(images.std)],
        "architecture": config.teacher.name,
        "recipe": recipe._asdict(),
        "seed": config.teacher.seed,
        "dtype": [config.dtype, config.param_dtype],
    }
    return trained_teacher(
        config.teacher.cache_dir,
        made_from,
        train,
        metadata(config.teacher.name, images),
        interruption=setting.interruption,
    )


def train_baselines(setting, images, test, baseline_sets, student_steps):
    """The same student trained on a share of the real images, for as many steps: {what: accuracy in percent}."""
    config, found = setting.config, {}
    student_steps = max(1, student_steps)
    for share, train_images in baseline_sets:
        on_share = f"on {100 * share:g}% real images"
        steps_per_epoch = max(1, len(train_images.images) // config.teacher.batch_size)
        with setting.clock.measure("baselines"):
            variables = supervised.train(
                make_model(setting, config.student.name, len(images.class_names), bn_axis_name=AXIS),
                train_images,
                _recipe(config, max(1, student_steps // steps_per_epoch)),
                images.mean,
                images.std,
                seed=config.seed,
                devices=setting.devices,
                clock=setting.clock,
                title=f"student {on_share}",
                interruption=setting.interruption,
            )
            predict, variables = make_predictor_of(setting, config.student.name, images, variables)
            found[f"same student {on_share}"] = accuracy(predict(variables, test.images)[0], test.labels)
    return found

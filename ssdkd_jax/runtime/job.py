"""The whole job, from a config to a student: the edge where config fields become plain values."""

import datetime
import json
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssdkd_jax import data, models, tasks
from ssdkd_jax.batchnorm import has_batch_norm
from ssdkd_jax.errors import UserError
from ssdkd_jax.methods import METHODS
from ssdkd_jax.methods.base import Problem
from ssdkd_jax.models.convolution import loop_friendly_conv_general_dilated
from ssdkd_jax.runtime import checkpoints, checks, supervised, workdir
from ssdkd_jax.runtime import devices as devices_module
from ssdkd_jax.runtime import teacher as teacher_module
from ssdkd_jax.runtime.clock import Clock, CompileOnce
from ssdkd_jax.runtime.distil import Plan, distil
from ssdkd_jax.runtime.evaluation import accuracy, make_predictor
from ssdkd_jax.runtime.report import write_report

# Fields that say where and how often, and change nothing about the result.
PLACE_FIELDS = ("data_dir", "devices", "checkpoint_every", "evaluation_batch_size")
# The latest and the best, each with its successor while that is written.
CHECKPOINTS_AT_ONCE = 4


class Images(NamedTuple):
    """What kind of images a run is about: shape (h, w, c), classes, and their normalisation."""

    shape: tuple
    class_names: tuple
    mean: tuple
    std: tuple


class Setting(NamedTuple):
    """What every part of a job is handed."""

    config: Any
    devices: list
    clock: Clock
    interruption: Any
    workdir: pathlib.Path


def run(config, folder, *, command="", interruption=False):
    """Runs the job that a config describes: teacher, distillation, evaluation, summary and report.

    Args:
      config: ConfigDict with the fields of configs/common.py.
      folder: the run's folder; a run that was interrupted goes on, a finished one is left as it is.
      command: the command line, for the summary.
      interruption: becomes true when the work should be saved and stopped.

    Returns:
      the summary, as in summary.json.

    Raises:
      UserError: anything that the user can mend.
      Interrupted: on request, after saving.
    """
    checks.check_values(config)
    devices = devices_module.local_devices(config.devices)
    checks.check_batches(config, devices)
    folder = workdir.make(folder)
    with workdir.alone(folder):
        workdir.claim(folder, _identity(config), write=False)
        summary = workdir.read_summary(folder)
        if summary is None:
            return _run(Setting(config, devices, Clock(), interruption, folder), command)
        if not (folder / "report.html").exists():
            write_report(folder)
        print(f"{folder} is finished: {_one_line(summary)}; see {folder}/report.html", flush=True)
        return summary


def _run(setting, command):
    """The job itself, in a folder that nobody else uses; returns the summary."""
    config, folder = setting.config, setting.workdir
    if config.matmul_precision != "default":
        jax.config.update("jax_default_matmul_precision", config.matmul_precision)
    teacher, images = _find_teacher(setting)
    test, reference_sets = _real_images(config)
    predict_teacher, teacher_variables = _predictor(setting, teacher.architecture, images, teacher.variables)
    summary = _summary_head(setting, teacher, command)
    real = None
    if test is not None:
        with setting.clock.measure("teacher"):
            real = predict_teacher(teacher_variables, test.images)
        summary["teacher_accuracy"] = accuracy(real[0], test.labels)
        print(f"teacher {teacher.architecture}: {summary['teacher_accuracy']:.2f} % on real test images", flush=True)
    if config.epochs == 0:
        summary["seconds"] = setting.clock.report()
        workdir.write_summary(folder, summary)
        return summary

    workdir.claim(folder, _identity(config))
    method = _method(setting, teacher.architecture, images)
    score, score_name = _score(setting, method, images, test, predict_teacher, teacher_variables)
    result = distil(
        method,
        teacher.variables,
        _plan(config, score, score_name),
        workdir=folder,
        devices=setting.devices,
        clock=setting.clock,
        interruption=setting.interruption,
    )
    student, buffer = method.student(result.state).variables, method.buffer(result.state)
    checkpoints.save_network(folder / "student", student, _metadata(config.student.name, images))
    _save_buffer(folder, buffer, images, real)
    summary["references"] = _references(setting, images, test, reference_sets)
    summary |= {
        score_name: result.score,
        f"best_{score_name}": result.best_score,
        "best_student_epoch": result.best_epoch,
        "student_sha256": checkpoints.sha256(student),
        "synthetic_images": int(np.sum(buffer.valid)),
        "buffer_capacity": len(buffer.valid),
        "synthesised_images": config.epochs * config[config.method].synthesis_batch_size,
        "seconds": setting.clock.report(),
    }
    workdir.write_summary(folder, summary)
    write_report(folder)
    print(f"{_one_line(summary)}; see {folder}/report.html", flush=True)
    return summary


def _identity(config):
    values = json.loads(config.to_json())
    for field in PLACE_FIELDS:
        del values[field]
    del values["teacher"]["kept_in"]
    return {name: value for name, value in values.items() if name not in METHODS or name == config.method}


def _load(config, split):
    return data.load_split(
        config.dataset, split, data_dir=config.data_dir or None, image_size=config.image_size or None
    )


def _kind_of_images(config, num_classes=None):
    """(shape (h, w, c), class names) of the data set, or of the config where nobody knows the data set."""
    if any(config.image_shape):
        names = tuple(str(i) for i in range(num_classes or 10))
        return tuple(config.image_shape), names
    try:
        info = data.dataset_info(config.dataset, config.data_dir or None, image_size=config.image_size or None)
    except UserError as error:
        if config.evaluate_on == "none":
            raise UserError(f"{error} Or say what the images are: --config.image_shape='(32,32,3)'.") from error
        raise
    return tuple(info.image_shape), tuple(info.class_names)


def _real_images(config):
    """(test set or None, [(share, training set)] of the references), read before hours of work depend on them."""
    if config.evaluate_on == "none":
        return None, []
    test = _load(config, "test")
    if not config.references:
        return test, []
    train = _load(config, "train")
    return test, [(share, data.subset(train, share, config.seed)) for share in config.references]


def _find_teacher(setting):
    """(Teacher, Images)."""
    config, clock = setting.config, setting.clock
    with clock.measure("teacher"):
        if config.teacher.path:
            teacher = teacher_module.load_teacher(config.teacher.path, config.teacher.name)
            shape, class_names = _kind_of_images(config, teacher_module.classes_of(teacher))
            images = _images(config, shape, class_names, teacher.metadata)
            teacher_module.check_fits(teacher, len(class_names), shape, config.teacher.path)
            _check_networks(setting, teacher.architecture, images)
        else:
            shape, class_names = _kind_of_images(config)
            images = _images(config, shape, class_names, {})
            _check_networks(setting, config.teacher.name, images)
            teacher = _train_teacher(setting, images)
    return teacher, images


def _check_networks(setting, architecture, images):
    """Before hours of work: can a method be made of these networks for these images, and its state be saved?"""
    method = _method(setting, architecture, images)
    model = _model(setting, architecture, len(images.class_names))
    teacher = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *images.shape)))
    if not has_batch_norm(teacher):
        raise UserError(
            f"the teacher {architecture} has no BatchNorm layers, but {setting.config.method} needs their statistics; "
            "use a teacher with BatchNorm"
        )
    state = jax.eval_shape(method.init, jax.random.key(0), teacher)
    workdir.check_room(setting.workdir, CHECKPOINTS_AT_ONCE * _bytes(state._replace(teacher={})))
    if not setting.config.teacher.path:
        kept_in = workdir.make(setting.config.teacher.kept_in, "--config.teacher.kept_in")
        workdir.check_room(kept_in, CHECKPOINTS_AT_ONCE * _bytes(teacher), "--config.teacher.kept_in")


def _bytes(shapes):
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))


def _images(config, shape, class_names, metadata):
    if metadata and not config.normalization:
        return Images(shape, tuple(metadata["class_names"]), tuple(metadata["mean"]), tuple(metadata["std"]))
    mean, std = data.normalization(config.normalization or config.dataset, shape[-1])
    if len(mean) != shape[-1]:
        raise UserError(
            f"normalization {config.normalization or config.dataset!r} is for {len(mean)} channels, "
            f"but the images have {shape[-1]}; choose another with --config.normalization=NAME"
        )
    return Images(shape, class_names, mean, std)


def _model(setting, name, num_classes, **kwargs):
    config = setting.config
    return models.create_model(
        name,
        num_classes,
        dtype=jnp.dtype(config.dtype),
        param_dtype=jnp.dtype(config.param_dtype),
        conv_general_dilated=_convolution(setting.devices),
        **kwargs,
    )


def _convolution(devices):
    """XLA's own on accelerators; on CPU the one whose gradients stay fast inside loops."""
    return loop_friendly_conv_general_dilated if devices[0].platform == "cpu" else None


def _metadata(architecture, images, **more):
    return {
        "architecture": architecture,
        "num_classes": len(images.class_names),
        "image_shape": images.shape,
        "mean": images.mean,
        "std": images.std,
        "class_names": images.class_names,
        **more,
    }


def _recipe(config, epochs):
    return supervised.Recipe(
        epochs=epochs,
        batch_size=config.teacher.batch_size,
        learning_rate=config.teacher.learning_rate,
        weight_decay=config.teacher.weight_decay,
        crop_padding=config.crop_padding,
        flip=config.flip,
    )


def _train_teacher(setting, images):
    config = setting.config
    recipe = _recipe(config, config.teacher.epochs)
    train_images = _load(config, "train")

    def train(unfinished):
        return supervised.train(
            _model(setting, config.teacher.name, len(images.class_names), bn_axis_name=devices_module.AXIS),
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
        "image_shape": list(images.shape),
        "normalization": [list(images.mean), list(images.std)],
        "architecture": config.teacher.name,
        "recipe": recipe._asdict(),
        "seed": config.teacher.seed,
        "dtype": [config.dtype, config.param_dtype],
    }
    return teacher_module.trained_teacher(
        config.teacher.kept_in,
        made_from,
        train,
        _metadata(config.teacher.name, images),
        interruption=setting.interruption,
    )


def _method(setting, architecture, images):
    config, axis = setting.config, devices_module.AXIS
    num_classes = len(images.class_names)
    problem = Problem(
        teacher=_model(setting, architecture, num_classes),
        student=_model(setting, config.student.name, num_classes, bn_axis_name=axis),
        generator=models.create_generator(
            images.shape,
            config.generator.latent_size,
            config.generator.width,
            dtype=jnp.dtype(config.dtype),
            param_dtype=jnp.dtype(config.param_dtype),
            bn_axis_name=axis,
            conv_general_dilated=_convolution(setting.devices),
        ),
        task=tasks.CLASSIFICATION,
        image_shape=images.shape,
        num_classes=num_classes,
        mean=images.mean,
        std=images.std,
        crop_padding=config.crop_padding,
        flip=config.flip,
        axis_name=axis,
    )
    try:
        return METHODS[config.method](problem, epochs=config.epochs, **config[config.method].to_dict())
    except ValueError as error:
        raise UserError(f"{config.method}.{error}") from error


def _plan(config, score, score_name):
    settings = config[config.method]

    def images_per_epoch(epoch):
        student_steps = 0 if epoch < settings.warmup_epochs else settings.kd_steps
        return settings.synthesis_batch_size + student_steps * settings.kd_batch_size

    return Plan(
        epochs=config.epochs,
        evaluate_every=config.evaluate_every,
        checkpoint_every=config.checkpoint_every,
        seed=config.seed,
        loop="scan" if config.loop == "auto" else config.loop,
        score=score,
        score_name=score_name,
        images_per_epoch=images_per_epoch,
    )


def _predictor(setting, architecture, images, variables=None):
    """(predict, pmapped variables)."""
    model = _model(setting, architecture, len(images.class_names))
    predict = make_predictor(
        model,
        images.mean,
        images.std,
        tasks.CLASSIFICATION,
        setting.devices,
        setting.clock,
        batch_size=setting.config.evaluation_batch_size,
    )
    return predict, None if variables is None else devices_module.spread(variables, setting.devices)


def _score(setting, method, images, test, predict_teacher, teacher_variables):
    """((student variables, state) -> percent, its name): accuracy on real images, else agreement on held-back ones."""
    predict_student, _ = _predictor(setting, setting.config.student.name, images)
    if test is not None:
        return lambda student, state: accuracy(
            predict_student(student, test.images)[0], test.labels
        ), "student_accuracy"

    hold_back = CompileOnce(devices_module.pmap(method.held_back, setting.devices, in_axes=(0, None)), setting.clock)
    # No epoch's key is folded in from this number, so these latents never reach the student.
    key = jax.random.fold_in(jax.random.key(setting.config.seed), 2**31 - 1)

    def agreement(student, state):
        batches = [
            np.asarray(data.to_uint8(hold_back(state, jax.random.fold_in(key, i)))).reshape(-1, *images.shape)
            for i in range(setting.config.held_back_batches)
        ]
        held_back = np.concatenate(batches)
        return accuracy(predict_student(student, held_back)[0], predict_teacher(teacher_variables, held_back)[0])

    return agreement, "student_agreement"


def _save_buffer(folder, buffer, images, real):
    """buffer.npz, what the report shows; `real` is the teacher's (classes, confidences) on real test images."""
    valid = buffer.valid
    arrays = {
        "images": np.asarray(data.to_uint8(buffer.images) if buffer.images.dtype != np.uint8 else buffer.images)[valid],
        "predicted_class": buffer.predicted_class[valid],
        "confidence": buffer.confidence[valid],
        "class_names": np.array(images.class_names),
    }
    if real is not None:
        arrays |= {"real_class": real[0], "real_confidence": real[1]}
    np.savez_compressed(folder / "buffer.npz", **arrays)


def _references(setting, images, test, reference_sets):
    """The same student trained on a share of the real images, for as many steps: {what: accuracy in percent}."""
    config, found = setting.config, {}
    settings = config[config.method]
    student_steps = max(1, (config.epochs - settings.warmup_epochs) * settings.kd_steps)
    for share, train_images in reference_sets:
        steps_per_epoch = max(1, len(train_images.images) // config.teacher.batch_size)
        with setting.clock.measure("references"):
            variables = supervised.train(
                _model(setting, config.student.name, len(images.class_names), bn_axis_name=devices_module.AXIS),
                train_images,
                _recipe(config, max(1, student_steps // steps_per_epoch)),
                images.mean,
                images.std,
                seed=config.seed,
                devices=setting.devices,
                clock=setting.clock,
                title=f"student on {share:.0%} real images",
                interruption=setting.interruption,
            )
            predict, variables = _predictor(setting, config.student.name, images, variables)
            found[f"same student on {share:.0%} real images"] = accuracy(
                predict(variables, test.images)[0], test.labels
            )
    return found


def _summary_head(setting, teacher, command):
    config = setting.config
    return {
        "method": config.method,
        "dataset": config.dataset,
        "teacher": teacher.architecture,
        "student": config.student.name,
        "teacher_accuracy": None,
        "student_accuracy": None,
        "best_student_accuracy": None,
        "teacher_sha256": checkpoints.sha256(teacher.variables),
        "student_sha256": None,
        "synthetic_images": 0,
        "epochs": config.epochs,
        "seed": config.seed,
        "devices": len(setting.devices),
        "hardware": workdir.hardware(setting.devices),
        "command": command,
        "date": datetime.date.today().isoformat(),
        "versions": workdir.versions(),
    }


def _one_line(summary):
    if summary["student_accuracy"] is None:
        score = f"student agrees with the teacher on {summary['student_agreement']:.2f} % of held-back images"
    else:
        score = f"teacher {summary['teacher_accuracy']:.2f} %, student {summary['student_accuracy']:.2f} %"
    references = "".join(f", {name} {value:.2f} %" for name, value in summary.get("references", {}).items())
    return f"{score} from {summary['synthetic_images']} synthetic images{references}"

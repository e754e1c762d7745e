"""The whole job, from a config to a student: the edge where config fields become plain values."""

import copy
import datetime
import json

import jax
import jax.numpy as jnp
import numpy as np

from ssdkd_jax import data, models, tasks
from ssdkd_jax.batchnorm import has_batch_norm
from ssdkd_jax.errors import UserError
from ssdkd_jax.interop import torch_export
from ssdkd_jax.jobs import baselines, config_checks, run_folder
from ssdkd_jax.jobs.networks import (
    Setting,
    check_given_images,
    describe_images,
    given_images,
    kind_of_images,
    make_generator,
    make_model,
    make_predictor_of,
    metadata,
    no_given_images,
    real_images,
)
from ssdkd_jax.jobs.teacher import check_fits, classes_of, load_teacher
from ssdkd_jax.methods import METHODS
from ssdkd_jax.methods.base import Problem
from ssdkd_jax.methods.baselines import Given
from ssdkd_jax.reports.run_page import write_report
from ssdkd_jax.training import checkpoints
from ssdkd_jax.training.clock import Clock, CompileOnce
from ssdkd_jax.training.devices import AXIS, local_devices, pmap, spread
from ssdkd_jax.training.evaluation import accuracy
from ssdkd_jax.training.loop import Plan, distill

# Fields that say where and how often, and change nothing about the result.
PLACE_FIELDS = ("data_dir", "devices", "checkpoint_every", "evaluation_batch_size", "export_torch")
# The latest and the best, each with its successor while that is written.
CHECKPOINTS_AT_ONCE = 4
# Batches that a report shows of a method that keeps no images.
SHOWN_BATCHES = 4


def run_job(config, folder, *, command="", interruption=False):
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
    config_checks.check_values(config)
    config = _with_fitting_warmup(config)
    devices = local_devices(config.devices)
    config_checks.check_batches(config, devices)
    folder = run_folder.make(folder)
    run_folder.check_kind(folder, comparison=False)
    with run_folder.alone(folder):
        run_folder.claim(folder, _identity(config), write=False)
        summary = run_folder.read_summary(folder)
        if summary is None:
            config_checks.check_teacher_exists(config)
            return _run(Setting(config, devices, Clock(), interruption, folder), command)
        if not (folder / "report.html").exists():
            write_report(folder)
        if config.export_torch and config.epochs:
            _export(folder)
        print(f"{folder} is finished: {_one_line(summary)}; see {folder}/report.html", flush=True)
        return summary


def teacher_architecture(config):
    """The config's own, or what its teacher's file says."""
    config_checks.check_teacher_exists(config)
    return config.teacher.name or load_teacher(config.teacher.path).architecture


def check_job(config, folder, architecture):
    """Raises UserError where `run_job` would before any training, as far as that is known without the images.

    Args:
      config: as for `run_job`, its values and batches checked (`checks`).
      folder: existing, where there must be room.
      architecture: the teacher's.
    """
    check_given_images(config)
    setting = Setting(config, local_devices(config.devices), Clock(), False, folder)
    shape, class_names = kind_of_images(config)
    images = describe_images(config, shape, class_names, {})
    given = no_given_images(shape) if METHODS[config.method].given else None
    _check_networks(setting, architecture, images, given)


def _run(setting, command):
    """The job itself, in a folder that nobody else uses; returns the summary."""
    config, folder = setting.config, setting.workdir
    if config.matmul_precision != "default":
        jax.config.update("jax_default_matmul_precision", config.matmul_precision)
    with setting.clock.measure("setup"):
        test, baseline_sets = real_images(config)
        given = given_images(config)
    teacher, images = _find_teacher(setting, given)
    predict_teacher, teacher_variables = make_predictor_of(setting, teacher.architecture, images, teacher.variables)
    exports = _exports(config, teacher)
    if exports:
        torch_export.check_can_write(folder / f"student{torch_export.available_suffix() or '.pth'}")
    summary = _summary_head(setting, teacher, command)
    real = None
    if test is not None:
        with setting.clock.measure("teacher"):
            real = predict_teacher(teacher_variables, test.images)
        summary["teacher_accuracy"] = accuracy(real[0], test.labels)
        print(f"teacher {teacher.architecture}: {summary['teacher_accuracy']:.2f} % on real test images", flush=True)
    if config.epochs == 0:
        summary["seconds"] = setting.clock.report()
        run_folder.write_summary(folder, summary)
        return summary

    run_folder.claim(folder, _identity(config))
    method = _method(setting, teacher.architecture, images)
    score, score_name = _score(setting, method, images, test, predict_teacher, teacher_variables)
    result = distill(
        method,
        _with_given(teacher.variables, given),
        _plan(config, method, score, score_name),
        workdir=folder,
        devices=setting.devices,
        clock=setting.clock,
        interruption=setting.interruption,
    )
    student = method.student(result.state).variables
    with setting.clock.measure("report"):
        checkpoints.save_network(folder / "student", student, metadata(config.student.name, images))
        if exports:
            _export(folder)
        shown = _shown_images(setting, method, result.state, predict_teacher, teacher_variables)
        _save_images(folder, images, real, *shown)
    summary |= _amounts(config, method, given, result.state)
    steps = summary["student_steps"]
    summary["baselines"] = baselines.train_baselines(setting, images, test, baseline_sets, steps)
    summary |= {
        score_name: result.score,
        f"best_{score_name}": result.best_score,
        "best_student_epoch": result.best_epoch,
        "student_sha256": checkpoints.sha256(student),
        "memory_bytes": result.memory_bytes,
        "seconds": setting.clock.report(),
    }
    run_folder.write_summary(folder, summary)
    write_report(folder)
    print(f"{_one_line(summary)}; see {folder}/report.html", flush=True)
    return summary


def _with_given(teacher, given):
    """What a method's `init` takes beside the key."""
    return teacher if given is None else Given(teacher, given.images, given.labels)


def _amounts(config, method, given, state):
    """How many images were made and are kept, or whose were given, and how many steps the student took."""
    kept = np.zeros(0, bool) if method.buffer is None else method.buffer(state).valid
    return {
        "given_images": given and given.source,
        "synthetic_images": int(np.sum(kept)),
        "buffer_capacity": len(kept),
        "synthesised_images": sum(method.new_images(epoch) for epoch in range(config.epochs)),
        "student_steps": method.rounds * sum(method.distillation_steps(epoch) for epoch in range(config.epochs)),
    }


def fitting_warmup(config, method):
    """Epochs of a method's warm-up: at most half of a short run's (`--config.epochs=3`), so that the student learns."""
    warmup = config[method].warmup_epochs
    return config.epochs // 2 if 0 < config.epochs <= warmup else warmup


def _with_fitting_warmup(config):
    asked, fitting = config[config.method].warmup_epochs, fitting_warmup(config, config.method)
    if fitting == asked:
        return config
    config = copy.deepcopy(config)
    config[config.method].warmup_epochs = fitting
    print(f"the warm-up is shortened from {asked} to {fitting} epochs", flush=True)
    return config


def _exports(config, teacher):
    """Whether the student shall be a PyTorch file too."""
    if config.export_torch is not None:
        return config.export_torch
    if teacher.from_torch and torch_export.available_suffix() is None:
        print("no PyTorch student is written: neither torch nor safetensors is installed", flush=True)
        return False
    return teacher.from_torch


def _export(folder):
    suffix = torch_export.available_suffix() or ".pth"
    file, note = torch_export.export_network(folder / f"student{suffix}", *checkpoints.load_network(folder / "student"))
    print(f"the student as a PyTorch file: {file}; how to load it: {note}", flush=True)


def _identity(config):
    values = json.loads(config.to_json())
    for field in PLACE_FIELDS:
        del values[field]
    del values["teacher"]["cache_dir"]
    return {name: value for name, value in values.items() if name not in METHODS or name == config.method}


def _find_teacher(setting, given):
    """(Teacher, Images); `given` are setting.GivenImages or None."""
    config, clock = setting.config, setting.clock
    with clock.measure("teacher"):
        if config.teacher.path:
            teacher = load_teacher(config.teacher.path, config.teacher.name)
            shape, class_names = kind_of_images(config, classes_of(teacher))
            check_fits(teacher, len(class_names), shape, config.teacher.path)
            public = "" if teacher.metadata or shape[-1] != 3 else models.public_normalization(teacher.architecture)
            images = describe_images(config, shape, class_names, teacher.metadata, public)
            _check_networks(setting, teacher.architecture, images, given)
        else:
            shape, class_names = kind_of_images(config)
            images = describe_images(config, shape, class_names, {})
            _check_networks(setting, config.teacher.name, images, given)
            teacher = baselines.train_teacher(setting, images)
    return teacher, images


def _check_networks(setting, architecture, images, given):
    """Before hours of work: can a method be made of these networks for these images, and its state be saved?"""
    method = _method(setting, architecture, images)
    model = make_model(setting, architecture, len(images.class_names))
    teacher = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *images.shape)))
    if METHODS[setting.config.method].needs_batch_norm and not has_batch_norm(teacher):
        raise UserError(
            f"the teacher {architecture} has no BatchNorm layers, but {setting.config.method} needs their statistics; "
            "use a teacher with BatchNorm"
        )
    try:
        state = jax.eval_shape(method.init, jax.random.key(0), _with_given(teacher, given))
    except ValueError as error:
        raise UserError(f"{setting.config.method}: {error}") from error
    saved = _bytes(state._replace(teacher={}))
    if method.window is not None:
        saved += (method.window.capacity - len(method.buffer(state).valid)) * _bytes_an_image(method.buffer(state))
    run_folder.check_room(setting.workdir, CHECKPOINTS_AT_ONCE * saved)
    if not setting.config.teacher.path:
        cache_dir = run_folder.make(setting.config.teacher.cache_dir, "--config.teacher.cache_dir")
        run_folder.check_room(cache_dir, CHECKPOINTS_AT_ONCE * _bytes(teacher), "--config.teacher.cache_dir")


def _bytes(shapes):
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))


def _bytes_an_image(buffer):
    """Of a buffer's images, and of what it notes beside them."""
    return _bytes(buffer) // len(buffer.valid)


def _method(setting, architecture, images):
    config, axis = setting.config, AXIS
    num_classes = len(images.class_names)
    problem = Problem(
        teacher=make_model(setting, architecture, num_classes),
        student=make_model(setting, config.student.name, num_classes, bn_axis_name=axis),
        generator=make_generator(setting, images.shape, bn_axis_name=axis),
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
        settings = config[config.method].to_dict()
        return METHODS[config.method](problem=problem, epochs=config.epochs, **settings).method()
    except ValueError as error:
        raise UserError(f"{config.method}.{error}") from error


def _plan(config, method, score, score_name):
    made, seen = method.batch_sizes

    return Plan(
        epochs=config.epochs,
        evaluate_every=config.evaluate_every,
        checkpoint_every=config.checkpoint_every,
        seed=config.seed,
        loop="scan" if config.loop == "auto" else config.loop,
        score=score,
        score_name=score_name,
        images_per_epoch=lambda epoch: method.rounds * (made + method.distillation_steps(epoch) * seen),
    )


def _score(setting, method, images, test, predict_teacher, teacher_variables):
    """((student variables, state) -> percent, its name): accuracy on real images, else agreement on held-out ones."""
    predict_student, _ = make_predictor_of(setting, setting.config.student.name, images)
    if test is not None:
        return lambda student, state: accuracy(
            predict_student(student, test.images)[0], test.labels
        ), "student_accuracy"

    hold_back = CompileOnce(pmap(method.held_out, setting.devices, in_axes=(0, None)), setting.clock)
    # No epoch's key is folded in from this number, so these latents never reach the student.
    key = jax.random.fold_in(jax.random.key(setting.config.seed), 2**31 - 1)

    def agreement(student, state):
        batches = [
            np.asarray(data.to_uint8(hold_back(state, jax.random.fold_in(key, i)))).reshape(-1, *images.shape)
            for i in range(setting.config.held_out_batches)
        ]
        held_out = np.concatenate(batches)
        return accuracy(predict_student(student, held_out)[0], predict_teacher(teacher_variables, held_out)[0])

    return agreement, "student_agreement"


def _shown_images(setting, method, state, predict_teacher, teacher_variables):
    """What the report shows: (images uint8, classes, confidences) of the buffer, or of a sample where none is kept."""
    if method.buffer is not None:
        buffer = method.buffer(state)
        images = data.to_uint8(buffer.images) if buffer.images.dtype != np.uint8 else buffer.images
        return tuple(np.asarray(array)[buffer.valid] for array in (images, buffer.predicted_class, buffer.confidence))
    pmapped = spread(state, setting.devices, method.sharded(state))
    sample = CompileOnce(pmap(method.held_out, setting.devices, in_axes=(0, None)), setting.clock)
    key = jax.random.fold_in(jax.random.key(setting.config.seed), 2**31 - 1)
    images = [np.asarray(data.to_uint8(sample(pmapped, jax.random.fold_in(key, i)))) for i in range(SHOWN_BATCHES)]
    images = np.concatenate([batch.reshape(-1, *batch.shape[2:]) for batch in images])
    return images, *predict_teacher(teacher_variables, images)


def _save_images(folder, kind_of_images, real, images, predicted_class, confidence):
    """buffer.npz, what the report shows; `real` is the teacher's (classes, confidences) on real test images."""
    arrays = {
        "images": images,
        "predicted_class": predicted_class,
        "confidence": confidence,
        "class_names": np.array(kind_of_images.class_names),
    }
    if real is not None:
        arrays |= {"real_class": real[0], "real_confidence": real[1]}
    np.savez_compressed(folder / "buffer.npz", **arrays)


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
        "hardware": run_folder.hardware(setting.devices),
        "command": command,
        "date": datetime.date.today().isoformat(),
        "versions": run_folder.versions(),
    }


def _one_line(summary):
    if summary["student_accuracy"] is None:
        score = f"student agrees with the teacher on {summary['student_agreement']:.2f} % of held-out images"
    else:
        score = f"teacher {summary['teacher_accuracy']:.2f} %, student {summary['student_accuracy']:.2f} %"
    baselines = "".join(f", {name} {value:.2f} %" for name, value in summary.get("baselines", {}).items())
    return f"{score} from {_images_in_words(summary)}{baselines}"


def _images_in_words(summary):
    if summary["synthetic_images"]:
        return f"{summary['synthetic_images']} synthetic images"
    made = summary.get("synthesised_images")
    return f"{made} synthetic images, none of them kept" if made else f"images of {summary['given_images']}"

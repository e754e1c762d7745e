"""A whole run, from a config to a student, stage by stage."""

import contextlib
import os

import numpy as np

from ssdkd_jax import models
from ssdkd_jax.errors import UserError
from ssdkd_jax.files import expand
from ssdkd_jax.interop import torch_export
from ssdkd_jax.jobs import baselines, config_checks, experiment, provenance, run_folder
from ssdkd_jax.jobs.context import Context
from ssdkd_jax.jobs.image_spec import describe_images, shape_and_classes
from ssdkd_jax.jobs.mirror import Mirror
from ssdkd_jax.jobs.network_checks import check_networks
from ssdkd_jax.jobs.networks import (
    make_method,
    make_predictor_of,
    network_metadata,
    trained_network,
)
from ssdkd_jax.jobs.plausibility import check_network_task, check_sizes, check_task, smaller_batches
from ssdkd_jax.jobs.program_key import programs_of_run
from ssdkd_jax.jobs.schedule import with_fitting_warmup
from ssdkd_jax.jobs.scores import evaluate_teacher, student_score
from ssdkd_jax.jobs.shown_maps import save_maps, shown_maps
from ssdkd_jax.jobs.student_images import sample_of_collected, save_images, shown_images
from ssdkd_jax.jobs.summary import Summary
from ssdkd_jax.jobs.teacher import (
    check_fits,
    classes_of,
    is_from_torch,
    load_teacher,
    recipe_in_words,
    train_teacher,
)
from ssdkd_jax.methods import find_method, section_of
from ssdkd_jax.outputs import make_folder, removed_if_refused
from ssdkd_jax.reports.run_files import BUFFER, MAPS, METRICS_FILE, REPORT, check_own, digests, read_metrics
from ssdkd_jax.training import saved_network
from ssdkd_jax.training.checkpoints import sha256
from ssdkd_jax.training.clock import Clock
from ssdkd_jax.training.compilation import matmul_precision
from ssdkd_jax.training.devices import devices_of_run
from ssdkd_jax.training.loop import Plan, distill
from ssdkd_jax.training.multiprocess import from_first


def run_job(config, folder, *, mirror="", command="", interruption=False) -> Summary:
    """Runs the job that a config describes: teacher, distillation, evaluation, summary and report.

    Args:
      config: ConfigDict with the fields of configs/common.py.
      folder: the run's folder; a run that was interrupted resumes, a finished one is left as it is.
      mirror: address that gets a copy of the folder, and gives it back where the folder is empty; "" for none.
      command: the command line, for the summary.
      interruption: becomes true when the work should be saved and stopped.

    Returns:
      the Summary, as in summary.json.

    Raises:
      UserError: anything that the user can fix.
      Interrupted: on request, after saving.
    """
    config_checks.check_values(config)
    config, shortened = with_fitting_warmup(config)
    devices = devices_of_run(config.devices)
    config_checks.check_batches(config, devices)
    with removed_if_refused(expand(folder)), contextlib.ExitStack() as held:
        from_first(lambda: _enter(config, folder, mirror, held))
        summary = from_first(lambda: _finished_summary(config, expand(folder)))
        context = Context(config, devices, Clock(), interruption, expand(folder))
        with matmul_precision(config.matmul_precision):
            return summary or _run(context, command, shortened)


def check_folder(config, folder):
    """Raises UserError where a run that is not finished could not begin or end in a folder; nothing is written.

    Args:
      config: ConfigDict, its values checked (`config_checks.check_values`).
      folder: of the run; it need not be there.
    """
    config, _ = with_fitting_warmup(config)
    folder = expand(folder)
    make_folder(next(path for path in (folder, *folder.parents) if os.path.lexists(path)))
    run_folder.check_apart(folder, config)
    run_folder.check_kind(folder, run_folder.RUN)
    experiment.claim_for(config, folder, write=False)
    run_folder.check_can_write(folder)
    _check_export(config, is_from_torch(config.teacher.path), folder)


def _enter(config, folder, mirror, held):
    """Makes the folder this run's alone, with what its copy at the address `mirror` has.

    Until `held`, an ExitStack, is closed, other runs are kept out, and the copy follows the folder.
    """
    copy = Mirror(mirror) if mirror else None
    if not run_folder.has_summary(folder):  # a finished run says so on a full disk too
        make_folder(folder)
    folder = expand(folder)
    run_folder.check_apart(folder, config)
    run_folder.check_kind(folder, run_folder.RUN)
    held.enter_context(run_folder.alone(folder))
    if copy:
        copy.fetch(folder, lambda noted: experiment.claim_for(config, noted, write=False))
    experiment.claim_for(config, folder, write=False)
    if copy:
        held.enter_context(copy.following(folder))


def _finished_summary(config, folder):
    """The Summary of a finished run, of which it makes what is missing, and tells; None where the run is to go on."""
    summary = run_folder.read_summary(folder)
    if summary is None or not run_folder.has_student(folder, summary):
        config_checks.check_teacher_exists(config)
        return None
    _check_same_teacher(config, summary)
    has_report = (folder / REPORT).exists() or _make_report(folder)
    if has_report:
        _tell_damaged_log(folder, summary)
        _tell_foreign_images(folder)
    if config.export_torch and config.epochs:
        _export(folder)
    see = REPORT if has_report else "student"
    print(f"{folder} is finished: {summary.in_one_line()}; see {folder}/{see}", flush=True)
    return summary


def _make_report(folder):
    """Whether the report of a finished run, which has none, could be made; prints why it could not.

    Everything else of the run is there, so it is no reason to refuse the run.
    """
    try:
        write_page(folder)
    except (UserError, OSError) as error:
        if not isinstance(error, UserError) and error.errno not in run_folder.READ_ONLY:
            raise
        why = error if isinstance(error, UserError) else f"the folder cannot be written ({error.strerror})"
        print(f"{folder / REPORT} is missing and cannot be made: {why}", flush=True)
        return False
    return True


def write_page(folder):
    """Writes report.html, see `run_page.write_report`."""
    from ssdkd_jax.reports import run_page  # with Matplotlib, which takes a second that the first epoch would wait for

    run_page.write_report(folder)


def _tell_foreign_images(folder):
    """Prints that the images of a finished run are another's, to which its report does not belong."""
    for path in (folder / BUFFER, folder / MAPS):
        try:
            check_own(path)
        except UserError as error:
            print(f"{str(error).split('; ')[0]}; the report shows the run's own", flush=True)


def _tell_damaged_log(folder, summary):
    """Prints what is wrong with the log of a finished run, whose student does not depend on it."""
    try:
        records, log = read_metrics(folder), folder / METRICS_FILE
        last = int(records[-1]["epoch"]) if records else 0
        if last < summary.epochs:
            print(f"{log} ends at epoch {last} of {summary.epochs}, so its curves do too", flush=True)
        elif last > summary.epochs:
            print(f"{log} has {last} epochs, and the run has {summary.epochs}: it is another's", flush=True)
    except UserError as error:
        wrong = str(error).split("; ")[0]  # the rest is advice for what needs the log
        print(f"{wrong}; only the curves of the report need it", flush=True)


def _run(context, command, shortened):
    """The job itself, in a folder that no other run uses; `shortened`, if any, is told before the distillation."""
    config, folder, clock = context.config, context.folder, context.clock
    check_task(config)
    check_sizes(config, context.devices)
    from_first(lambda: run_folder.check_can_write(folder))
    with clock.measure("setup"):
        test, baseline_sets = baselines.real_images(config)
        given = baselines.given_images(config)
    teacher, images = _find_teacher(context, given)
    predict_teacher = _predictor(context, teacher.architecture, images, teacher.variables)
    exports = from_first(lambda: _check_export(config, teacher.from_torch, folder))
    if teacher.from_torch and config.export_torch is None and not exports:
        print("no PyTorch student is written: neither torch nor safetensors is installed", flush=True)
    summary = _first_lines(context, teacher, images, command)
    from_first(lambda: run_folder.check_same_teacher(folder, summary.teacher_sha256))
    real = evaluate_teacher(context, summary, teacher, images, test)
    from_first(lambda: experiment.claim_for(config, folder))
    if config.epochs == 0:
        summary.seconds = clock.report()
        from_first(lambda: run_folder.write_summary(folder, summary))
        return summary

    if shortened:
        print(shortened, flush=True)
    method = make_method(context, teacher.architecture, images)
    student_name = trained_network(config, teacher.architecture)
    with clock.measure("setup"):
        given = baselines.labeled(config, given, predict_teacher, images.class_names)
    frozen = baselines.with_given(teacher.variables, given)
    score = student_score(context, method, student_name, images, test, predict_teacher)
    result = _distill(context, method, frozen, score, programs_of_run(context, teacher.architecture, images))
    student = result.state.student.variables
    with clock.measure("report"):
        metadata = network_metadata(student_name, images)
        from_first(lambda: saved_network.save_network(folder / "student", student, metadata))
        if exports:
            from_first(lambda: _export(folder))
        shown = shown_images(context, method, result.state, frozen, predict_teacher)
        beside = sample_of_collected(method, given, len(images.class_names))
        from_first(lambda: save_images(folder, images.class_names, real, beside, shown))
        maps = shown_maps(context, images, teacher, student_name, student, test, shown["images"])
        from_first(lambda: save_maps(folder, maps))
    _note_student(summary, config, method, result, given, score)
    summary.student_network = None if student_name == config.student.name else student_name
    same = "same student" if summary.student_network is None else f"{config.student.name} alone"
    summary.baselines = baselines.train_baselines(context, images, test, baseline_sets, summary.student_steps, same)
    summary.files_sha256 = from_first(lambda: digests(folder))
    summary.seconds = clock.report()
    from_first(lambda: _write(folder, summary))
    return summary


def _write(folder, summary):
    run_folder.write_summary(folder, summary)
    write_page(folder)
    print(f"{summary.in_one_line()}; see {folder}/report.html", flush=True)


def _find_teacher(context, given):
    """(Teacher, ImageSpec); `given` are GivenImages or None."""
    config = context.config
    with context.clock.measure("teacher"):
        if config.teacher.path:
            shape, _ = shape_and_classes(config)
            teacher = from_first(lambda: _given_teacher(config))
            check_network_task(config, teacher.architecture, f"{config.teacher.path}: --config.teacher.path=FILE")
            shape, class_names = shape_and_classes(config, classes_of(teacher, shape))
            check_fits(teacher, len(class_names), shape, config.teacher.path)
            public = "" if teacher.metadata or shape[-1] != 3 else models.public_normalization(teacher.architecture)
            images = describe_images(config, shape, class_names, teacher.metadata, public)
            check_networks(context, teacher.architecture, images, given, teacher.variables)
        else:
            shape, class_names = shape_and_classes(config)
            images = describe_images(config, shape, class_names, {})
            check_networks(context, config.teacher.name, images, given)
            teacher = train_teacher(context, images)
    return teacher, images


def _given_teacher(config):
    return load_teacher(config.teacher.path, config.teacher.name, image_shape=shape_and_classes(config)[0])


def _predictor(context, architecture, images, variables):
    """images -> (classes, confidences) of a network with these variables."""
    predict, pmapped = make_predictor_of(context, architecture, images, variables)
    return lambda images: predict(pmapped, images)


def _distill(context, method, teacher, score, kept):
    """The training loop's Result."""
    config = context.config
    plan = Plan(
        epochs=config.epochs,
        evaluate_every=config.evaluate_every,
        checkpoint_every=config.checkpoint_every,
        seed=config.seed,
        score=score,
        score_name=f"student_{score.name}",
        of_student_alone=score.of_student_alone,
        smaller=smaller_batches(config),
        experiment=experiment.digest(context.folder),
        kept=kept,
    )
    return distill(
        method,
        teacher,
        plan,
        folder=context.folder,
        devices=context.devices,
        clock=context.clock,
        interruption=context.interruption,
    )


def _first_lines(context, teacher, images, command):
    """Summary before any training."""
    config = context.config
    return Summary(
        method=section_of(config.method),
        dataset=config.dataset,
        teacher=teacher.architecture,
        student=config.student.name,
        epochs=config.epochs,
        seed=config.seed,
        devices=len(context.devices),
        command=command,
        **provenance.made_with(context.devices),
        teacher_sha256=sha256(teacher.variables),
        teacher_parameters=models.count_parameters(teacher.variables),
        teacher_recipe=recipe_in_words(teacher, config.teacher.path),
        differs=find_method(config.method).method.differs,
        metric=images.task.metric.name,
    )


def _note_student(summary, config, method, result, given, score):
    """Writes into the summary what the distillation gave."""
    buffer = method.buffer(result.state)
    kept = np.zeros(0, bool) if buffer is None else buffer.valid
    epochs = range(config.epochs)
    summary.given_images = given and given.source
    summary.images_kept, summary.buffer_capacity = int(np.sum(kept)), len(kept)
    summary.images_made = sum(method.images_made(epoch) for epoch in epochs)
    summary.student_steps = sum(method.student_steps(epoch) for epoch in epochs)
    summary.note("student", {score.name: result.score, **score.details(result.state.student.variables)})
    summary.note("best_student", {score.name: result.best_score})
    summary.best_student_epoch = result.best_epoch
    summary.student_sha256 = sha256(result.state.student.variables)
    summary.student_parameters = models.count_parameters(result.state.student.variables)
    summary.memory_bytes, summary.concerns = result.memory_bytes, list(result.concerns)


def _check_export(config, from_torch, folder):
    """True if the student should be a PyTorch file too, as that of a teacher from there, which then can be written."""
    wanted = config.export_torch
    if wanted is None:
        wanted = from_torch and torch_export.available_suffix() is not None
    if wanted:
        torch_export.check_can_write(_exported(folder))
    return wanted


def _exported(folder):
    """The student's PyTorch file."""
    return folder / f"student{torch_export.available_suffix() or '.pth'}"


def _export(folder):
    network = saved_network.load_network(folder / "student")
    file, note = torch_export.export_network(_exported(folder), *network)
    print(f"the student as a PyTorch file: {file}; how to load it: {note}", flush=True)


def _check_same_teacher(config, summary):
    """Raises UserError where the teacher of a finished run is a file or folder that has changed since."""
    path = config.teacher.path
    if path and expand(path).exists() and sha256(_given_teacher(config).variables) != summary.teacher_sha256:
        raise UserError(f"{path} is not the teacher that this run had any more; choose another --workdir=DIR")

"""Real and other images that a run compares its student with: what a baseline is given, and baselines within a run."""

import contextlib
import math
from typing import NamedTuple

import jax
import numpy as np

from ssdkd_jax import data
from ssdkd_jax.data import collected
from ssdkd_jax.errors import UserError
from ssdkd_jax.jobs.image_spec import load_split, shape_and_classes, task_of
from ssdkd_jax.jobs.networks import make_evaluator_of, make_model, method_settings
from ssdkd_jax.jobs.plausibility import check_shares
from ssdkd_jax.jobs.teacher import recipe_of
from ssdkd_jax.methods import find_method, section_of
from ssdkd_jax.training import supervised
from ssdkd_jax.training.devices import AXIS
from ssdkd_jax.training.memory import check_memory

# Of photographs, whose crops have no end, so many times more are made than the teacher is to choose.
CROPS_TO_CHOOSE_FROM = 4


class GivenImages(NamedTuple):
    """What a method is given: whose images, in words; images uint8 (n, h, w, c) and labels as of a data.Dataset."""

    source: str
    images: np.ndarray
    labels: np.ndarray


def no_given_images(shape, task):
    """GivenImages from which nothing is to be learned."""
    return GivenImages("noise", np.zeros((1, *shape), np.uint8), np.zeros((1, *task.label_shape(shape)), np.int32))


def check_given_images(config):
    """Raises UserError where the config's method is to be given images that it cannot have."""
    given = find_method(config.method).method.given
    if given not in ("", "collected") and config.evaluate_on == "none":
        raise UserError(
            f"{config.method} is measured on real test images, but evaluate_on=none looks for none; "
            "choose a data-free method with --config.method=NAME"
        )
    if given in ("named", "collected"):
        source, field = method_settings(config, config.method)["images"], f"{section_of(config.method)}.images"
        if not source:
            what = "another data set" if given == "named" else "collected images"
            raise UserError(f"{field} is '', expected {what}, such as --config.{field}=folder:/path")
        _check_is_other(source, field, config.dataset)
    if given == "collected":
        _check_collected(config, source, field)
    if given == "named":
        data.dataset_info(source, config.data_dir or None, prepared_here=True)


def _check_is_other(source, field, dataset):
    """Raises UserError where images that are to be of anything else are the run's own, or some of them."""
    fix = f"such as --config.{field}=folder:/path, or --config.method=vanilla_kd"
    if collected.is_same(source, dataset):
        raise UserError(f"{field} is {source}, the run's own data set; expected another one, {fix}")
    shared = collected.shared_folder(source, dataset)
    if shared:
        raise UserError(
            f"{field} is {source}, of which {shared} belongs to the run's own data set; expected other images, {fix}"
        )


def _check_collected(config, source, field):
    """Raises UserError where there are no collected images, or more than this machine has room for."""
    drawn, shape = _drawn(config), shape_and_classes(config)[0]
    with _about(field):
        count = collected.count(source, config.data_dir or None, drawn)
    if drawn is not None and count <= drawn:
        fix = f"take fewer: --config.{field.replace('.images', '.collected_images')}=N"
    elif drawn is None and collected.is_folder(source):
        fix = f"take fewer at random: --config.{field.replace('.images', '.collected_by')}=random"
    else:  # a data set, which is read as a whole
        fix = f"choose a smaller set, or a folder: --config.{field}=FOLDER"
    # Once on the host, and once on a device.
    check_memory(2 * count * math.prod(shape), jax.devices("cpu")[0], f"{count:,} collected images {shape}", fix)


@contextlib.contextmanager
def _about(field):
    """Puts a field's name in front of what is wrong with it."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{field}: {error}") from error


def _drawn(config):
    """How many collected images are read at random, or None for all, of which the teacher is to choose."""
    values = method_settings(config, config.method)
    most = values["collected_images"]
    if values["collected_by"] == "random":
        return most
    return CROPS_TO_CHOOSE_FROM * most if values["images"] == collected.PHOTOGRAPHS else None


def given_images(config):
    """GivenImages of the config's method, or None where it is given none."""
    given = find_method(config.method).method.given
    if not given:
        return None
    check_given_images(config)
    shape = shape_and_classes(config)[0]
    if given == "noise":
        return no_given_images(shape, task_of(config))
    if given == "train":
        return _real_training_images(config)
    if given == "collected":
        return _collected_images(config, shape)
    source = method_settings(config, config.method)["images"]
    other = data.load_split(source, "train", data_dir=config.data_dir or None, image_size=shape[:2])
    return GivenImages(source, data.with_channels(other.images, shape[-1]), other.labels)


def check_readable(config):
    """Raises UserError where `given_images` would; collected images are read only until it is known that they suffice.

    Args:
      config: checked by `check_given_images`.
    """
    given = find_method(config.method).method.given
    if given == "collected":
        source, field = method_settings(config, config.method)["images"], f"{section_of(config.method)}.images"
        with _about(field):
            collected.check_readable(source, shape_and_classes(config)[0], data_dir=config.data_dir or None)
    elif given:
        given_images(config)


def source_of(config):
    """What decides whether images that the config's method is given can be read, next to the run's data set."""
    values = method_settings(config, config.method)
    return find_method(config.method).method.given, values.get("images"), values.get("share")


def _real_training_images(config):
    """GivenImages: the real training set, or the share of it that the method is given."""
    train, whole = load_split(config, "train"), "the real training set"
    share = method_settings(config, config.method)["share"]
    if share == 1:
        return GivenImages(whole, train.images, train.labels)
    check_shares(f"{section_of(config.method)}.share", (share,), train)
    few = data.subset(train, share, config.seed)
    return GivenImages(f"{100 * share:g}% of {whole}", few.images, few.labels)


def _collected_images(config, shape):
    """GivenImages without labels yet: those drawn at random, or all of which the teacher is to choose."""
    source = method_settings(config, config.method)["images"]
    with _about(f"{section_of(config.method)}.images"):
        images = collected.load(source, shape, data_dir=config.data_dir or None, most=_drawn(config), seed=config.seed)
    return GivenImages(source, images, np.zeros(len(images), np.int32))


def labeled(config, given, predict_teacher, class_names):
    """GivenImages with the teacher's labels where they have none, as many as the method keeps; others unchanged.

    Args:
      config: the run's.
      given: GivenImages or None.
      predict_teacher: images -> (classes, confidences).
      class_names: of the teacher's classes.
    """
    if find_method(config.method).method.given != "collected":
        return given
    values = method_settings(config, config.method)
    classes, confidences = predict_teacher(given.images)
    kept = collected.choose(classes, confidences, values["collected_images"], values["collected_by"])
    source = f"{len(kept):,} collected images of {given.source}"
    seen, share = _seen_in_them(classes[kept], class_names)
    if len(given.images) <= values["collected_images"] and values["collected_by"] != "random":
        seen += f"; all are kept, so that collected_by={values['collected_by']} had nothing to choose from"
    elif 0.5 < share < 1 and values["collected_by"] != "classes" and len(given.images) >= values["collected_images"]:
        seen += f"; to keep more of the others: --config.{section_of(config.method)}.collected_by=classes"
    print(f"{source}: {seen}", flush=True)
    return GivenImages(source, given.images[kept], classes[kept])


def _seen_in_them(classes, class_names):
    """(what the teacher sees in collected images, in words; the share of the most frequent class)."""
    seen, counts = np.unique(classes, return_counts=True)
    largest, share = class_names[seen[np.argmax(counts)]], counts.max() / len(classes)
    return f"the teacher sees {len(seen)} class{'es' * (len(seen) != 1)} in them, {largest} in {share:.0%}", share


def with_given(teacher, given):
    """What a method is handed as the teacher: its variables, and what it is given next to them."""
    return teacher if given is None else {**teacher, "given": {"images": given.images, "labels": given.labels}}


def real_images(config):
    """(test set or None, [(share, training set)] of the baselines), read before hours of work depend on them."""
    if config.evaluate_on == "none":
        if config.baselines:
            print("no baselines are trained: evaluate_on=none looks for no real image", flush=True)
        return None, []
    test = load_split(config, "test")
    if not config.baselines:
        return test, []
    train = load_split(config, "train")
    check_shares("baselines", config.baselines, train)
    return test, [(share, data.subset(train, share, config.seed)) for share in config.baselines]


def train_baselines(context, images, test, baseline_sets, student_steps, student):
    """The config's student trained on a share of the real images, for as many steps: {what: percent of the metric}.

    `student` is what the results call it: the same student, or, where a method trains more than that, its name.
    """
    config, found = context.config, {}
    student_steps = max(1, student_steps)
    for share, train_images in baseline_sets:
        on_share = f"on {100 * share:g}% real images"
        steps_per_epoch = max(1, len(train_images.images) // config.teacher.batch_size)
        with context.clock.measure("baselines"):
            variables = supervised.train(
                make_model(context, config.student.name, len(images.class_names), bn_axis_name=AXIS),
                images.task,
                train_images,
                recipe_of(config, max(1, student_steps // steps_per_epoch)),
                images.mean,
                images.std,
                seed=config.seed,
                devices=context.devices,
                clock=context.clock,
                title=f"student {on_share}",
                interruption=context.interruption,
            )
            evaluate, variables = make_evaluator_of(context, config.student.name, images, variables)
            confusion = evaluate(variables, test.images, test.labels).confusion
            found[f"{student} {on_share}"] = images.task.metric.of(confusion)
    return found

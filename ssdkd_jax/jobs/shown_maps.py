"""Label maps for the report: what teacher and student make of a few images."""

import numpy as np

from ssdkd_jax.data.label_maps import default_colors
from ssdkd_jax.files import replaced_file
from ssdkd_jax.jobs.image_spec import dataset_info
from ssdkd_jax.jobs.networks import make_predictor_of
from ssdkd_jax.reports.maps_file import Maps
from ssdkd_jax.reports.run_files import MAPS, evenly_spaced

# Of each kind, in a report.
SHOWN = 8


def shown_maps(context, images, teacher, student_network, student, test, made):
    """Maps of a few test and synthetic images; None for a task without label maps.

    Args:
      context: Context.
      images: ImageSpec.
      teacher: Teacher.
      student_network, student: its architecture, and its variables on the host.
      test: data.Dataset or None.
      made: synthetic images, uint8 (n, h, w, c).
    """
    if not images.task.label_shape(images.shape):
        return None
    predict_teacher = _predict(context, images, teacher.architecture, teacher.variables)
    predict_student = _predict(context, images, student_network, student)
    real, labels = (np.zeros((0, *images.shape), np.uint8), np.zeros((0, *images.shape[:2]), np.uint8))
    if test is not None:
        chosen = evenly_spaced(len(test.images), SHOWN)
        real, labels = test.images[chosen], test.labels[chosen]
    made = made[evenly_spaced(len(made), SHOWN)]
    maps = predict_teacher(real), predict_student(real)
    colors = np.array(_colors(context.config, len(images.class_names)), np.uint8)
    return Maps(np.array(images.class_names), colors, real, labels, *maps, made, predict_teacher(made))


def _predict(context, images, architecture, variables):
    predict, pmapped = make_predictor_of(context, architecture, images, variables, batch_size=SHOWN)

    def maps(pixels):
        return predict(pmapped, pixels)[0].astype(np.uint8) if len(pixels) else np.zeros(pixels.shape[:3], np.uint8)

    return maps


def _colors(config, count):
    if any(config.image_shape):
        return default_colors(count)
    return dataset_info(config).colors or default_colors(count)


def save_maps(folder, maps):
    """Writes maps.npz, unless there are none."""
    if maps is not None:
        with replaced_file(folder / MAPS) as unfinished, unfinished.open("wb") as file:
            np.savez_compressed(file, **maps._asdict())

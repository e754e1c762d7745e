"""The label maps that a segmentation run leaves for its page."""

import pathlib
from typing import NamedTuple

import numpy as np

from ssdkd_jax.reports.run_files import MAPS, check_own, read_arrays, unneeded


class Maps(NamedTuple):
    """Content of maps.npz; images are uint8 (n, h, w, c), maps uint8 (n, h, w), empty where there are none.

    class_names, colors: of the classes; colors uint8 (C, 3).
    real_images, real_labels, real_teacher, real_student: test images, with three maps of each.
    made_images, made_teacher: synthetic images, with the teacher's maps.
    """

    class_names: np.ndarray
    colors: np.ndarray
    real_images: np.ndarray
    real_labels: np.ndarray
    real_teacher: np.ndarray
    real_student: np.ndarray
    made_images: np.ndarray
    made_teacher: np.ndarray


def read_maps(workdir: pathlib.Path) -> Maps | None:
    """Reads maps.npz; None where the run left none.

    Raises:
      UserError: it is damaged, or another run's.
    """
    path = pathlib.Path(workdir) / MAPS
    maps = read_arrays(path, _maps, "holds no label maps", unneeded(path))
    if maps is not None:
        check_own(path)
    return maps


def _maps(arrays):
    return Maps(*(arrays[name] for name in Maps._fields))

"""A labeled set of images in memory, and what is known of it without decoding its images."""

from typing import NamedTuple

import numpy as np

from ssdkd_jax.errors import UserError


class Dataset(NamedTuple):
    """One split: `images` uint8 (n, h, w, c), `labels`, and the name of each class.

    Labels are int32 (n,), or for segmentation uint8 (n, h, w), classes and `label_maps.IGNORE`.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]


class DatasetInfo(NamedTuple):
    """What is known of a set without decoding its images.

    image_shape: (h, w, c).
    class_names: in the order of the labels.
    sizes: number of images of 'train' and 'test'.
    task: "classification" or "segmentation".
    colors: (red, green, blue) of each class in label maps; empty where none are given.
    """

    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    sizes: dict[str, int]
    task: str = "classification"
    colors: tuple[tuple[int, int, int], ...] = ()


def subset(dataset: Dataset, fraction: float, seed: int) -> Dataset:
    """Draws the same share of every class, at least one image of each, for baselines on little real data.

    Of images with label maps, which have many classes each, it draws a share of all, at least one.

    Args:
      dataset: a Dataset.
      fraction: in (0, 1]; a class of n images keeps round(fraction * n).
      seed: the same seed gives the same images.

    Returns:
      a Dataset in the old order.

    Raises:
      UserError: the fraction is not in (0, 1].
    """
    if not 0 < fraction <= 1:
        raise UserError(f"the fraction of real images is {fraction}, expected more than 0 and at most 1")
    rng = np.random.default_rng(seed)
    groups = dataset.labels if dataset.labels.ndim == 1 else np.zeros(len(dataset.labels), np.int32)
    kept = []
    for label in np.unique(groups):
        members = np.flatnonzero(groups == label)
        kept.append(rng.permutation(members)[: max(1, round(fraction * len(members)))])
    kept = np.sort(np.concatenate(kept))
    return dataset._replace(images=dataset.images[kept], labels=dataset.labels[kept])

"""A made data set for segmentation: colored shapes on textured ground, drawn by a seed; needs no files.

Each image has two to four shapes, later ones over earlier ones.  A shape's color varies around that of its class by
more than two classes are apart, and so does the ground, so that color alone does not tell the class.
"""

import functools

import numpy as np

from ssdkd_jax.data import label_maps
from ssdkd_jax.data.dataset import Dataset, DatasetInfo

CLASS_NAMES = ("ground", "disk", "square", "triangle", "ring")
# The first is the report's only; the others are what shapes are painted with, before their colors are varied.
COLORS = ((60, 60, 60), (214, 90, 80), (90, 170, 90), (80, 120, 214), (220, 190, 80))
SIZES = {"train": 480, "test": 120}
_SIDE = 64
_SEEDS = {"train": 0, "test": 1}
# Standard deviation of a shape's color around its class's, and of the pixels around that.
_OF_SHAPE, _OF_PIXELS = 40.0, 8.0
_BORDER = 0.02  # of the image's side, left unlabeled around shapes


@functools.lru_cache(maxsize=4)
def load(split: str, size: tuple[int, int] | None) -> Dataset:
    """Draws one split: images uint8 (n, h, w, 3), labels uint8 (n, h, w); the outlines of shapes are ignored."""
    height, width = size or (_SIDE, _SIDE)
    rng = np.random.default_rng(_SEEDS[split])
    drawn = [_draw(rng, height, width) for _ in range(SIZES[split])]
    images, labels = (np.stack(arrays) for arrays in zip(*drawn, strict=True))
    return Dataset(images, labels, CLASS_NAMES)


def info(size: tuple[int, int] | None) -> DatasetInfo:
    """Describes the set; `size` is the (height, width) of its images, or None."""
    shape = (*(size or (_SIDE, _SIDE)), 3)
    return DatasetInfo(shape, CLASS_NAMES, dict(SIZES), "segmentation", COLORS)


def _draw(rng, height, width):
    """(image uint8 (h, w, 3), labels uint8 (h, w)); every draw is independent of the size."""
    y, x = np.meshgrid((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width, indexing="ij")
    image = _ground(rng, y, x)
    labels = np.zeros((height, width), np.uint8)
    for _ in range(rng.integers(2, 5)):
        number = int(rng.integers(1, len(CLASS_NAMES)))
        color = np.array(COLORS[number]) + _OF_SHAPE * rng.standard_normal(3)
        distance = _distance(number, rng, y, x)
        image = np.where(distance[..., None] < 0, color, image)
        labels = np.where(np.abs(distance) < _BORDER / 2, label_maps.IGNORE, labels)
        labels = np.where(distance < -_BORDER / 2, number, labels)
    noise = np.random.default_rng(rng.integers(2**32)).standard_normal(image.shape)
    return np.clip(image + _OF_PIXELS * noise, 0, 255).astype(np.uint8), labels.astype(np.uint8)


def _ground(rng, y, x):
    """Two waves over a plain color."""
    image = np.broadcast_to(rng.uniform(60, 190, 3), (*y.shape, 3))
    for _ in range(2):
        angle, waves, phase = rng.uniform(0, np.pi), rng.uniform(2, 12), rng.uniform(0, 2 * np.pi)
        wave = np.sin(2 * np.pi * waves * (x * np.cos(angle) + y * np.sin(angle)) + phase)
        image = image + wave[..., None] * rng.uniform(-25, 25, 3)
    return image


def _distance(number, rng, y, x):
    """Distance to the outline of a shape at a random place, in sides of the image; negative inside."""
    center, radius, angle = rng.uniform(0.15, 0.85, 2), rng.uniform(0.12, 0.24), rng.uniform(0, 2 * np.pi)
    dy, dx = y - center[0], x - center[1]
    away = np.hypot(dy, dx)
    turned_y, turned_x = np.cos(angle) * dy - np.sin(angle) * dx, np.sin(angle) * dy + np.cos(angle) * dx
    name = CLASS_NAMES[number]
    if name == "disk":
        return away - radius
    if name == "ring":
        return np.abs(away - 0.75 * radius) - 0.25 * radius
    if name == "square":
        return np.maximum(np.abs(turned_y), np.abs(turned_x)) - 0.8 * radius
    sides = np.array([0, 2, 4]) * np.pi / 3
    return np.max([turned_y * np.cos(a) + turned_x * np.sin(a) for a in sides], axis=0) - 0.6 * radius

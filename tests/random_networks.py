"""Weights for networks of which only the structure matters, without the seconds that their own initialization takes."""

import jax
import numpy as np


def random_variables(model, image_shape, seed=0):
    """Variables of a Linen module for images (h, w, c), drawn by a seed; scales and variances are above 1."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, *image_shape), np.float32))

    def draw(path, leaf):
        values = rng.standard_normal(leaf.shape).astype(np.float32) / 10
        return 1 + np.abs(values) if path[-1].key in ("scale", "var") else values

    return jax.tree_util.tree_map_with_path(draw, dict(shapes))

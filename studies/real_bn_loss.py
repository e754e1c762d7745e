"""The BatchNorm loss of real images, which the studies of SSD-KD's readings take for the floor of synthetic ones'.

    python -m studies.real_bn_loss runs/teachers/digits-convnet_32-7c1d693c1940 digits 64

prints the mean over six batches of 64 training images: what a teacher's own data would be charged for.
"""

import sys

import jax
import numpy as np

from ssdkd_jax import batchnorm, data, models
from ssdkd_jax.training.saved_network import load_network

BATCHES = 6


def real_bn_loss(teacher: str, dataset: str, batch_size: int) -> float:
    """Mean of `batchnorm.statistics_loss` over `BATCHES` random batches, in a saved network."""
    variables, metadata = load_network(teacher)
    model = models.create_model(metadata["architecture"], metadata["num_classes"])
    images, rng = data.load_split(dataset, "train").images, np.random.default_rng(0)

    @jax.jit
    def loss(batch):
        seen = data.normalize(data.to_unit(batch), metadata["mean"], metadata["std"])
        statistics = batchnorm.apply_with_batch_statistics(model, variables, seen)[1]
        return batchnorm.statistics_loss(statistics, variables["batch_stats"])

    return float(np.mean([loss(images[rng.permutation(len(images))[:batch_size]]) for _ in range(BATCHES)]))


if __name__ == "__main__":
    print(f"{real_bn_loss(sys.argv[1], sys.argv[2], int(sys.argv[3])):.2f}")

"""The BatchNorm loss of real images, a floor for that of synthetic ones (`--config.ssdkd.bn_floor`).

    python -m experiments.real_bn_loss TEACHER DATASET BATCH_SIZE    # a saved network, as convert from-torch makes one
    python -m experiments.real_bn_loss runs/teachers/digits-convnet_32-7c1d693c1940 digits 64

prints the mean over six batches of training images: what a teacher's own data would be charged for.
"""

from absl import flags

from experiments.command_line import launch
from ssdkd_jax.errors import UserError

FLAGS = flags.FLAGS
flags.DEFINE_string("data_dir", None, "Where prepared TFDS sets are stored.")

BATCHES = 6


def main(command, interruption, teacher, dataset, batch_size):
    """Prints the loss of the arguments."""
    from ssdkd_jax import data
    from ssdkd_jax.training.saved_network import load_network

    del command, interruption
    variables, metadata = load_network(teacher)
    if not variables.get("batch_stats"):
        raise UserError(f"{teacher} has no BatchNorm layers, whose statistics the loss compares; give another TEACHER")
    height, width, channels = metadata["image_shape"]
    images = data.load_split(dataset, "train", data_dir=FLAGS.data_dir, image_size=(height, width)).images
    if images.shape[-1] != channels:
        raise UserError(
            f"{dataset} is of {images.shape[-1]} channels, not of the teacher's {channels}; give another DATASET"
        )
    if not batch_size.isdecimal() or not 1 <= int(batch_size) <= len(images):
        raise UserError(f"BATCH_SIZE is {batch_size}, expected a number from 1 to {len(images)}, the training images")
    print(f"{real_bn_loss(variables, metadata, images, int(batch_size)):.2f}", flush=True)


def real_bn_loss(variables, metadata, images, batch_size: int) -> float:
    """Mean of `batchnorm.statistics_loss` over `BATCHES` batches that a fixed seed draws.

    Args:
      variables, metadata: of a saved network, with `batch_stats`.
      images: (n, h, w, c) uint8.
      batch_size: at most n.
    """
    import jax
    import numpy as np

    from ssdkd_jax import batchnorm, data, models

    model = models.create_model(metadata["architecture"], metadata["num_classes"])
    rng = np.random.default_rng(0)

    @jax.jit
    def loss(batch):
        seen = data.normalize(data.to_unit(batch), metadata["mean"], metadata["std"])
        statistics = batchnorm.apply_with_batch_statistics(model, variables, seen)[1]
        return batchnorm.statistics_loss(statistics, variables["batch_stats"])

    return float(np.mean([loss(images[rng.permutation(len(images))[:batch_size]]) for _ in range(BATCHES)]))


def run():
    """The program."""
    launch(
        main,
        required=(),
        arguments=("TEACHER", "DATASET", "BATCH_SIZE"),
        example="runs/teachers/digits-convnet_32-7c1d693c1940 digits 64",
    )


if __name__ == "__main__":
    run()

"""NAYER's noisy layer (CVPR 2024, arXiv 2310.00258): images of wanted classes, through layers that no batch had before.

An embedding of the wanted class goes through a linear layer that is drawn for every batch, into a generator; each noisy
layer makes one image of each class.  Details follow tmtuan1307/NAYER, but embeddings are learned with the generator,
from normal vectors (theirs come from a text model), and are normalized over the classes (theirs over a batch).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssdkd_jax import collectives

# Added to the variance of the embeddings.
EPSILON = 1e-5


class Draws(NamedTuple):
    """What a synthesis begins with.

    generator: variables as of `init`, with noisy layers that no batch had before.
    targets: (n,) int32 classes, this device's part.
    layers: (n,) int32 numbers of the noisy layers, this device's part.
    """

    generator: dict
    targets: jax.Array
    layers: jax.Array


def init(generator, key, *, batch_size, num_classes, embedding_size):
    """Variables of generator, embeddings and noisy layers.

    Args:
      generator: Linen module with a `latent_size`.
      key: PRNG key.
      batch_size: images of a synthesis, over all devices.
      num_classes: each noisy layer makes an image of each class.
      embedding_size: length e of a class's embedding.

    Returns:
      {"params": {"embedding": (num_classes, e), "noisy": {"kernel": (layers, e, latent_size), "bias": (layers,
      latent_size)}, "generator": ...}, "batch_stats": ...}.
    """
    generator_key, embedding_key, noisy_key = jax.random.split(key, 3)
    variables = generator.init(generator_key, jnp.zeros((1, generator.latent_size)))
    layers = -(-batch_size // num_classes)
    params = {
        "embedding": jax.random.normal(embedding_key, (num_classes, embedding_size)),
        "noisy": fresh_layers(noisy_key, layers, embedding_size, generator.latent_size),
        "generator": variables["params"],
    }
    return {"params": params, "batch_stats": variables["batch_stats"]}


def fresh_layers(key, layers, embedding_size, latent_size):
    """Noisy layers for a batch: kernels N(0, 1), (layers, e, latent_size), and biases 0, (layers, latent_size)."""
    kernel = jax.random.normal(key, (layers, embedding_size, latent_size))
    return {"kernel": kernel, "bias": jnp.zeros((layers, latent_size))}


def draw(variables, fresh, due, key, *, batch_size, axis_name=None):
    """Draws for a whole batch, of which each device takes its part; each layer is to make every class once.

    Args:
      variables: as of `init`, what the synthesis before left.
      fresh: (key) -> variables as of `init`, for a generator that has reached the end of its life.
      due: bool scalar, whether it has; may be traced.
      key: PRNG key, the same on every device.
      batch_size: images of the synthesis, over all devices.
      axis_name: the pmapped axis.

    Returns:
      Draws; what is left of a batch that is no multiple of the classes gets drawn ones.
    """
    life_key, noisy_key, rest_key = jax.random.split(key, 3)
    variables = jax.tree.map(lambda new, old: jnp.where(due, new, old), fresh(life_key), variables)
    params = variables["params"]
    layers, embedding_size, latent_size = params["noisy"]["kernel"].shape
    params = {**params, "noisy": fresh_layers(noisy_key, layers, embedding_size, latent_size)}

    num_classes, number = len(params["embedding"]), jnp.arange(batch_size)
    whole = batch_size // num_classes * num_classes
    drawn = jax.random.randint(rest_key, number.shape, 0, num_classes)
    targets = jnp.where(number < whole, number % num_classes, drawn)
    targets, layers = collectives.local_part((targets, number // num_classes), axis_name)
    return Draws({**variables, "params": params}, targets, layers)


def generate(run, variables, targets, layers):
    """Images of classes through noisy layers.

    Args:
      run: (the generator's variables, latents (n, latent_size)) -> (images, the generator's variables after it).
      variables: as of `init`.
      targets: (n,) int32 classes.
      layers: (n,) int32 numbers of noisy layers.

    Returns:
      (images (n, h, w, c) float in [0, 1], the variables with the generator's new running averages).
    """
    params = variables["params"]
    embedding = params["embedding"]
    spread = jnp.sqrt(jnp.var(embedding, axis=0) + EPSILON)
    codes = jax.nn.one_hot(targets, len(embedding))
    embedded = codes @ ((embedding - jnp.mean(embedding, axis=0)) / spread)
    # All layers on all images and then each image's own: one product instead of a kernel per image.
    through_all = jnp.einsum("ne,lez->nlz", embedded, params["noisy"]["kernel"]) + params["noisy"]["bias"]
    latents = jnp.take_along_axis(through_all, layers[:, None, None], axis=1)[:, 0]
    inner = {"params": params["generator"], "batch_stats": variables["batch_stats"]}
    images, inner = run(inner, latents)
    return images, {**variables, "batch_stats": inner["batch_stats"]}

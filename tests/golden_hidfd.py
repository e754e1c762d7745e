"""HiDFD's networks with the golden weights: 32x32 pixels, 10 classes, latents of 24 numbers, 32 channels everywhere."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import traverse_util

from ssdkd_jax import guided_gan
from ssdkd_jax.interop import from_torch_state_dict
from ssdkd_jax.models import create_model
from ssdkd_jax.models.conditional_generator import ConditionalGenerator
from ssdkd_jax.models.discriminators import GuidedDiscriminator, PlainDiscriminator
from ssdkd_jax.models.layers import Layers
from tests import golden_values

CLASSES, LATENT_SIZE, WIDTH, FEATURES, BATCH = 10, 24, 32, 512, 6
IMAGE_SHAPE = (32, 32, 3)
# (collection, leaf) -> last part of the name in tangjialiang97/HiDFD.
_LEAVES = {
    ("params", "kernel"): "weight",
    ("params", "embedding"): "weight",
    ("params", "scale"): "gain",
    ("params", "bias"): "bias",
    ("batch_stats", "mean"): "stored_mean",
    ("batch_stats", "var"): "stored_var",
    ("spectral", "u"): "u0",
}


def torch_name(path):
    """("params", "blocks.0.0", "bn1", "gain", "embedding") -> "blocks.0.0.bn1.gain.weight"."""
    collection, *modules, leaf = path
    return ".".join([*(module for module in modules if module != "norm"), _LEAVES[collection, leaf]])


def to_torch(path, value):
    """A variable in PyTorch's order of axes."""
    value = np.asarray(value)
    if path[-1] == "u":
        return value[None]
    return value.transpose(value.ndim - 1, value.ndim - 2, *range(value.ndim - 2)) if path[-1] == "kernel" else value


def named(variables):
    """{name in PyTorch: array in its order} of a network's variables."""
    flat = traverse_util.flatten_dict(variables)
    return {torch_name(path): to_torch(path, value) for path, value in flat.items()}


def golden_variables(model, *inputs):
    """A network's variables by the rule."""
    shapes = jax.eval_shape(functools.partial(model.init, train=False), jax.random.key(0), *inputs)
    flat = {}
    for path, leaf in traverse_util.flatten_dict(shapes).items():
        shape = to_torch(path, np.empty(leaf.shape)).shape
        value = golden_values.tensor(torch_name(path), shape)
        if path[-1] == "kernel":
            value = value.transpose(*range(2, value.ndim), 1, 0)
        flat[path] = jnp.asarray(value.reshape(leaf.shape))
    return traverse_util.unflatten_dict(flat)


def layouts():
    """network ("G", "G_shared", "D_guided", "D_script") -> names of its tensors in PyTorch, in order."""
    return json.loads((golden_values.FOLDER / "hidfd_layout.json").read_text())


def thinned(value):
    """Long tensors as the golden file has them."""
    return value.ravel()[:: max(1, value.size // 1024)]


@functools.cache
def teacher():
    """images in [0, 1] -> TeacherView of a resnet18 whose convolutions are 1.5 times as large; compiled once."""
    model = create_model("resnet18", CLASSES)
    layout = golden_values.layouts()["resnet18"]
    state_dict = golden_values.state_dict(layout)
    state_dict = {name: value * 1.5 if value.ndim == 4 else value for name, value in state_dict.items()}
    variables = from_torch_state_dict("resnet18", state_dict)

    @jax.jit
    def run(images):
        return model.apply(variables, (images - 0.5) / 0.5, return_features=True)

    return run


def see(images, guided=True):
    """TeacherView of images in [0, 1]."""
    logits, features = teacher()(images)
    return guided_gan.TeacherView(features if guided else (images - 0.5) / 0.5, features, logits)


class Compiled:
    """A network or an optimizer whose functions are compiled whole, since so many single operations take a minute."""

    def __init__(self, of):
        self.of = of
        if hasattr(of, "apply"):
            self.apply = jax.jit(of.apply, static_argnames=("train", "mutable"))
            self.init = of.init
        else:
            self.init, self.update = of.init, jax.jit(of.update)


@functools.cache
def generator(shared):
    """Compiled generator, the same for all variants that have it."""
    return Compiled(ConditionalGenerator(IMAGE_SHAPE, LATENT_SIZE, CLASSES, WIDTH, shared, Layers()))


@functools.cache
def discriminator(guided):
    """Compiled discriminator, the same for all variants that have it."""
    guided_one = GuidedDiscriminator(CLASSES, WIDTH, Layers())
    return Compiled(guided_one if guided else PlainDiscriminator(CLASSES, WIDTH, FEATURES, Layers()))


@functools.cache
def adam():
    """Compiled optimizer of both networks; its moment mu, without a momentum, is the last gradient."""
    return Compiled(optax.adam(2e-4, b1=0.0, b2=0.999))


def gan(*, guided=True, shared=False, **changes):
    """GAN of these networks."""
    return guided_gan.GAN(generator(shared), discriminator(guided), adam(), **changes)


def state(of):
    """GANState with the golden weights, 998 steps done."""
    plain = isinstance(of.discriminator.of, PlainDiscriminator)
    judged = jnp.zeros((1, *IMAGE_SHAPE) if plain else (1, FEATURES))
    generator = golden_variables(of.generator, jnp.zeros((1, LATENT_SIZE)), jnp.zeros(1, jnp.int32))
    discriminator = golden_variables(of.discriminator, judged)
    return guided_gan.GANState(
        generator=generator,
        discriminator=discriminator,
        generator_optimizer=of.optimizer.init(generator["params"]),
        discriminator_optimizer=of.optimizer.init(discriminator["params"]),
        average=generator,
        counts=jnp.full(CLASSES, guided_gan.FIRST_COUNT),
        new_counts=jnp.zeros(CLASSES),
        steps=jnp.int32(998),
    )

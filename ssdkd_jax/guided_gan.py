"""Stage 1 of HiDFD (AAAI 2025): a class-conditional GAN that the frozen teacher guides, step by step.

Where the paper and its released code differ, the paper's intent is the default of `GAN`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from ssdkd_jax import collectives, gan_losses, losses
from ssdkd_jax.models.discriminators import Judgment
from ssdkd_jax.models.spectral_norm import COLLECTION

# What a class's count starts at, as in the released code.
FIRST_COUNT = 50.0


class TeacherView(NamedTuple):
    """What the frozen teacher makes of n images.

    judged: what the discriminator is given: the features, or the images themselves, from -1 to 1.
    features: (n, f) what the teacher's last layer is given.
    logits: (n, classes).
    """

    judged: jax.Array
    features: jax.Array
    logits: jax.Array


class GAN(NamedTuple):
    """Both networks, and how they are trained.

    generator: ConditionalGenerator.
    discriminator: GuidedDiscriminator or PlainDiscriminator.
    optimizer: an optax optimizer, for either.
    auxiliary: weight of both ADC losses.
    integration: weight of the feature distance.
    integrate: whether the feature distance has a gradient; the released code computes it without.
    smoothing: weight of the category-frequency smoothing.
    average_decay, average_from: decay of the generator's moving average, which is a plain copy in the steps before.
    axis_name: the pmapped axis.
    """

    generator: nn.Module
    discriminator: nn.Module
    optimizer: optax.GradientTransformation
    auxiliary: float = 1.0
    integration: float = 0.1
    integrate: bool = True
    smoothing: float = 0.1
    average_decay: float = 0.9999
    average_from: int = 1000
    axis_name: str | None = None


class GANState(NamedTuple):
    """Everything that a step changes; one pytree, the same on every device.

    generator, discriminator: their variables, with the collection "spectral".
    generator_optimizer, discriminator_optimizer: states.
    average: moving average of all the generator's variables, from which images are sampled.
    counts: (classes,) float32, decayed counts of generated images by the teacher's most likely class.
    new_counts: (classes,) float32, of the images since the counts were decayed.
    steps: int32 scalar, steps of each network done.
    """

    generator: dict
    discriminator: dict
    generator_optimizer: Any
    discriminator_optimizer: Any
    average: dict
    counts: jax.Array
    new_counts: jax.Array
    steps: jax.Array


class Fakes(NamedTuple):
    """What generated images are made of, this device's part: latents (n, latent_size) and classes (n,) int32."""

    latents: jax.Array
    classes: jax.Array


def init(gan: GAN, key, judged, num_classes) -> GANState:
    """The state before the first step.

    Args:
      gan: GAN.
      key: PRNG key.
      judged: shape of what the discriminator is given, without the batch.
      num_classes: of the teacher.
    """
    generator_key, discriminator_key = jax.random.split(key)
    latents, classes = jnp.zeros((1, gan.generator.latent_size)), jnp.zeros(1, jnp.int32)
    generator = gan.generator.init(generator_key, latents, classes, train=False)
    discriminator = gan.discriminator.init(discriminator_key, jnp.zeros((1, *judged)), train=False)
    return GANState(
        generator=generator,
        discriminator=discriminator,
        generator_optimizer=gan.optimizer.init(generator["params"]),
        discriminator_optimizer=gan.optimizer.init(discriminator["params"]),
        average=jax.tree.map(jnp.copy, generator),
        counts=jnp.full(num_classes, FIRST_COUNT),
        new_counts=jnp.zeros(num_classes),
        steps=jnp.int32(0),
    )


def generate(gan: GAN, variables, fakes: Fakes):
    """(images (n, h, w, c) in [0, 1], the generator's variables with new running averages and singular vectors)."""
    images, updated = gan.generator.apply(variables, *fakes, train=True, mutable=("batch_stats", COLLECTION))
    return images, {**variables, **updated}


def sample(gan: GAN, state: GANState, fakes: Fakes):
    """Images (n, h, w, c) in [0, 1] of the averaged generator in evaluation mode: each depends on its latent alone."""
    return gan.generator.apply(state.average, *fakes, train=False)


def _judge(gan, variables, judged):
    judgment, updated = gan.discriminator.apply(variables, judged, train=True, mutable=(COLLECTION,))
    return judgment, {**variables, **updated}


def discriminator_loss(gan: GAN, variables, fake: TeacherView, fake_classes, real: TeacherView, real_classes):
    """Hinge and ADC losses, and the feature distance of both kinds of images.

    Returns:
      (this device's loss, (the discriminator's variables, {name: float32 scalar})).
    """
    both = jnp.concatenate([fake.judged, real.judged])
    judgment, variables = _judge(gan, variables, both)
    of_fake, of_real = (Judgment(*part) for part in zip(*(jnp.split(x, 2) for x in judgment), strict=True))
    real_hinge, fake_hinge = gan_losses.hinge_discriminator(of_real.realness, of_fake.realness)
    real_class = gan_losses.real_class_loss(of_real.classes, real_classes)
    fake_class = gan_losses.fake_class_loss(of_fake.classes, fake_classes)
    real_distance = gan_losses.feature_distance(real.features, of_real.features, of_fake.features)
    fake_distance = gan_losses.feature_distance(fake.features, of_fake.features, of_real.features)
    distance = real_distance + fake_distance
    integrated = distance if gan.integrate else jax.lax.stop_gradient(distance)
    loss = real_hinge + fake_hinge + gan.auxiliary * (real_class + fake_class) + gan.integration * integrated
    metrics = {
        "discriminator_loss": real_hinge + fake_hinge,
        "discriminator_class_loss": real_class + fake_class,
        "integration_loss": distance,
    }
    return loss, (variables, metrics)


def discriminator_step(gan: GAN, state: GANState, see: Callable, fakes: Fakes, real, real_classes):
    """One step of the discriminator; the generator's running averages and singular vectors follow.

    Args:
      gan: GAN.
      state: GANState.
      see: images (n, h, w, c) in [0, 1] -> TeacherView.
      fakes: Fakes.
      real: (n, h, w, c) collected images in [0, 1].
      real_classes: (n,) the teacher's most likely classes of these.

    Returns:
      (new GANState, {name: float32 scalar of the whole batch}).
    """
    images, generator = generate(gan, state.generator, fakes)
    fake_seen, real_seen = see(jax.lax.stop_gradient(images)), see(real)

    def loss_of(params):
        variables = {**state.discriminator, "params": params}
        return discriminator_loss(gan, variables, fake_seen, fakes.classes, real_seen, real_classes)

    found = jax.grad(loss_of, has_aux=True)(state.discriminator["params"])
    gradient, (variables, metrics) = found[0], found[1]
    gradient, metrics = collectives.pmean((gradient, metrics), gan.axis_name)
    params, optimizer_state = _updated(gan, state.discriminator["params"], gradient, state.discriminator_optimizer)
    discriminator = {**variables, "params": params}
    state = state._replace(generator=generator, discriminator=discriminator, discriminator_optimizer=optimizer_state)
    return state, metrics


def generator_loss(gan: GAN, judgment: Judgment, seen: TeacherView, classes, weights):
    """Hinge and ADC losses of generated images, and the smoothing of their classes.

    Args:
      gan: GAN.
      judgment: Judgment of the images, this device's part of the batch, like the next two.
      seen: TeacherView of the same images.
      classes: (n,) they were to have.
      weights: (classes,) of the classes, from `gan_losses.class_weights`.

    Returns:
      (this device's loss, {name: float32 scalar}).
    """
    hinge = gan_losses.hinge_generator(judgment.realness)
    towards = gan_losses.real_class_loss(judgment.classes, classes)
    away = gan_losses.fake_class_loss(judgment.classes, classes)
    smoothing = losses.class_balance(seen.logits, weights, axis_name=gan.axis_name)
    loss = hinge + gan.auxiliary * (towards - away) + gan.smoothing * smoothing
    return loss, {"generator_loss": hinge, "generator_class_loss": towards - away, "smoothing_loss": smoothing}


def generator_step(gan: GAN, state: GANState, see: Callable, fakes: Fakes):
    """One step of the generator, after which its moving average follows it and the new images are counted.

    Args, returns: as `discriminator_step`.  The metric `class_agreement` is the share of images in which the teacher
    sees the class that they were to have.
    """
    weights = gan_losses.class_weights(state.counts)

    def loss_of(params):
        images, generator = generate(gan, {**state.generator, "params": params}, fakes)
        seen = see(images)
        judgment, discriminator = _judge(gan, state.discriminator, seen.judged)
        loss, metrics = generator_loss(gan, judgment, seen, fakes.classes, weights)
        return loss, (generator, discriminator, seen.logits, metrics)

    gradient, found = jax.grad(loss_of, has_aux=True)(state.generator["params"])
    generator, discriminator, logits, metrics = found
    gradient, metrics = collectives.pmean((gradient, metrics), gan.axis_name)
    params, optimizer_state = _updated(gan, state.generator["params"], gradient, state.generator_optimizer)
    generator, steps = {**generator, "params": params}, state.steps + 1
    predicted, classes = collectives.all_gather((jnp.argmax(logits, axis=-1), fakes.classes), gan.axis_name)
    state = state._replace(
        generator=generator,
        discriminator=discriminator,
        generator_optimizer=optimizer_state,
        average=_moved(gan, state.average, generator, steps),
        new_counts=state.new_counts.at[predicted].add(1.0),
        steps=steps,
    )
    metrics["class_agreement"] = jnp.mean((predicted == classes).astype(jnp.float32))
    return state, metrics


def _updated(gan, params, gradient, optimizer_state):
    update, optimizer_state = gan.optimizer.update(gradient, optimizer_state)
    return optax.apply_updates(params, update), optimizer_state


def _moved(gan, average, generator, steps):
    """The moving average of all variables after so many steps."""
    decay = jnp.where(steps < gan.average_from, 0.0, gan.average_decay)
    return optax.incremental_update(generator, average, 1 - decay)


def pixel_spread(images, *, axis_name=None):
    """Standard deviation of a pixel over a batch's images (n, h, w, c), averaged over the pixels: float32 scalar."""
    mean, square = collectives.pmean((jnp.mean(images, axis=0), jnp.mean(jnp.square(images), axis=0)), axis_name)
    return jnp.mean(jnp.sqrt(jnp.maximum(square - jnp.square(mean), 0.0)))


def spread_within_classes(gan: GAN, state: GANState, fakes: Fakes, latents):
    """`pixel_spread` of what the averaged generator makes of a class, from pairs of images of the same class.

    Args:
      gan: GAN.
      state: GANState.
      fakes: Fakes.
      latents: (n, latent_size) for other images of the same classes.

    Returns:
      float32 scalar of the whole batch, near 0 where the images of each class are all alike.
    """
    # In one pass: two at once crash jaxlib 0.10.2 on several CPU devices.
    both = Fakes(jnp.concatenate([fakes.latents, latents]), jnp.concatenate([fakes.classes, fakes.classes]))
    first, second = jnp.split(sample(gan, state, both), 2)
    # Half of the squared distance of two independent images is their variance.
    variance = collectives.pmean(jnp.mean(jnp.square(first - second), axis=0) / 2, gan.axis_name)
    return jnp.mean(jnp.sqrt(variance))


def count_classes(state: GANState) -> GANState:
    """Decays the class counts with the images made since this was last done, as after every epoch of stage 1."""
    return state._replace(
        counts=gan_losses.decayed_counts(state.counts, state.new_counts), new_counts=jnp.zeros_like(state.new_counts)
    )

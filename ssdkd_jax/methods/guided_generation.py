"""Stage 1 of HiDFD as epochs of a method: a GAN learns from collected images, and fills a bank with generated ones."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import optax

from ssdkd_jax import collectives, guided_gan, replay_buffer
from ssdkd_jax.data.preprocessing import normalize, to_unit
from ssdkd_jax.loops import repeat
from ssdkd_jax.methods.hidfd_settings import HiDFDSettings
from ssdkd_jax.models.conditional_generator import ConditionalGenerator
from ssdkd_jax.models.discriminators import GuidedDiscriminator, PlainDiscriminator

# Collapse: images of a class that differ, or classes whose entropy is, less than these shares of what the collected
# images have.  An entropy below that share of the largest possible is told, too.
LEAST_DIVERSITY, LEAST_ENTROPY = 0.2, 0.3
# The hinge loss of a discriminator that tells nearly all images apart, so that the generator learns nothing; it is 2
# where none can be told.
LEAST_HINGE = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class GuidedGeneration(HiDFDSettings):
    """The epochs of the warm-up; a state has the fields `gan`, `bank` and `epoch`."""

    def gan(self, teacher):
        """guided_gan.GAN of this method's networks, for a teacher's variables."""
        problem, layers = self.problem, self.problem.layers
        discriminator = GuidedDiscriminator(problem.num_classes, self.width, layers)
        if self.discriminator == "plain":
            features = self._feature_size(teacher)
            discriminator = PlainDiscriminator(problem.num_classes, self.width, features, layers)
        return guided_gan.GAN(
            ConditionalGenerator(
                problem.image_shape, self.latent_size, problem.num_classes, self.width, self.shared_embedding, layers
            ),
            discriminator,
            optax.adam(self.gan_learning_rate, b1=0.0, b2=0.999),
            auxiliary=self.auxiliary,
            integration=self.integration,
            integrate=self.integration_gradient,
            smoothing=self.smoothing,
            average_decay=self.average_decay,
            average_from=self.average_from,
            axis_name=problem.axis_name,
        )

    def _feature_size(self, teacher):
        images = jax.ShapeDtypeStruct((1, *self.problem.image_shape), jnp.float32)
        apply = functools.partial(self.problem.teacher.apply, return_features=True)
        return jax.eval_shape(apply, teacher, images)[1].shape[-1]

    def see(self, teacher, images):
        """guided_gan.TeacherView of images (n, h, w, c) in [0, 1]."""
        normalized = normalize(images, self.problem.mean, self.problem.std)
        logits, features = self.problem.teacher.apply(teacher, normalized, return_features=True)
        return guided_gan.TeacherView(2 * images - 1 if self.discriminator == "plain" else features, features, logits)

    def synthesize(self, state, teacher, key):
        """An epoch of stage 1, whose last one fills the bank; nothing in stage 2.

        The metric `diversity` is how much the averaged generator's images of a class differ, as a share of how much
        collected ones do.
        """
        if not self.generated_images:
            return state, {}
        gan_key, fill_key, diversity_key = jax.random.split(key, 3)
        steps = jnp.where(state.epoch < self.warmup_epochs, self.gan_steps, 0)
        state, metrics = repeat(lambda state, key: self.gan_step(state, teacher, key), state, gan_key, steps)
        made = state.gan.new_counts
        if self.smoothing_counts:
            counted = guided_gan.count_classes(state.gan)
        else:
            counted = state.gan._replace(new_counts=jnp.zeros_like(made))
        state = state._replace(gan=jax.tree.map(functools.partial(jnp.where, steps > 0), counted, state.gan))
        fills = jnp.where(state.epoch == self.warmup_epochs - 1, self._fills, 0)
        state, _ = repeat(lambda state, key: self.fill(state, teacher, key), state, fill_key, fills)
        # The student sees the averaged generator's images, which may be of fewer classes.
        made = jnp.where(fills > 0, replay_buffer.class_counts(state.bank, self.problem.num_classes), made)
        metrics["diversity"] = self._diversity(state.gan, teacher, diversity_key)
        metrics["class_entropy"] = replay_buffer.evenness(made)
        counts = jnp.bincount(teacher["given"]["labels"], length=self.problem.num_classes)
        metrics["collected_class_entropy"] = replay_buffer.evenness(counts)
        return state, {**metrics, "buffer_size": replay_buffer.size(state.bank).astype(jnp.float32)}

    def _diversity(self, gan, teacher, key):
        first_key, second_key, collected_key = jax.random.split(key, 3)
        fakes, (latents, _) = self.draw(first_key), self.draw(second_key)
        made = guided_gan.spread_within_classes(self.gan(teacher), gan, fakes, latents)
        given = teacher["given"]["images"]
        rows = jax.random.randint(collected_key, (self.synthesis_batch_size,), 0, len(given))
        return made / jnp.maximum(guided_gan.pixel_spread(to_unit(given[rows])), 1e-6)

    def gan_step(self, state, teacher, key):
        """A step of the discriminator and one of the generator: (State, metrics)."""
        real_key, first_key, second_key = jax.random.split(key, 3)
        gan, given = self.gan(teacher), teacher["given"]
        see = functools.partial(self.see, teacher)
        rows = jax.random.randint(real_key, (self.synthesis_batch_size,), 0, len(given["images"]))
        rows = collectives.local_part(rows, self.problem.axis_name)
        real = to_unit(given["images"][rows]), given["labels"][rows]
        new, judged = guided_gan.discriminator_step(gan, state.gan, see, self.draw(first_key), *real)
        new, made = guided_gan.generator_step(gan, new, see, self.draw(second_key))
        return state._replace(gan=new), {**judged, **made}

    def draw(self, key):
        """guided_gan.Fakes of a batch with uniform classes, this device's part."""
        latent_key, class_key = jax.random.split(key)
        latents = jax.random.normal(latent_key, (self.synthesis_batch_size, self.latent_size))
        classes = jax.random.randint(class_key, (self.synthesis_batch_size,), 0, self.problem.num_classes)
        return guided_gan.Fakes(*collectives.local_part((latents, classes), self.problem.axis_name))

    def fill(self, state, teacher, key):
        """A batch of generated images enters the bank, in place of those of lowest priority: (State, {})."""
        problem, task = self.problem, self.problem.task
        images = guided_gan.sample(self.gan(teacher), state.gan, self.draw(key))
        output = problem.teacher.apply(teacher, normalize(images, problem.mean, problem.std))
        classes, confidence = task.predicted_class(output), task.confidence(output)
        bank = replay_buffer.insert(
            state.bank, images, classes, confidence, state.bank.priority, axis_name=problem.axis_name
        )
        return state._replace(bank=bank), {}

    def synthesizes(self, epoch):
        """In stage 1 alone."""
        return epoch < self.warmup_epochs

    def concern(self, epoch, metrics):
        """Describes a collapse, or a generator without a gradient, at the end of stage 1, when the bank is filled."""
        if epoch != self.warmup_epochs - 1:
            return ""
        if metrics["diversity"] < LEAST_DIVERSITY:
            share = 100 * metrics["diversity"]
            return (
                f"the generator has collapsed: its images of a class differ {share:.0f} % as much as the collected "
                "ones do"
            )
        found, collected = (metrics[name] for name in ("class_entropy", "collected_class_entropy"))
        entropies = (
            f"their entropy is {100 * found:.0f} % of the largest possible, that of the collected images "
            f"{100 * collected:.0f} %"
        )
        if found < LEAST_ENTROPY * collected:
            return f"the generator has collapsed to few classes: {entropies}"
        if found < LEAST_ENTROPY:
            return (
                f"the generator makes few classes, as those of the collected images are: {entropies}; collect images "
                "of more classes, or keep equally many of each: collected_by=classes"
            )
        if metrics["discriminator_loss"] < LEAST_HINGE:
            return (
                "the discriminator tells nearly all generated images from collected ones, and the generator learns "
                f"nothing from it any more: its hinge loss is {metrics['discriminator_loss']:.2f}, 2 where it cannot"
            )
        return ""

    @functools.cached_property
    def _fills(self):
        return -(-self.generated_images // self.synthesis_batch_size)

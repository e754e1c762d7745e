"""CMI: Contrastive Model Inversion for Data-Free Knowledge Distillation (IJCAI 2021, arXiv 2105.08584).

Every batch has a generator of its own, optimized from scratch together with its latents; a contrastive loss on the
teacher's features keeps the images apart from each other and from those made before, whose features are kept in a bank.
Details follow zju-vipa/CMI, weights and temperature zju-vipa/Fast-Datafree.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from ssdkd_jax import batchnorm, collectives, losses
from ssdkd_jax.data.augmentation import random_flip, random_resized_crop
from ssdkd_jax.data.normalization import normalize
from ssdkd_jax.methods.base import preprocess
from ssdkd_jax.methods.image_bank import GrowingBank

# The local view is a window of at least this share of the image.
LEAST_AREA = 0.25
# What the generator is re-initialized with.
RESET_DEVIATION = 0.02


class Memory(NamedTuple):
    """What one synthesis leaves to the next.

    generator: variables; all but its running averages start anew in every synthesis.
    head: parameters of the MLP that projects features: two linear layers.
    head_optimizer_state: of its optimizer.
    local_features, global_features: (bank, f) float32, the two feature banks: rings of the images made before.
    count: int32 scalar, images whose features have entered them.
    """

    generator: dict
    head: dict
    head_optimizer_state: optax.OptState
    local_features: jax.Array
    global_features: jax.Array
    count: jax.Array


class Batch(NamedTuple):
    """A batch in the making.

    generator: variables.
    latents, targets: (n, latent_size) float32 and (n,) int32, this device's part, like the best images.
    optimizer_states: of generator and latents.
    head, head_optimizer_state: as in Memory.
    best_images: (n, h, w, c) in [0, 1], of the step with the lowest loss so far.
    best_features: (local, global), (batch, f) each, theirs, of the whole batch.
    best_loss: float32 scalar.
    """

    generator: dict
    latents: jax.Array
    targets: jax.Array
    optimizer_states: tuple
    head: dict
    head_optimizer_state: optax.OptState
    best_images: jax.Array
    best_features: tuple
    best_loss: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class CMI(GrowingBank):
    """CMI, with its adversarial term.

    Attributes (and those of GrowingBank and StudentTraining):
      generator_learning_rate: of Adam with betas (0.5, 0.999), for generator and latents; and of the head's Adam.
      bn, oh, adv, cr: weights of the BatchNorm-statistics loss, of the task loss on drawn classes, of the adversarial
        loss where both networks agree, and of the contrastive loss.
      contrast_temperature: of the contrastive loss.
      feature_bank_size: samples whose features are kept on device.
      negatives: of them that each step draws.
      feature_layers: modules of the teacher whose inputs are the features, such as the first blocks of a ResNet's
        stages, ("layer1.0", ..., "layer4.0"), for a resnet34 in the public code; () is all BatchNorm layers, which are
        8,512 features and banks of 2.8 GB there.
      head_size: length of a projected feature.
      reinitialize: whether each synthesis starts with a fresh generator.

    Raises:
      ValueError: more images in a synthesis than the feature bank has places.
    """

    inversion_steps: int = 200
    generator_learning_rate: float = 1e-3
    bn: float = 1.0
    oh: float = 1.0
    adv: float = 0.5
    cr: float = 0.8
    contrast_temperature: float = 0.2
    feature_bank_size: int = 40_960
    negatives: int = 4096
    feature_layers: tuple = ()
    head_size: int = 256
    reinitialize: bool = True

    def __post_init__(self):
        if self.feature_bank_size < self.synthesis_batch_size:
            raise ValueError(
                f"feature_bank_size is {self.feature_bank_size}, expected at least one batch "
                f"(synthesis_batch_size={self.synthesis_batch_size})"
            )

    @functools.cached_property
    def _optimizer_of_generator(self):
        return optax.adam(self.generator_learning_rate, b1=0.5, b2=0.999)

    @functools.cached_property
    def _optimizer_of_head(self):
        return optax.adam(self.generator_learning_rate)

    def init_synthesis(self, key, teacher):
        """Memory with empty banks."""
        generator_key, head_key = jax.random.split(key)
        generator = self.problem.generator
        image = jnp.zeros((1, *self.problem.image_shape))
        size = jax.eval_shape(self._features_of, teacher, image)[2].shape[1]
        head = init_head(head_key, size, self.head_size)
        return Memory(
            generator=generator.init(generator_key, jnp.zeros((1, generator.latent_size))),
            head=head,
            head_optimizer_state=self._optimizer_of_head.init(head),
            local_features=jnp.zeros((self.feature_bank_size, size)),
            global_features=jnp.zeros((self.feature_bank_size, size)),
            count=jnp.int32(0),
        )

    def begin(self, state, key):
        """A fresh generator, fresh latents, and classes drawn for them."""
        problem = self.problem
        generator_key, latent_key, target_key = jax.random.split(key, 3)
        latents = jax.random.normal(latent_key, (self.synthesis_batch_size, problem.generator.latent_size))
        targets = jax.random.randint(target_key, (self.synthesis_batch_size,), 0, problem.num_classes)
        generator = state.synthesis.generator
        if self.reinitialize:
            generator = {**generator, "params": reinitialized(generator["params"], generator_key)}
        latents, targets = collectives.local_part((latents, targets), problem.axis_name)
        return state, self.batch(state.synthesis, generator, latents, targets)

    def batch(self, memory, generator, latents, targets):
        """Batch before the first step."""
        size = memory.local_features.shape[1]
        adam = self._optimizer_of_generator
        return Batch(
            generator=generator,
            latents=latents,
            targets=targets,
            optimizer_states=(adam.init(generator["params"]), adam.init(latents)),
            head=memory.head,
            head_optimizer_state=memory.head_optimizer_state,
            best_images=jnp.zeros((latents.shape[0], *self.problem.image_shape)),
            best_features=(jnp.zeros((self.synthesis_batch_size, size)),) * 2,
            best_loss=jnp.float32(jnp.inf),
        )

    def step(self, state, carry, key):
        """One optimization step of generator, latents and head."""
        axis_name = self.problem.axis_name

        def loss_of(params, latents, head):
            generator = {**carry.generator, "params": params}
            images, updated = self.problem.generator.apply(generator, latents, train=True, mutable=["batch_stats"])
            loss, metrics, features = self.loss(state, images, carry.targets, head, key)
            return loss, (images, {**generator, **updated}, features, metrics)

        differentiate = jax.value_and_grad(loss_of, argnums=(0, 1, 2), has_aux=True)
        (loss, (images, generator, features, metrics)), (gradient, latent_gradient, head_gradient) = differentiate(
            carry.generator["params"], carry.latents, carry.head
        )
        loss, gradient, head_gradient, metrics = collectives.pmean((loss, gradient, head_gradient, metrics), axis_name)
        # Latents belong to one device: the gradient of the batch's mean is 1/devices of the local mean's.
        latent_gradient = latent_gradient / collectives.axis_size(axis_name)

        adam, (generator_state, latent_state) = self._optimizer_of_generator, carry.optimizer_states
        update, generator_state = adam.update(gradient, generator_state)
        latent_update, latent_state = adam.update(latent_gradient, latent_state)
        head_update, head_state = self._optimizer_of_head.update(head_gradient, carry.head_optimizer_state)
        better = loss < carry.best_loss
        best = jax.tree.map(
            lambda new, old: jnp.where(better, new, old),
            (images, features, loss),
            (carry.best_images, carry.best_features, carry.best_loss),
        )
        made = Batch(
            {**generator, "params": optax.apply_updates(carry.generator["params"], update)},
            optax.apply_updates(carry.latents, latent_update),
            carry.targets,
            (generator_state, latent_state),
            optax.apply_updates(carry.head, head_update),
            head_state,
            *best,
        )
        return made, metrics

    def loss(self, state, images, targets, head, key):
        """What a batch is optimized for.

        Args:
          state: State.
          images: (n, h, w, c) in [0, 1], this device's part of the batch.
          targets: (n,) int32.
          head: parameters.
          key: of the views and of the negatives.

        Returns:
          (this device's loss, metrics, (local, global) features of the whole batch, (batch, f) each).
        """
        problem, task = self.problem, self.problem.task
        view_key, negative_key = jax.random.split(key)
        global_view, local_view = self.views(view_key, images)
        output, statistics, global_features = self._features_of(state.teacher, global_view, problem.axis_name)
        _, _, local_features = self._features_of(state.teacher, local_view)
        student_output = problem.student.apply(state.student.variables, global_view)
        features = collectives.all_gather((local_features, global_features), problem.axis_name)
        metrics = {
            "bn_loss": batchnorm.statistics_loss(statistics, state.teacher["batch_stats"]),
            "task_loss": jnp.mean(task.task_loss(output, targets)),
            "adversarial_loss": jnp.mean(task.adversarial(output, student_output, True)),
            "contrastive_loss": self.contrast(state.synthesis, head, *features, negative_key),
        }
        weights = (self.bn, self.oh, self.adv, self.cr)
        loss = sum(weight * term for weight, term in zip(weights, metrics.values(), strict=True))
        confidence = jnp.mean(task.confidence(output))
        return loss, {"inversion_loss": loss, **metrics, "teacher_confidence": confidence}, features

    def _features_of(self, teacher, images, axis_name=None):
        return batchnorm.apply_with_features(
            self.problem.teacher, teacher, images, layers=self.feature_layers, axis_name=axis_name
        )

    def views(self, key, images):
        """(global, local) view, normalized: crop and flip as in training; a random window stretched to the image."""
        problem = self.problem
        global_key, crop_key, flip_key = jax.random.split(key, 3)
        local = random_resized_crop(crop_key, images, LEAST_AREA, axis_name=problem.axis_name)
        if problem.flip:
            local = random_flip(flip_key, local, axis_name=problem.axis_name)
        return preprocess(problem, global_key, images), normalize(local, problem.mean, problem.std)

    def contrast(self, memory, head, local_features, global_features, key):
        """The contrastive loss of a whole batch's features against negatives drawn from the banks."""
        chosen, is_sample = self._negatives(memory, key)
        local = project(head, jnp.concatenate([local_features, memory.local_features[chosen]]))
        global_ = project(head, jnp.concatenate([global_features, memory.global_features[chosen]]))
        is_new = jnp.arange(len(local)) < len(local_features)
        is_sample = jnp.concatenate([jnp.ones(len(local_features), bool), is_sample])
        return losses.contrast(local, global_, is_sample, is_new, self.contrast_temperature)

    def _negatives(self, memory, key):
        """(places in the banks, whether there is a sample): drawn without replacement, samples first."""
        size = self.feature_bank_size
        filled = jnp.arange(size) < memory.count
        lots = jnp.where(filled, jax.random.uniform(key, (size,)), -1.0)
        _, chosen = jax.lax.top_k(lots, min(self.negatives, size))
        return chosen, filled[chosen]

    def finish(self, state, carry):
        """The images of the lowest loss; their features enter the banks, in place of the oldest."""
        problem, memory = self.problem, state.synthesis
        images = carry.best_images
        places = (memory.count + jnp.arange(self.synthesis_batch_size)) % self.feature_bank_size
        local, global_ = carry.best_features
        memory = Memory(
            generator=carry.generator,
            head=carry.head,
            head_optimizer_state=carry.head_optimizer_state,
            local_features=memory.local_features.at[places].set(local),
            global_features=memory.global_features.at[places].set(global_),
            count=memory.count + self.synthesis_batch_size,
        )
        output = problem.teacher.apply(state.teacher, normalize(images, problem.mean, problem.std))
        return memory, images, output


def init_head(key, inputs, outputs):
    """Two linear layers, inputs -> inputs -> outputs, uniform within 1/sqrt(inputs) as in PyTorch."""

    def linear(key, size):
        keys = jax.random.split(key)
        shapes = {"kernel": (inputs, size), "bias": (size,)}
        bound = inputs**-0.5
        return {
            name: jax.random.uniform(one, shape, minval=-bound, maxval=bound)
            for one, (name, shape) in zip(keys, shapes.items(), strict=True)
        }

    hidden_key, output_key = jax.random.split(key)
    return {"hidden": linear(hidden_key, inputs), "output": linear(output_key, outputs)}


def project(head, features):
    """(m, f) features -> (m, head_size) of unit length."""
    hidden = jax.nn.relu(features @ head["hidden"]["kernel"] + head["hidden"]["bias"])
    projected = hidden @ head["output"]["kernel"] + head["output"]["bias"]
    return projected / jnp.sqrt(jnp.sum(jnp.square(projected), axis=-1, keepdims=True) + losses.NORM_EPSILON)


def reinitialized(params, key):
    """A generator's parameters anew: kernels N(0, 0.02), BatchNorm scales N(1, 0.02), biases 0."""
    leaves, tree = jax.tree_util.tree_flatten_with_path(params)
    means = {"kernel": 0.0, "scale": 1.0}

    def fresh(path, leaf, key):
        kind = path[-1].key
        if kind not in means:
            return jnp.zeros_like(leaf)
        return means[kind] + RESET_DEVIATION * jax.random.normal(key, leaf.shape, leaf.dtype)

    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(tree, [fresh(path, leaf, one) for (path, leaf), one in zip(leaves, keys, strict=True)])

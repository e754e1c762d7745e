"""CMI: Contrastive Model Inversion for Data-Free Knowledge Distillation (IJCAI 2021, arXiv 2105.08584).

Every batch has a generator of its own, optimized from scratch together with its latents; a contrastive loss on the
teacher's features keeps the images apart from each other and from those made before, whose features are kept in a bank.
Details follow zju-vipa/CMI, weights and temperature zju-vipa/Fast-Datafree.
"""

import dataclasses
import functools
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ssdkd_jax import batchnorm, collectives, inversion, losses
from ssdkd_jax.data.preprocessing import normalize, random_flip, random_resized_crop
from ssdkd_jax.loops import repeat
from ssdkd_jax.methods.base import generate, preprocess
from ssdkd_jax.methods.image_bank import ImageBank
from ssdkd_jax.settings import setting

# The local view is a window of at least this share of the image.
LEAST_AREA = 0.25
# What the generator is re-initialized with.
RESET_DEVIATION = 0.02


class Memory(NamedTuple):
    """State carried from one synthesis to the next.

    generator: variables; all but its running averages start from scratch in every synthesis.
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


class Draws(NamedTuple):
    """What a synthesis begins with.

    generator: variables of a fresh generator.
    latents, targets: (n, latent_size) float32 and classes (n,) int32, this device's part.
    """

    generator: dict
    latents: jax.Array
    targets: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class CMI(ImageBank):
    """CMI, with its adversarial term.

    Raises:
      ValueError: a setting outside its range; more images in a synthesis than the feature bank has places.
    """

    image_losses: ClassVar[tuple[str, ...]] = ("bn", "oh", "adv", "cr")

    inversion_steps: int = setting(200, "g_steps, optimization steps per synthesis", at_least=1)
    generator_learning_rate: float = setting(
        1e-3,
        "Adam learning rate of generator and latents, with betas (0.5, 0.999), and of the projection head",
        at_least=0,
    )
    bn: float = setting(1.0, "weight of the BatchNorm-statistics loss", at_least=0)
    oh: float = setting(1.0, "weight of the task loss on drawn classes", at_least=0)
    adv: float = setting(0.5, "weight of the adversarial loss, on images on which both networks agree", at_least=0)
    cr: float = setting(0.8, "weight of the contrastive loss", at_least=0)
    contrast_temperature: float = setting(0.2, "temperature of the contrastive loss", more_than=0)
    feature_bank_size: int = setting(40_960, "number of images whose features are kept on the device", at_least=1)
    negatives: int = setting(4096, "negatives drawn from the bank in each step", at_least=1)
    feature_layers: tuple[str, ...] = setting(
        (),
        "modules of the teacher whose inputs are the features, such as (layer1.0, ..., layer4.0) for a resnet34 in the "
        "public code; () is all BatchNorm layers, which are 8,512 features and banks of 2.8 GB there",
    )
    head_size: int = setting(256, "length of a projected feature", at_least=1)
    reinitialize: bool = setting(True, "start each synthesis with a fresh generator")

    def __post_init__(self):
        super().__post_init__()
        if self.feature_bank_size < self.synthesis_batch_size:
            raise ValueError(
                f"feature_bank_size is {self.feature_bank_size}, expected at least one batch "
                f"(synthesis_batch_size={self.synthesis_batch_size})"
            )

    @functools.cached_property
    def _optimizers(self):
        adam = optax.adam(self.generator_learning_rate, b1=0.5, b2=0.999)
        return {"generator": adam, "latents": adam, "head": optax.adam(self.generator_learning_rate)}

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
            head_optimizer_state=self._optimizers["head"].init(head),
            local_features=jnp.zeros((self.feature_bank_size, size)),
            global_features=jnp.zeros((self.feature_bank_size, size)),
            count=jnp.int32(0),
        )

    def draw(self, state, key):
        """A fresh generator, fresh latents, and classes for them."""
        problem = self.problem
        generator_key, latent_key, target_key = jax.random.split(key, 3)
        latents = jax.random.normal(latent_key, (self.synthesis_batch_size, problem.generator.latent_size))
        targets = jax.random.randint(target_key, (self.synthesis_batch_size,), 0, problem.num_classes)
        generator = state.synthesis.generator
        if self.reinitialize:
            generator = {**generator, "params": reinitialized(generator["params"], generator_key)}
        return Draws(generator, *collectives.local_part((latents, targets), problem.axis_name))

    def make_images(self, state, teacher, drawn, key):
        """The images of the lowest loss; their features enter the banks, in place of the oldest."""
        memory, problem = state.synthesis, self.problem

        def step(inverted, key):
            inverted, _, found = inversion.inversion_step(
                inverted,
                lambda optimized, batch_stats: self.evaluate(
                    state, teacher, drawn.targets, optimized, batch_stats, key
                ),
                self._optimizers,
                per_device=("latents",),
                axis_name=problem.axis_name,
            )
            return inverted, found.metrics

        optimized = {"generator": drawn.generator["params"], "latents": drawn.latents, "head": memory.head}
        images = jnp.zeros((len(drawn.latents), *problem.image_shape))
        features = jnp.zeros((self.synthesis_batch_size, memory.local_features.shape[1]))
        inverted = inversion.init(
            optimized, self._optimizers, (images, features, features), drawn.generator["batch_stats"]
        )
        states = {**inverted.optimizer_states, "head": memory.head_optimizer_state}
        inverted, metrics = repeat(step, inverted._replace(optimizer_states=states), key, self.inversion_steps)

        images, local_features, global_features = inverted.best
        places = (memory.count + jnp.arange(self.synthesis_batch_size)) % self.feature_bank_size
        memory = Memory(
            generator={"params": inverted.optimized["generator"], "batch_stats": inverted.batch_stats},
            head=inverted.optimized["head"],
            head_optimizer_state=inverted.optimizer_states["head"],
            local_features=memory.local_features.at[places].set(local_features),
            global_features=memory.global_features.at[places].set(global_features),
            count=memory.count + self.synthesis_batch_size,
        )
        return inversion.Synthesis(memory, images, metrics, inverted.optimized["latents"])

    def evaluate(self, state, teacher, targets, optimized, batch_stats, key):
        """Loss and inversion.StepOutcome: `bn * L_BN + oh * L_task + adv * L_adv + cr * L_contrast`.

        Args:
          state: State.
          teacher: variables.
          targets: (n,) int32, this device's part of the batch.
          optimized: {"generator": parameters, "latents": (n, latent_size), "head": parameters}.
          batch_stats: the generator's.
          key: of the views and of the negatives.

        Returns:
          (this device's loss, StepOutcome that keeps (images, local features (batch, f), global features (batch, f))).
        """
        problem, task = self.problem, self.problem.task
        variables = {"params": optimized["generator"], "batch_stats": batch_stats}
        images, variables = generate(problem.generator, variables, optimized["latents"])
        view_key, negative_key = jax.random.split(key)
        global_view, local_view = self.two_views(view_key, images)
        output, statistics, global_features = self._features_of(teacher, global_view, problem.axis_name)
        _, _, local_features = self._features_of(teacher, local_view)
        student_output = problem.student.apply(state.student.variables, global_view)
        features = collectives.all_gather((local_features, global_features), problem.axis_name)

        bn_loss = batchnorm.statistics_loss(statistics, teacher["batch_stats"])
        task_loss = jnp.mean(task.task_loss(output, targets))
        adversarial_loss = jnp.mean(task.adversarial(output, student_output, True))
        contrastive_loss = self.contrast(state.synthesis, optimized["head"], *features, negative_key)
        loss = self.bn * bn_loss + self.oh * task_loss + self.adv * adversarial_loss + self.cr * contrastive_loss
        metrics = {
            "inversion_loss": loss,
            "bn_loss": bn_loss,
            "task_loss": task_loss,
            "adversarial_loss": adversarial_loss,
            "contrastive_loss": contrastive_loss,
            "teacher_confidence": jnp.mean(task.confidence(output)),
        }
        return loss, inversion.StepOutcome((images, *features), variables["batch_stats"], metrics)

    def _features_of(self, teacher, images, axis_name=None):
        return batchnorm.apply_with_features(
            self.problem.teacher, teacher, images, layers=self.feature_layers, axis_name=axis_name
        )

    def two_views(self, key, images):
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
    """A generator's parameters from scratch: kernels N(0, 0.02), BatchNorm scales N(1, 0.02), biases 0."""
    leaves, tree = jax.tree_util.tree_flatten_with_path(params)
    means = {"kernel": 0.0, "scale": 1.0}

    def fresh(path, leaf, key):
        kind = path[-1].key
        if kind not in means:
            return jnp.zeros_like(leaf)
        # As a vector, which XLA's compiler for CPUs finishes sooner, with the same values.
        noise = jax.random.normal(key, (leaf.size,), leaf.dtype).reshape(leaf.shape)
        return means[kind] + RESET_DEVIATION * noise

    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(tree, [fresh(path, leaf, one) for (path, leaf), one in zip(leaves, keys, strict=True)])

"""SSD-KD: Small Scale Data-Free Knowledge Distillation (CVPR 2024, arXiv 2406.07876).

One epoch: a batch of images is synthesised under the modulating loss and enters a small replay buffer, where it
replaces the entries of lowest reward; then the student is distilled on batches that priority sampling draws from the
buffer, and what it learns sets the priorities anew.  The synthesis and the student's optimiser are FastDFKD's, which is
our reading.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from ssdkd_jax import batchnorm, collectives, distillation, inversion, modulation, replay_buffer
from ssdkd_jax.data.augmentation import augment
from ssdkd_jax.data.normalization import normalize
from ssdkd_jax.methods.base import Method, Phase, Problem

REPLACEMENTS = ("lowest_priority", "oldest", "lowest_phi", "random")
TARGETS = ("own", "drawn")
PRIORITIES = ("weighted_kl", "kl")


class State(NamedTuple):
    """Everything that an epoch changes, and the teacher; one pytree.

    teacher: its variables, never changed.
    student: distillation.StudentState.
    generator: variables of the meta generator.
    meta_optimizer_state: of the meta generator's optimiser.
    statistics_average: running average of batch statistics (bn_mmt), with the structure of the teacher's `batch_stats`.
    buffer: replay_buffer.ReplayBuffer.
    epoch: int32 scalar, epochs done.
    """

    teacher: dict
    student: distillation.StudentState
    generator: dict
    meta_optimizer_state: optax.OptState
    statistics_average: dict
    buffer: replay_buffer.ReplayBuffer
    epoch: jax.Array


def ssdkd(
    problem: Problem,
    *,
    epochs=220,
    warmup_epochs=20,
    synthesis_batch_size=256,
    inversion_steps=5,
    generator_learning_rate=3e-3,
    latent_learning_rate=0.01,
    meta_update="fomaml",
    bn=10.0,
    oh=0.5,
    adv=1.33,
    adv_masked=True,
    bn_momentum=0.9,
    augment_inversion=True,
    targets="own",
    gamma=1.0,
    use_diversity=True,
    use_difficulty=True,
    modulated_term="task",
    gradient_through_phi=False,
    buffer_size=5000,
    buffer_dtype="uint8",
    replacement="lowest_priority",
    alpha=0.6,
    beta_start=0.4,
    beta_end=1.0,
    priority="weighted_kl",
    priority_epsilon=1e-6,
    weight_normalisation="batch",
    kd_steps=400,
    kd_batch_size=256,
    temperature=20.0,
    student_learning_rate=0.2,
    student_final_learning_rate=2e-4,
    student_momentum=0.9,
    student_weight_decay=1e-4,
):
    """Composes SSD-KD for a problem.

    Args:
      problem: networks and kind of images.
      epochs: of one synthesis and `kd_steps` student steps.
      warmup_epochs: first epochs, without student steps and without the adversarial loss.
      synthesis_batch_size: images made per epoch.
      inversion_steps: g_steps, optimisation steps per synthesis.
      generator_learning_rate, latent_learning_rate: lr_g and lr_z of Adam.
      meta_update: how the meta generator follows: fomaml, reptile or none.
      bn, oh, adv: weights of the inversion loss' three terms.
      adv_masked: whether the adversarial term counts only samples on which teacher and student agree.
      bn_momentum: bn_mmt, share of earlier batches in the BatchNorm statistics; 0 switches the average off.
      augment_inversion: whether images are cropped and flipped before the networks see them in a synthesis.
      targets: classes of the task loss: "own", the teacher's own argmax, or "drawn".  [our reading: own]
      gamma: exponent of phi's difficulty part.  [our reading: 1]
      use_diversity, use_difficulty: the two parts of phi.
      modulated_term: what phi weighs: task, adversarial, both or none.  [our reading: task]
      gradient_through_phi: whether images are also optimised for a large or small phi.  [our reading: no]
      buffer_size: images that the replay buffer holds; the paper's "small" is 10 % of the real training set.
      buffer_dtype: "uint8" or a float dtype.
      replacement: whom a new image replaces: lowest_priority, oldest, lowest_phi or random.  [our reading: priority]
      alpha: exponent of the priorities; 0 samples uniformly.
      beta_start, beta_end: exponent of the importance weights, annealed linearly over the epochs after the warm-up.
      priority: "weighted_kl", the importance weight times KL(teacher || student) at T = 1, or "kl" alone.
      priority_epsilon: added to every priority.
      weight_normalisation: whose largest importance weight is 1: of the "batch" or the "buffer".  [our reading: batch]
      kd_steps, kd_batch_size: student steps per epoch, and images per step.
      temperature: T of the student's loss.
      student_learning_rate, student_final_learning_rate: of SGD, a cosine over all student steps.
      student_momentum, student_weight_decay: of SGD.

    Returns:
      a Method.

    Raises:
      ValueError: an unknown name of a switch.
    """
    for field, value, known in (
        ("meta_update", meta_update, inversion.META_UPDATES),
        ("targets", targets, TARGETS),
        ("modulated_term", modulated_term, modulation.MODULATED_TERMS),
        ("replacement", replacement, REPLACEMENTS),
        ("priority", priority, PRIORITIES),
        ("weight_normalisation", weight_normalisation, ("batch", "buffer")),
    ):
        if value not in known:
            raise ValueError(f"{field} is {value!r}, expected one of {', '.join(known)}")

    task, axis_name, num_classes = problem.task, problem.axis_name, problem.num_classes
    optimizers = inversion.fastdfkd_optimizers(generator_learning_rate, latent_learning_rate, inversion_steps)
    modulate = inversion.Modulation(gamma, use_diversity, use_difficulty, modulated_term, gradient_through_phi)
    student_steps = max(1, (epochs - warmup_epochs) * kd_steps)
    schedule = optax.cosine_decay_schedule(
        student_learning_rate, student_steps, alpha=student_final_learning_rate / student_learning_rate
    )
    student_optimizer = distillation.sgd(schedule, momentum=student_momentum, weight_decay=student_weight_decay)

    def networks_input(key, images, augmented=True):
        if augmented:
            images = augment(
                key, images, padding=problem.crop_padding, flip=problem.flip, axis_name=axis_name
            )  # fmt: skip
        return normalize(images, problem.mean, problem.std)

    def generate(variables, latents):
        images, updated = problem.generator.apply(variables, latents, train=True, mutable=["batch_stats"])
        return images, updated["batch_stats"]

    def apply_student(variables, images):
        output, updated = problem.student.apply(variables, images, train=True, mutable=["batch_stats"])
        return output, updated.get("batch_stats", {})

    def init(key, teacher, devices=1):
        student_key, generator_key = jax.random.split(key)
        image = jnp.zeros((1, *problem.image_shape))
        generator = problem.generator.init(generator_key, jnp.zeros((1, problem.generator.latent_size)))
        return State(
            teacher=teacher,
            student=distillation.init_student(problem.student.init(student_key, image), student_optimizer),
            generator=generator,
            meta_optimizer_state=optimizers.meta.init(generator["params"]),
            statistics_average=jax.tree.map(jnp.zeros_like, teacher["batch_stats"]),
            buffer=replay_buffer.init(
                buffer_size,
                problem.image_shape,
                dtype=jnp.dtype(buffer_dtype),
                batch_size=synthesis_batch_size,
                devices=devices,
            ),
            epoch=jnp.int32(0),
        )

    def begin_synthesis(state, key):
        latent_key, target_key = jax.random.split(key)
        whole = (synthesis_batch_size, problem.generator.latent_size)
        latents = collectives.local_part(jax.random.normal(latent_key, whole), axis_name)
        drawn = jax.random.randint(target_key, (synthesis_batch_size,), 0, num_classes)
        inverted = inversion.begin_synthesis(
            state.generator, latents, optimizers, problem.image_shape, state.statistics_average
        )
        return state, inverted, collectives.local_part(drawn, axis_name)

    def inversion_step(carry, key):
        state, inverted, drawn = carry

        def loss_function(images):
            seen = networks_input(key, images, augment_inversion)
            teacher_output, statistics = batchnorm.apply_with_batch_statistics(
                problem.teacher, state.teacher, seen, axis_name=axis_name
            )
            loss, metrics = inversion.inversion_loss(
                teacher_output,
                statistics,
                problem.student.apply(state.student.variables, seen),
                drawn if targets == "drawn" else None,
                task=task,
                weights=inversion.LossWeights(bn, oh, jnp.where(state.epoch < warmup_epochs, 0.0, adv)),
                running=state.teacher["batch_stats"],
                average=state.statistics_average,
                bn_momentum=jnp.where(state.epoch == 0, 0.0, bn_momentum),
                class_counts=replay_buffer.class_counts(state.buffer, num_classes),
                modulate=modulate,
                masked=adv_masked,
            )
            return loss, (statistics, metrics)

        inverted, metrics = inversion.inversion_step(inverted, loss_function, generate, optimizers, axis_name=axis_name)
        return (state, inverted, drawn), metrics

    def replacement_reward(buffer, key):
        if replacement == "lowest_priority":
            return buffer.priority
        if replacement == "oldest":
            return -buffer.age.astype(jnp.float32)
        if replacement == "random":
            return jax.random.uniform(key, buffer.priority.shape)
        counts = replay_buffer.class_counts(buffer, num_classes)
        return modulation.phi(
            counts, buffer.predicted_class, buffer.confidence,
            gamma=gamma, use_diversity=use_diversity, use_difficulty=use_difficulty,
        )  # fmt: skip

    def end_synthesis(carry, key):
        state, inverted, _ = carry
        generator, meta_optimizer_state = inversion.meta_update(
            meta_update, state.generator, inverted, optimizers.meta, state.meta_optimizer_state
        )
        images = inverted.best_images
        output = problem.teacher.apply(state.teacher, normalize(images, problem.mean, problem.std))
        buffer = replay_buffer.insert(
            state.buffer,
            images,
            task.predicted_class(output),
            task.confidence(output),
            replacement_reward(state.buffer, key),
            axis_name=axis_name,
        )
        state = state._replace(
            generator=generator,
            meta_optimizer_state=meta_optimizer_state,
            statistics_average=inversion.update_average(
                state.statistics_average, inverted.statistics, bn_momentum, first=state.epoch == 0
            ),
            buffer=buffer,
        )
        return state, _buffer_metrics(buffer, num_classes)

    def beta_of(epoch):
        progress = (epoch - warmup_epochs) / max(1, epochs - warmup_epochs)
        return beta_start + (beta_end - beta_start) * jnp.clip(progress, 0.0, 1.0)

    def distill_step(carry, key):
        state, sample_key, augment_key = carry, *jax.random.split(key)
        indices, weights = replay_buffer.sample(
            state.buffer,
            sample_key,
            kd_batch_size,
            alpha=alpha,
            beta=beta_of(state.epoch),
            epsilon=priority_epsilon,
            normalise_by=weight_normalisation,
        )
        images = networks_input(augment_key, replay_buffer.read(state.buffer, indices, axis_name=axis_name))
        student, loss, divergence = distillation.distill_step(
            state.student,
            images,
            collectives.local_part(weights, axis_name),
            problem.teacher.apply(state.teacher, images),
            apply_student=apply_student,
            kl=task.kl,
            temperature=temperature,
            optimizer=student_optimizer,
            axis_name=axis_name,
        )
        divergence = collectives.all_gather(divergence, axis_name)
        priorities = divergence * weights if priority == "weighted_kl" else divergence
        state = state._replace(
            student=student, buffer=replay_buffer.update_priorities(state.buffer, indices, priorities)
        )
        return state, {"student_loss": loss, "divergence": jnp.mean(divergence), "importance": jnp.mean(weights)}

    def end_distillation(state, key):
        del key
        steps_done = jnp.maximum(state.epoch - warmup_epochs + 1, 0) * kd_steps
        return state._replace(epoch=state.epoch + 1), {"learning_rate": schedule(steps_done)}

    def held_back(state, key):
        begin_key, step_key = jax.random.split(key)
        keys = jax.random.split(step_key, inversion_steps)
        (_, inverted, _), _ = jax.lax.scan(inversion_step, begin_synthesis(state, begin_key), keys)
        return inverted.best_images

    def sharded(state):
        only_images = jax.tree.map(lambda _: False, state.buffer)._replace(images=True)
        return jax.tree.map(lambda _: False, state)._replace(buffer=only_images)

    return Method(
        init=init,
        synthesis=Phase(begin_synthesis, inversion_step, end_synthesis, inversion_steps),
        distillation=Phase(
            lambda state, key: state,
            distill_step,
            end_distillation,
            metrics=("student_loss", "divergence", "importance"),
        ),
        distillation_steps=lambda epoch: 0 if epoch < warmup_epochs else kd_steps,
        held_back=held_back,
        sharded=sharded,
        buffer=lambda state: state.buffer,
        student=lambda state: state.student,
    )


def _buffer_metrics(buffer, num_classes):
    """How full the buffer is, and the entropy of its classes as a share of the largest possible (1 = balanced)."""
    shares = replay_buffer.class_counts(buffer, num_classes) / jnp.maximum(replay_buffer.size(buffer), 1)
    entropy = -jnp.sum(shares * jnp.log(jnp.maximum(shares, 1e-12))) / jnp.log(num_classes)
    return {
        "buffer_size": replay_buffer.size(buffer).astype(jnp.float32),
        "class_entropy": entropy,
    }

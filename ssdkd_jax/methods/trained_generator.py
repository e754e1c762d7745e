"""What DAFL, DFQ, ZSKT and DFAD share: a generator that is trained next to the student, and no bank.

As in zju-vipa's public code, with one exception: their code passes the teacher again where the adversarial loss expects
the student; here it is the student.  The student's loss has T = 1, which is what the public code computes, though its
command lines ask for T = 20.
"""

import dataclasses
import functools
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ssdkd_jax import collectives
from ssdkd_jax.loops import repeat
from ssdkd_jax.methods.base import generate, preprocess, see
from ssdkd_jax.methods.student_training import HIGHEST_TEMPERATURE, StudentTraining
from ssdkd_jax.settings import setting
from ssdkd_jax.train_state import TrainState


class State(NamedTuple):
    """Everything that an epoch changes; one pytree.

    student: TrainState.
    generator: its variables.
    optimizer_state: of the generator's optimizer.
    round: int32 scalar, rounds done, of all epochs.
    """

    student: TrainState
    generator: dict
    optimizer_state: optax.OptState
    round: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainedGenerator(StudentTraining):
    """Rounds of a few generator steps, then a few student steps on fresh images, each used once.

    A method adds its `generator_loss`.

    Raises:
      ValueError: a setting outside its range; `kd_steps` are no whole number of rounds.
    """

    # Whether `generator_loss` looks at the inputs of the teacher's last layer.
    needs_features: ClassVar[bool] = False

    temperature: float = setting(
        1.0, "temperature T of the student's loss T^2 * KL", more_than=0, at_most=HIGHEST_TEMPERATURE
    )
    synthesis_batch_size: int = setting(256, "images per generator step, over all devices", at_least=1)
    generator_steps: int = setting(1, "generator steps per round", at_least=1)
    kd_steps_per_round: int = setting(5, "student steps per round", at_least=1)
    generator_learning_rate: float = setting(1e-3, "lr_g, Adam learning rate, with betas (0.5, 0.999)", at_least=0)

    def __post_init__(self):
        super().__post_init__()
        if self.kd_steps % self.kd_steps_per_round:
            raise ValueError(
                f"kd_steps is {self.kd_steps}, expected a multiple of kd_steps_per_round={self.kd_steps_per_round}"
            )

    def generator_loss(self, seen, running):
        """What the generator minimizes.

        Args:
          seen: base.Seen of a generated batch, this device's part.
          running: the teacher's `batch_stats`.

        Returns:
          (this device's loss, {name: float32 scalar}).
        """
        raise NotImplementedError

    def init(self, key, teacher):
        """State before the first epoch."""
        del teacher
        student_key, generator_key = jax.random.split(key)
        generator = self._generator.init(generator_key, jnp.zeros((1, self._generator.latent_size)))
        return State(
            student=self.init_student(student_key),
            generator=generator,
            optimizer_state=self._generator_optimizer.init(generator["params"]),
            round=jnp.int32(0),
        )

    def synthesize(self, state, teacher, key):
        """A round's generator steps, each on fresh latents."""

        def step(state, key):
            return self.generator_step(state, teacher, self.draw(key, self.synthesis_batch_size))

        return repeat(step, state, jax.random.split(key, 3)[1], self.generator_steps)

    def draw(self, key, batch_size):
        """This device's part of a batch of latents, (n, latent_size) float32."""
        latents = jax.random.normal(key, (batch_size, self._generator.latent_size))
        return collectives.local_part(latents, self.problem.axis_name)

    def generator_step(self, state, teacher, latents):
        """One optimization step of the generator on these latents: (State, metrics)."""

        def loss_of(params):
            images, generator = generate(self._generator, {**state.generator, "params": params}, latents)
            seen = see(
                self.problem,
                teacher,
                state.student.variables,
                images,
                None,
                augmented=False,
                features=self.needs_features,
            )
            loss, metrics = self.generator_loss(seen, teacher.get("batch_stats", {}))
            return loss, (generator, {"inversion_loss": loss, **metrics})

        gradient, (generator, metrics) = jax.grad(loss_of, has_aux=True)(state.generator["params"])
        gradient, metrics = collectives.pmean((gradient, metrics), self.problem.axis_name)
        update, optimizer_state = self._generator_optimizer.update(gradient, state.optimizer_state)
        generator = {**generator, "params": optax.apply_updates(state.generator["params"], update)}
        return state._replace(generator=generator, optimizer_state=optimizer_state), metrics

    def distill_step(self, state, teacher, key):
        """One student step on a fresh batch; the generator's running averages follow it, nothing else of it."""
        images, generator = generate(self._generator, state.generator, self.draw(key, self.kd_batch_size))
        images = preprocess(self.problem, None, images, augmented=False)
        student, loss, _ = self.student_step(state.student, teacher, images, jnp.ones(self.kd_batch_size))
        return state._replace(student=student, generator=generator), {"student_loss": loss}

    def held_out(self, state, teacher, key):
        """Fresh images; the state stays as it is."""
        del teacher
        return generate(self._generator, state.generator, self.draw(key, self.synthesis_batch_size))[0]

    @property
    def rounds(self):
        """Rounds that the epoch's student steps make."""
        return self.kd_steps // self.kd_steps_per_round

    def epoch_of(self, state):
        """The epoch under way, counted from 0."""
        return state.round // self.rounds

    def count_round(self, state):
        """The state after a round."""
        return state._replace(round=state.round + 1)

    def images_made(self, epoch):
        """Images of the student steps."""
        return self.student_steps(epoch) * self.kd_batch_size

    def images_processed(self, epoch):
        """Images processed by generator and student steps."""
        made = self.rounds * self.generator_steps * self.synthesis_batch_size
        return made + self.student_steps(epoch) * self.kd_batch_size

    @functools.cached_property
    def _generator(self):
        return self.problem.generator

    @functools.cached_property
    def _generator_optimizer(self):
        return optax.adam(self.generator_learning_rate, b1=0.5, b2=0.999)

"""DAFL, DFQ, ZSKT and DFAD: against public PyTorch code (`golden/family.npz`), and on tiny networks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from ssdkd_jax.interop import naming
from ssdkd_jax.methods import METHODS
from ssdkd_jax.methods.base import generate
from tests import golden_networks, golden_values, tiny_problem

# Those that users' programs have.  Without, as in most tests, sums round more: where a ReLU's input is all but zero its
# sign changes, and with it that of Adam's step.
OPTIMIZATIONS = {"xla_backend_optimization_level": 3, "xla_llvm_disable_expensive_passes": False}
FAMILY = ("dafl", "dfq", "zskt", "dfad")
TINY = {"epochs": 2, "synthesis_batch_size": 8, "kd_steps": 4, "kd_steps_per_round": 2, "kd_batch_size": 8}


# ---- against PyTorch


def golden(name):
    prefix = f"{name}/"
    return {key.removeprefix(prefix): v for key, v in golden_values.load("family").items() if key.startswith(prefix)}


@pytest.mark.parametrize("name", FAMILY)
def test_three_generator_steps_equal_pytorch(name):
    expected = golden(name)
    problem, teacher, student = golden_networks.problem()
    settings = {"latent_size": 16} if name == "dafl" else {}
    method = METHODS[name].method(problem=problem, **settings)
    state = jax.jit(method.init)(jax.random.key(0), teacher)
    generator = golden_networks.generator_variables()
    state = state._replace(
        generator=generator,
        optimizer_state=method._generator_optimizer.init(generator["params"]),
        student=state.student._replace(params=student["params"], batch_stats=student["batch_stats"]),
    )
    make = jax.jit(functools.partial(generate, problem.generator), compiler_options=OPTIMIZATIONS)
    generator_step = jax.jit(method.generator_step, compiler_options=OPTIMIZATIONS)
    for i in range(3):
        latents = jnp.asarray(expected[f"step{i}/z"])
        images, _ = make(state.generator, latents)
        state, _ = generator_step(state, teacher, latents)
    assert_allclose(images[:2].transpose(0, 3, 1, 2), expected["step2/images_first_2_nchw"], atol=1e-3)
    ours = naming.to_torch(state.generator, golden_networks.generator_template())
    parameters = {key.removeprefix("generator/"): v for key, v in expected.items() if key.startswith("generator/")}
    assert len(parameters) == 12
    for key, value in parameters.items():
        error, largest = np.abs(ours[key] - value), np.abs(value).max()
        # Rounding decides the sign of Adam's first step where a gradient is all but zero.
        assert np.quantile(error, 0.995) < 2e-3 * largest, key
        assert error.max() < 3 * 2 * method.generator_learning_rate, key


# ---- on tiny networks


def tiny(name, **kwargs):
    settings = {"latent_size": 6} if name == "dafl" else {}
    return METHODS[name].method(problem=tiny_problem.problem(**kwargs), **TINY, **settings)


def a_step(method, state):
    latents = jax.random.normal(jax.random.key(3), (8, 6))
    return jax.jit(method.generator_step)(state, tiny_problem.teacher(), latents)


def test_the_adversarial_loss_sees_the_student():
    """A student that is the teacher differs in nothing; one that is half as sure does."""
    method = tiny("dfq")
    state = jax.jit(method.init)(jax.random.key(0), tiny_problem.teacher())
    losses = []
    for sure in (0.5, 1.0):
        one = tiny_problem.with_student_like_the_teacher(state, sure)
        losses.append(float(a_step(method, one)[1]["adversarial_loss"]))
    assert losses[0] < -1e-5 and losses[1] == pytest.approx(0, abs=1e-7)


def test_dafl_does_not_look_at_the_student():
    method = tiny("dafl")
    init = jax.jit(method.init)
    one, other = (init(jax.random.key(seed), tiny_problem.teacher()) for seed in (0, 1))
    other = other._replace(generator=one.generator)
    jax.tree.map(assert_array_equal, a_step(method, one)[0].generator, a_step(method, other)[0].generator)


def test_dafls_terms_are_of_the_teachers_features_and_the_batchs_mean_prediction():
    method = tiny("dafl")
    state = jax.jit(method.init)(jax.random.key(0), tiny_problem.teacher())
    images, _ = generate(
        tiny_problem.problem().generator, state.generator, jax.random.normal(jax.random.key(3), (8, 6))
    )
    logits, features = tiny_problem.problem().teacher.apply(
        tiny_problem.teacher(), (images - 0.5) / 0.2, return_features=True
    )
    mean = jax.nn.softmax(logits).mean(axis=0)
    _, metrics = a_step(method, state)
    assert metrics["activation_loss"] == pytest.approx(-float(jnp.abs(features).mean()), rel=1e-5)
    assert metrics["balance_loss"] == pytest.approx(float((mean * jnp.log(mean)).sum()), rel=1e-5)
    assert metrics["task_loss"] == pytest.approx(float(-jax.nn.log_softmax(logits).max(axis=1).mean()), rel=1e-5)


def test_dfad_students_learn_the_logits():
    method = tiny("dfad")
    assert method.student_loss(jnp.array([[1.0, 2.0]]), jnp.array([[0.0, 5.0]]), 20.0) == pytest.approx(2.0)


@pytest.mark.parametrize("name", FAMILY)
def test_students_learn_at_temperature_one(name):
    """As in all public code; with T = 20 the loss is hardly more than a squared distance of the logits."""
    assert METHODS[name].method.temperature == 1.0


def test_an_epoch_is_rounds_of_generator_and_student_steps():
    method = tiny("dafl")
    assert (method.rounds, method.student_steps(0), method.images_made(0), method.images_processed(0)) == (2, 4, 32, 48)
    states, metrics = tiny_problem.run(method, 2)
    assert [int(state.round) for state in states] == [0, 2, 4]
    assert not np.array_equal(states[1].student.params["fc"]["kernel"], states[0].student.params["fc"]["kernel"])
    rates = [float(one["learning_rate"]) for one in metrics]
    assert rates == [pytest.approx((0.1 + 2e-4) / 2), pytest.approx(2e-4)]


@pytest.mark.slow
def test_eight_devices_are_one():
    method = tiny("dfq", **tiny_problem.ON_DEVICES)
    (one, metrics), (eight, metrics_of_eight) = (tiny_problem.after_an_epoch(method, count) for count in (1, 8))
    jax.tree.map(functools.partial(assert_allclose, rtol=5e-2, atol=5e-3), one.student.params, eight.student.params)
    jax.tree.map(functools.partial(assert_allclose, rtol=1e-2, atol=1e-4), metrics, metrics_of_eight)


def test_steps_that_are_no_whole_rounds():
    with pytest.raises(ValueError, match="kd_steps is 7, expected a multiple of kd_steps_per_round=5"):
        METHODS["dafl"].method(problem=tiny_problem.problem(), kd_steps=7)

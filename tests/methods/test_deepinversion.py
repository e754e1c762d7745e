"""DeepInversion against public PyTorch code (`golden/family.npz`), and by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from ssdkd_jax.methods.deepinversion import DeepInversion, Draws
from tests import golden_networks, golden_values, tiny_problem


def golden_method(**settings):
    return DeepInversion(problem=golden_networks.problem()[0], epochs=1, synthesis_batch_size=8, **settings)


def tiny_method(**settings):
    return DeepInversion(problem=tiny_problem.problem(), epochs=1, synthesis_batch_size=8, **settings)


class NoJitter(DeepInversion):
    def jitter(self, key, values):
        return values


def test_four_steps_equal_pytorch():
    golden = golden_values.load("family")
    method = NoJitter(
        problem=golden_networks.problem()[0], epochs=1, synthesis_batch_size=8, inversion_steps=4, tv=2.5e-5, l2=3e-8
    )
    state = golden_networks.method_state(method, jax.random.key(0))
    values = jnp.asarray(golden["deepinversion/x0_normalised_nchw"]).transpose(0, 2, 3, 1)
    drawn = Draws(values, jnp.asarray(golden["deepinversion/targets"], jnp.int32))
    teacher = golden_networks.problem()[1]
    _, images, metrics, _ = jax.jit(method.make_images)(state, teacher, drawn, jax.random.key(0))
    expected = golden["deepinversion/best_images_first_2_nchw"]
    error = np.abs(images[:2].transpose(0, 3, 1, 2) - expected)
    # Rounding decides the sign of Adam's first step where a gradient is all but zero.
    assert np.quantile(error, 0.995) < 1e-3
    assert float(metrics["adversarial_loss"]) < 0


def test_jitter_rolls_the_whole_batch_and_mirrors_it_where_images_may_be():
    method = golden_method()
    values = jax.random.normal(jax.random.key(0), (2, 32, 32, 3))
    seen = np.stack([method.jitter(jax.random.key(i), values) for i in range(20)])
    shifts = {(a, b): np.roll(np.asarray(values), (a, b), (1, 2)) for a in range(-4, 5) for b in range(-4, 5)}
    found = [next(shift for shift, rolled in shifts.items() if np.array_equal(rolled, one)) for one in seen]
    assert len(set(found)) > 10
    flipping = DeepInversion(problem=method.problem._replace(flip=True))
    mirrored = [not np.array_equal(flipping.jitter(jax.random.key(i), values), seen[i]) for i in range(20)]
    assert 3 < sum(mirrored) < 17
    i = mirrored.index(True)
    assert_array_equal(flipping.jitter(jax.random.key(i), values), seen[i][:, :, ::-1])


def test_images_are_within_their_range():
    method = tiny_method(pixel_learning_rate=10.0, inversion_steps=1)
    state = jax.jit(method.init)(jax.random.key(0), tiny_problem.teacher())
    drawn = method.draw(state, jax.random.key(1))
    images = jax.jit(method.make_images)(state, tiny_problem.teacher(), drawn, jax.random.key(2)).images
    assert float(images.min()) == 0 and float(images.max()) == 1


def test_the_adversarial_loss_sees_the_student():
    """A student that is the teacher differs in nothing from it."""
    method, teacher = tiny_method(), tiny_problem.teacher()
    problem = method.problem
    state = jax.jit(method.init)(jax.random.key(0), teacher)
    values = jax.random.normal(jax.random.key(1), (8, *tiny_problem.IMAGE_SHAPE))

    @jax.jit
    def adversarial_loss(state):
        found = method.inversion_loss(state, teacher, values, values, jnp.zeros(8, jnp.int32))[1]
        return found.metrics["adversarial_loss"]

    student = {"params": state.student.params, "batch_stats": state.student.batch_stats}
    divergence = golden_js(problem.teacher.apply(teacher, values), problem.student.apply(student, values))
    assert_allclose(adversarial_loss(state), -divergence, rtol=1e-4)
    assert divergence > 1e-4
    assert abs(float(adversarial_loss(tiny_problem.with_student_like_the_teacher(state)))) < 1e-6


@pytest.mark.slow
def test_eight_devices_are_one():
    problem = tiny_problem.problem(**tiny_problem.ON_DEVICES)._replace(flip=True)
    method = DeepInversion(
        problem=problem, epochs=2, synthesis_batch_size=8, inversion_steps=2, kd_steps=2, kd_batch_size=8, l2=1e-3
    )
    (one, _), (eight, _) = (tiny_problem.after_an_epoch(method, count) for count in (1, 8))
    # Bytes, of which rounding moves a few by one.
    assert_allclose(np.int32(one.bank.images), np.int32(eight.bank.images), atol=2)
    jax.tree.map(functools.partial(assert_allclose, rtol=5e-2, atol=5e-3), one.student.params, eight.student.params)


def golden_js(teacher, student):
    p, q = (np.asarray(jax.nn.softmax(x / 3.0)) for x in (teacher, student))
    m = np.clip((p + q) / 2, 0.01, 0.99)
    p, q = np.clip(p, 0.01, 0.99), np.clip(q, 0.01, 0.99)
    return (m * (np.log(m) - 0.5 * np.log(p) - 0.5 * np.log(q))).sum(axis=1).mean()

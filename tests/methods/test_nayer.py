"""NAYER on tiny networks; no reference values of it exist here."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from ssdkd_jax import noisy_layer
from ssdkd_jax.methods.base import generate
from ssdkd_jax.methods.nayer import NAYER
from tests import tiny_problem

# Three noisy layers, of which the last makes two images.
TINY = {
    "epochs": 6,
    "warmup_epochs": 1,
    "synthesis_batch_size": 8,
    "inversion_steps": 2,
    "generator_life": 2,
    "embedding_size": 5,
    "bank_dtype": "float32",
    "kd_steps": 2,
    "kd_batch_size": 8,
}


@functools.cache
def tiny(**changes):
    return NAYER(problem=tiny_problem.problem(), **TINY | changes)


@functools.cache
def draw(**changes):
    return jax.jit(tiny(**changes).draw)


@functools.cache
def start():
    """The state before the first epoch."""
    return jax.jit(tiny().init)(jax.random.key(0), tiny_problem.teacher())


def test_an_epoch_keeps_the_states_shapes_and_dtypes():
    state, _ = jax.eval_shape(tiny().epoch, start(), tiny_problem.teacher(), jax.random.key(1))
    before, after = (jax.tree.map(lambda x: (x.shape, x.dtype), one) for one in (start(), state))
    assert before == after


def test_each_noisy_layer_is_to_make_every_class_once_and_the_last_what_is_left():
    drawn = draw()(start(), jax.random.key(0))
    assert_array_equal(drawn.layers, [0, 0, 0, 1, 1, 1, 2, 2])
    assert_array_equal(drawn.targets[:6], [0, 1, 2, 0, 1, 2])


def test_noisy_layers_are_drawn_for_every_synthesis():
    kernels = []
    for i in range(2):
        noisy = draw()(start(), jax.random.key(i)).generator["params"]["noisy"]
        assert noisy["kernel"].shape == (3, 5, 6) and not np.any(noisy["bias"])
        kernels.append(noisy["kernel"])
    assert 0.7 < np.std(kernels) < 1.3 and not np.allclose(*kernels)


def test_generator_and_embedding_live_for_their_epochs():
    """Two, counted from the first epoch and from the end of the warm-up of one: each epoch is a birthday here."""
    params = start().synthesis.generator["params"]
    for life, epoch, born in ((2, 1, True), (2, 2, True), (3, 2, False), (3, 3, True), (3, 4, True), (5, 4, False)):
        state = start()._replace(epoch=jnp.int32(epoch))
        drawn = draw(generator_life=life)(state, jax.random.key(7)).generator["params"]
        for part in ("embedding", "generator"):
            same = all(map(np.array_equal, *map(jax.tree.leaves, (drawn[part], params[part]))))
            assert same != born, (life, epoch, part)


def test_every_image_goes_through_its_own_layer():
    method = tiny()
    variables = start().synthesis.generator
    targets, layers = jnp.array([0, 1, 2, 1]), jnp.array([0, 1, 2, 0])
    params = variables["params"]
    embedding = np.asarray(params["embedding"])
    embedding = (embedding - embedding.mean(axis=0)) / np.sqrt(embedding.var(axis=0) + 1e-5)
    latents = np.stack([
        embedding[c] @ np.asarray(params["noisy"]["kernel"][layer]) + params["noisy"]["bias"][layer]
        for c, layer in ((0, 0), (1, 1), (2, 2), (1, 0))
    ])  # fmt: skip
    generator = {"params": params["generator"], "batch_stats": variables["batch_stats"]}
    expected, _ = method.problem.generator.apply(generator, latents, train=True, mutable=["batch_stats"])
    images, _ = noisy_layer.generate(functools.partial(generate, method.problem.generator), variables, targets, layers)
    assert_allclose(images, expected, atol=1e-5)


def test_a_synthesis_moves_generator_embedding_and_noisy_layers():
    method = tiny()
    drawn = draw()(start(), jax.random.key(0))
    made = jax.jit(method.make_images)(start(), tiny_problem.teacher(), drawn, jax.random.key(1))
    for part in ("embedding", "noisy", "generator"):
        moved = [not np.array_equal(*pair) for pair in zip(
            *map(jax.tree.leaves, (made.state.generator["params"][part], drawn.generator["params"][part])), strict=True
        )]  # fmt: skip
        assert all(moved), part


@pytest.mark.parametrize(("epoch", "counts"), [(0, False), (1, True)])
def test_the_adversarial_loss_sees_the_student_after_the_warmup(epoch, counts):
    """And differs in nothing from a student that is the teacher."""
    make_one_step, found = jax.jit(tiny(adv=1000.0, inversion_steps=1).make_images), []
    for sure in (0.5, 1.0):
        state = tiny_problem.with_student_like_the_teacher(start(), sure)._replace(epoch=jnp.int32(epoch))
        drawn = draw()(state, jax.random.key(1))
        found.append(make_one_step(state, tiny_problem.teacher(), drawn, jax.random.key(2)).metrics)
    assert found[0]["adversarial_loss"] < -1e-5 and abs(float(found[1]["adversarial_loss"])) < 1e-6
    assert (abs(float(found[0]["inversion_loss"] - found[1]["inversion_loss"])) > 1e-3) == counts


@pytest.mark.slow
def test_eight_devices_are_one():
    method = NAYER(problem=tiny_problem.problem(**tiny_problem.ON_DEVICES), **TINY)
    (one, _), (eight, _) = (tiny_problem.after_an_epoch(method, count, first_epoch=1) for count in (1, 8))
    assert_allclose(one.bank.images, eight.bank.images, atol=1e-2)
    for part in ("embedding", "noisy"):
        jax.tree.map(
            functools.partial(assert_allclose, rtol=5e-2, atol=1e-2),
            one.synthesis.generator["params"][part],
            eight.synthesis.generator["params"][part],
        )

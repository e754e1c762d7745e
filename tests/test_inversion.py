"""The meta-synthesis by hand; `methods/test_fastdfkd.py` compares it with PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from ssdkd_jax import inversion, losses
from ssdkd_jax.tasks import CLASSIFICATION

# A generator with one parameter: images are latents * w.
OPTIMIZERS = inversion.Optimizers(optax.sgd(0.1), optax.sgd(0.0), optax.sgd(1.0))
SHAPE = (1, 1, 1)


def generate(variables, latents):
    return (variables["params"]["w"] * latents)[:, None, None, :], {"calls": variables["batch_stats"]["calls"] + 1}


def start(w, latents, optimizers=OPTIMIZERS):
    generator = {"params": {"w": jnp.float32(w)}, "batch_stats": {"calls": jnp.int32(0)}}
    return generator, inversion.begin_synthesis(generator, jnp.array(latents), optimizers, SHAPE, jnp.float32(0))


def distance_from_one(images):
    loss = jnp.mean(jnp.square(images - 1))
    return loss, (jnp.mean(images), {"loss": loss})


def run(state, steps, optimizers=OPTIMIZERS):
    """States after each step."""
    states = []
    for _ in range(steps):
        state, _ = inversion.inversion_step(state, distance_from_one, generate, optimizers)
        states.append(state)
    return states


def test_a_step_by_hand():
    """w = 2, z = 1: the image is 2, the loss 1, its slope 2 in w and 4 in z."""
    optimizers = OPTIMIZERS._replace(latents=optax.sgd(0.01))
    _, state = start(2.0, [[1.0]], optimizers)
    state, metrics = inversion.inversion_step(state, distance_from_one, generate, optimizers)
    assert_allclose(state.generator["params"]["w"], 1.8, rtol=1e-6)
    assert_allclose(state.latents, [[0.96]], rtol=1e-6)
    assert_allclose(state.gradient_sum["w"], 2)
    assert_allclose(state.best_images.ravel(), [2.0])
    assert_allclose((state.best_loss, metrics["loss"], state.statistics), (1, 1, 2))
    assert state.generator["batch_stats"]["calls"] == 1


def test_best_images_are_those_of_the_lowest_loss():
    improving = run(start(2.0, [[1.0]])[1], 3)
    assert_allclose([s.best_images.item() for s in improving], [2, 1.8, 1.64], rtol=1e-5)
    # The slope's step overshoots: w goes 2, -1, 5.
    overshooting = OPTIMIZERS._replace(generator=optax.sgd(1.5))
    worsening = run(start(2.0, [[1.0]], overshooting)[1], 3, overshooting)
    assert_allclose([s.generator["params"]["w"] for s in worsening], [-1, 5, -7], rtol=1e-5)
    assert_allclose([s.best_images.item() for s in worsening], [2, 2, 2], rtol=1e-5)
    assert_allclose([s.best_loss for s in worsening], [1, 1, 1], rtol=1e-5)


def test_devices_make_what_one_device_makes():
    optimizers = inversion.fastdfkd_optimizers(0.1, 0.1, steps=3)
    # Adam hides a gradient's size, SGD shows it.
    optimizers = optimizers._replace(latents=optax.sgd(0.1))
    latents = [[0.5], [1.0], [2.0], [-1.0]]
    generator, state = start(2.0, latents, optimizers)
    whole = run(state, 3, optimizers)[-1]

    def on_a_device(latents):
        state = inversion.begin_synthesis(generator, latents, optimizers, SHAPE, jnp.float32(0))
        for _ in range(3):
            state, _ = inversion.inversion_step(state, distance_from_one, generate, optimizers, axis_name="devices")
        return state

    parts = jax.vmap(on_a_device, axis_name="devices")(jnp.reshape(jnp.array(latents), (2, 2, 1)))
    for ours, expected in (
        (parts.latents.ravel(), whole.latents.ravel()),
        (parts.best_images.ravel(), whole.best_images.ravel()),
        (parts.generator["params"]["w"], [whole.generator["params"]["w"]] * 2),
        (parts.gradient_sum["w"], [whole.gradient_sum["w"]] * 2),
        (parts.best_loss, [whole.best_loss] * 2),
    ):
        assert_allclose(ours, expected, rtol=1e-5)


# ---- the meta update


def test_fomaml_takes_the_sum_of_the_fast_gradients():
    generator, state = start(2.0, [[1.0]])
    state = run(state, 2)[-1]  # slopes 2 and 1.6
    updated, _ = inversion.meta_update("fomaml", generator, state, OPTIMIZERS.meta, OPTIMIZERS.meta.init({}))
    assert_allclose(updated["params"]["w"], 2 - 3.6, rtol=1e-5)
    assert updated["batch_stats"]["calls"] == 2


def test_reptile_takes_67_times_the_way_as_gradient_into_adam():
    generator, state = start(2.0, [[1.0]])
    state = run(state, 2)[-1]  # w goes 2, 1.8, 1.64
    by_sgd, _ = inversion.meta_update("reptile", generator, state, OPTIMIZERS.meta, OPTIMIZERS.meta.init({}))
    assert_allclose(by_sgd["params"]["w"], 2 - 67 * 0.36, rtol=1e-5)

    adam = inversion.fastdfkd_optimizers(0.01, 0.1, steps=5).meta
    by_adam, adam_state = inversion.meta_update("reptile", generator, state, adam, adam.init(generator["params"]))
    gradient = 67 * 0.36
    assert_allclose(by_adam["params"]["w"], 2 - 0.05, rtol=1e-6)  # a first step is the learning rate
    assert_allclose(adam_state[0].mu["w"], 0.5 * gradient, rtol=1e-5)
    assert_allclose(adam_state[0].nu["w"], 0.001 * gradient**2, rtol=1e-4)
    # A second one from where the first arrived, against w_fast = 1.64 still.
    again, _ = inversion.meta_update("reptile", by_adam, state, adam, adam_state)
    second = 67 * 0.31
    m = (0.25 * gradient + 0.5 * second) / (1 - 0.5**2)
    v = 0.001 * (0.999 * gradient**2 + second**2) / (1 - 0.999**2)
    assert_allclose(again["params"]["w"], 1.95 - 0.05 * m / np.sqrt(v), rtol=1e-5)


def test_without_meta_update_the_fast_copy_stays():
    generator, state = start(2.0, [[1.0]])
    state = run(state, 2)[-1]
    updated, meta_state = inversion.meta_update("none", generator, state, OPTIMIZERS.meta, "untouched")
    assert updated is state.generator
    assert meta_state == "untouched"


def test_an_unknown_meta_update_is_refused():
    with pytest.raises(ValueError, match="fomaml, reptile, none"):
        inversion.meta_update("maml", *start(2.0, [[1.0]]), OPTIMIZERS.meta, ())


# ---- the loss

TEACHER = jnp.array([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0], [1.0, 1.5, 4.0]])
STUDENT = jnp.array([[2.0, 0.0, 0.5], [1.0, 0.0, 1.5], [0.0, 0.5, 1.0]])
STATISTICS = {"bn": {"mean": jnp.array([2.0]), "var": jnp.array([1.0])}}
AVERAGE = {"bn": {"mean": jnp.array([6.0]), "var": jnp.array([1.0])}}
RUNNING = {"bn": {"mean": jnp.array([1.0]), "var": jnp.array([4.0])}}


def loss_and_metrics(targets=None, **changes):
    defaults = {
        "task": CLASSIFICATION,
        "weights": inversion.LossWeights(bn=10.0, oh=0.5, adv=2.0),
        "running": RUNNING,
        "average": AVERAGE,
        "bn_momentum": 0.0,
        "class_counts": jnp.array([5, 3, 2]),
        "modulate": inversion.Modulation(gamma=2.0),
    }
    return inversion.inversion_loss(TEACHER, STATISTICS, STUDENT, targets, **(defaults | changes))


def test_the_loss_is_the_weighted_sum_of_its_terms():
    loss, metrics = loss_and_metrics()
    confidence = np.asarray(jax.nn.softmax(TEACHER)).max(1)
    phi = np.array([0.5, 0.7, 0.8]) * (1 - confidence) ** 2
    task = np.mean(phi * -np.log(confidence))  # against the teacher's own classes
    adversarial = np.mean(losses.adversarial(TEACHER, STUDENT))
    assert_allclose(metrics["task_loss"], task, rtol=1e-4)
    assert_allclose(metrics["adversarial_loss"], adversarial, rtol=1e-4)
    assert_allclose(metrics["phi"], phi.mean(), rtol=1e-4)
    assert_allclose(metrics["teacher_confidence"], confidence.mean(), rtol=1e-5)
    assert_allclose(metrics["bn_loss"], 1 + 3, rtol=1e-5)
    assert_allclose(loss, 10 * 4 + 0.5 * task + 2 * adversarial, rtol=1e-5)


def test_the_average_takes_its_share_of_the_statistics():
    # 0.1 * 2 + 0.9 * 6 = 5.6, a distance of 4.6 from the running mean 1.
    assert_allclose(loss_and_metrics(bn_momentum=0.9)[1]["bn_loss"], 4.6 + 3, rtol=1e-5)


def test_drawn_targets_take_the_place_of_the_own_class():
    unmodulated = inversion.Modulation(term="none")
    _, metrics = loss_and_metrics(jnp.array([1, 1, 1]), modulate=unmodulated)
    assert_allclose(metrics["task_loss"], -np.mean(jax.nn.log_softmax(TEACHER)[:, 1]), rtol=1e-5)


def test_the_mask_of_the_adversarial_loss_can_be_lifted():
    unmasked = loss_and_metrics(masked=False)[1]["adversarial_loss"]
    assert_allclose(unmasked, -np.mean(losses.kl_divergence(TEACHER, STUDENT)), rtol=1e-5)
    assert unmasked < loss_and_metrics()[1]["adversarial_loss"]


def test_begin_synthesis_starts_afresh():
    generator, state = start(2.0, [[1.0], [3.0]])
    assert_array_equal(state.best_images, np.zeros((2, *SHAPE)))
    assert np.isinf(state.best_loss)
    assert state.generator is generator
    assert state.gradient_sum["w"] == 0

"""Inversion steps and the meta-synthesis by hand; `methods/test_fastdfkd.py` compares them with PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from ssdkd_jax import inversion
from ssdkd_jax.errors import UserError
from ssdkd_jax.inversion import MetaOptimizers, MetaState, StepOutcome

# A generator with one parameter: images are latents * w.
OPTIMIZERS = {"w": optax.sgd(0.1), "latents": optax.sgd(0.0)}
SHAPE = (1, 1, 1)


def evaluate(optimized, batch_stats):
    """The squared distance of images from 1."""
    images = (optimized["w"] * optimized["latents"])[:, None, None, :]
    loss = jnp.mean(jnp.square(images - 1))
    return loss, StepOutcome(images, {"calls": batch_stats["calls"] + 1}, {"loss": loss}, jnp.mean(images))


def start(w, latents, optimizers=OPTIMIZERS):
    optimized = {"w": jnp.float32(w), "latents": jnp.array(latents)}
    kept = jax.ShapeDtypeStruct((len(latents), *SHAPE), jnp.float32)
    return inversion.init(optimized, optimizers, kept, {"calls": jnp.int32(0)})


def run(state, steps, optimizers=OPTIMIZERS, **kwargs):
    """[(state, gradients)] after each step."""
    found = []
    for _ in range(steps):
        state, gradients, _ = inversion.inversion_step(state, evaluate, optimizers, per_device=("latents",), **kwargs)
        found.append((state, gradients))
    return found


def test_a_step_by_hand():
    """w = 2, z = 1: the image is 2, the loss 1, its slope 2 in w and 4 in z."""
    optimizers = {**OPTIMIZERS, "latents": optax.sgd(0.01)}
    state, gradients, found = inversion.inversion_step(start(2.0, [[1.0]], optimizers), evaluate, optimizers)
    assert_allclose(state.optimized["w"], 1.8, rtol=1e-6)
    assert_allclose(state.optimized["latents"], [[0.96]], rtol=1e-6)
    assert_allclose(gradients["w"], 2)
    assert_allclose(state.best.ravel(), [2.0])
    assert_allclose((state.best_loss, found.metrics["loss"], found.statistics), (1, 1, 2))
    assert state.batch_stats["calls"] == 1


def test_best_images_are_those_of_the_lowest_loss():
    improving = [state for state, _ in run(start(2.0, [[1.0]]), 3)]
    assert_allclose([s.best.item() for s in improving], [2, 1.8, 1.64], rtol=1e-5)
    # The slope's step overshoots: w goes 2, -1, 5.
    overshooting = {**OPTIMIZERS, "w": optax.sgd(1.5)}
    worsening = [state for state, _ in run(start(2.0, [[1.0]], overshooting), 3, overshooting)]
    assert_allclose([s.optimized["w"] for s in worsening], [-1, 5, -7], rtol=1e-5)
    assert_allclose([s.best.item() for s in worsening], [2, 2, 2], rtol=1e-5)
    assert_allclose([s.best_loss for s in worsening], [1, 1, 1], rtol=1e-5)


def test_devices_make_what_one_device_makes():
    # Adam hides a gradient's size, SGD shows it.
    optimizers = {"w": optax.adam(0.1, b1=0.5), "latents": optax.sgd(0.1)}
    latents = [[0.5], [1.0], [2.0], [-1.0]]
    whole, whole_gradients = run(start(2.0, latents, optimizers), 3, optimizers)[-1]

    def on_a_device(latents):
        return run(start(2.0, latents, optimizers), 3, optimizers, axis_name="devices")[-1]

    halves = jnp.reshape(jnp.array(latents), (2, 2, 1))
    parts, part_gradients = jax.vmap(on_a_device, axis_name="devices")(halves)
    for ours, expected in (
        (parts.optimized["latents"].ravel(), whole.optimized["latents"].ravel()),
        (parts.best.ravel(), whole.best.ravel()),
        (parts.optimized["w"], [whole.optimized["w"]] * 2),
        (part_gradients["w"], [whole_gradients["w"]] * 2),
        (parts.best_loss, [whole.best_loss] * 2),
    ):
        assert_allclose(ours, expected, rtol=1e-5)


def test_nothing_is_made_before_the_first_step():
    state = start(2.0, [[1.0], [3.0]])
    assert_array_equal(state.best, np.zeros((2, *SHAPE)))
    assert np.isinf(state.best_loss)


# ---- the meta-synthesis


def generate(variables, latents):
    return evaluate({"w": variables["params"]["w"], "latents": latents}, variables["batch_stats"])[1].kept, {
        **variables,
        "batch_stats": {"calls": variables["batch_stats"]["calls"] + 1},
    }


def loss_function(images, key):
    loss = jnp.mean(jnp.square(images - 1))
    return loss, jnp.mean(images), {"loss": loss}


def synthesize(kind, steps=2, meta=None, latents=((1.0,),), **changes):
    """Synthesis from w = 2; the fast copy's SGD has a rate of 0.1, so that w goes 2, 1.8, 1.64 for a latent of 1."""
    meta = meta or optax.sgd(1.0)
    optimizers = MetaOptimizers(optax.sgd(0.1), optax.sgd(0.0), meta)
    generator = {"params": {"w": jnp.float32(2.0)}, "batch_stats": {"calls": jnp.int32(0)}}
    state = MetaState(generator, meta.init(generator["params"]), jnp.float32(10.0))
    arguments = {"loss_function": loss_function, "generate": generate, "optimizers": optimizers, "steps": steps}
    return inversion.meta_synthesis(
        state, jnp.array(latents), jax.random.key(0), **arguments, meta_update=kind, **changes
    )


def test_fomaml_takes_the_sum_of_the_fast_gradients():
    made = synthesize("fomaml")  # slopes 2 and 1.6
    assert_allclose(made.state.generator["params"]["w"], 2 - 3.6, rtol=1e-5)
    assert made.state.generator["batch_stats"]["calls"] == 2
    assert_allclose(made.images.ravel(), [1.8], rtol=1e-5)
    assert_allclose(made.metrics["loss"], (1 + 0.64) / 2, rtol=1e-5)
    assert_array_equal(made.latents, [[1.0]])


def test_reptile_takes_67_times_the_way_as_gradient_into_adam():
    by_sgd = synthesize("reptile").state
    assert_allclose(by_sgd.generator["params"]["w"], 2 - 67 * 0.36, rtol=1e-5)

    adam = inversion.meta_optimizers(0.01, 0.1, steps=5).meta
    by_adam = synthesize("reptile", meta=adam).state
    gradient = 67 * 0.36
    assert_allclose(by_adam.generator["params"]["w"], 2 - 0.05, rtol=1e-6)  # a first step is the learning rate
    assert_allclose(by_adam.optimizer_state[0].mu["w"], 0.5 * gradient, rtol=1e-5)
    assert_allclose(by_adam.optimizer_state[0].nu["w"], 0.001 * gradient**2, rtol=1e-4)
    # A second one from where the first arrived, against w_fast = 1.64 still.
    fast = {"params": {"w": jnp.float32(1.64)}, "batch_stats": {}}
    again, _ = inversion.update_meta_generator("reptile", by_adam.generator, fast, {}, adam, by_adam.optimizer_state)
    second = 67 * 0.31
    m = (0.25 * gradient + 0.5 * second) / (1 - 0.5**2)
    v = 0.001 * (0.999 * gradient**2 + second**2) / (1 - 0.999**2)
    assert_allclose(again["params"]["w"], 1.95 - 0.05 * m / np.sqrt(v), rtol=1e-5)


def test_without_meta_update_the_fast_copy_becomes_the_generator():
    assert_allclose(synthesize("none").state.generator["params"]["w"], 1.64, rtol=1e-5)


def test_an_unknown_meta_update_is_refused():
    with pytest.raises(ValueError, match="fomaml, reptile, none"):
        synthesize("maml")


def test_the_average_of_statistics_follows_once_a_synthesis():
    """The last step's statistic is 1.8, the average was 10; the first synthesis has none."""
    assert_allclose(synthesize("none", bn_momentum=0.9).state.statistics_average, 0.1 * 1.8 + 0.9 * 10, rtol=1e-5)
    assert_allclose(synthesize("none", bn_momentum=0.9, first=True).state.statistics_average, 1.8, rtol=1e-5)


def test_learning_rates_of_the_three_optimizers():
    """Adam's first step is its learning rate, the meta generator's the sum of all steps'."""
    optimizers = inversion.meta_optimizers(0.01, 0.1, steps=5)
    for name, rate in (("generator", 0.01), ("latents", 0.1), ("meta", 0.05)):
        optimizer = getattr(optimizers, name)
        update, _ = optimizer.update(jnp.float32(5), optimizer.init(jnp.float32(0)))
        assert_allclose(update, -rate, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (None, "make_images of Mine returns a NoneType, expected a ssdkd_jax.inversion.Synthesis"),
        (
            inversion.Synthesis((), jnp.zeros((3, 8, 8, 1)), {}),
            r"returns images \(3, 8, 8, 1\) of float32, expected \(4,",
        ),
        (inversion.Synthesis((), jnp.zeros((4, 8, 8, 1), jnp.uint8), {}), "of uint8, expected .* of float32 in"),
    ],
    ids=["nothing", "too few", "bytes"],
)
def test_what_a_method_of_ones_own_makes_is_checked(made, expected):
    with pytest.raises(UserError, match=expected):
        inversion.check_images(made, (4, 8, 8, 1), "Mine")

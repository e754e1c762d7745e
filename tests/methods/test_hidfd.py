"""HiDFD on tiny networks: both stages, on one device and on several."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from ssdkd_jax import models, replay_buffer, tasks
from ssdkd_jax.errors import UserError
from ssdkd_jax.methods import METHODS
from ssdkd_jax.methods.base import Problem
from ssdkd_jax.methods.hidfd import HiDFD
from ssdkd_jax.models import simkd
from ssdkd_jax.models.layers import Layers
from ssdkd_jax.training import devices

CLASSES, IMAGE_SHAPE = 3, (8, 8, 1)
TINY = {
    "epochs": 2,
    "warmup_epochs": 1,
    "collected_images": 12,
    "generated_images": 20,
    "inflation": 2.0,
    "synthesis_batch_size": 8,
    "gan_steps": 2,
    "latent_size": 4,
    "width": 4,
    "average_from": 2,
    "kd_steps": 2,
    "kd_batch_size": 8,
    "resized_crop": 0.5,
}


class OneConvolution(nn.Module):
    layers: Layers
    features: int

    @nn.compact
    def __call__(self, x, train=False, return_features=False):
        x = self.layers.conv(self.features, 3, "conv", stride=2)(x)
        x = nn.relu(self.layers.batch_norm(train, "bn")(x))
        return self.layers.classify(x, CLASSES, "fc", return_features=return_features)


def problem(distillation="simkd", axis_name=None):
    layers = Layers(bn_axis_name=axis_name, conv_general_dilated=models.loop_friendly_conv_general_dilated)
    teacher, student = (OneConvolution(layers, features) for features in (6, 4))
    if distillation == "simkd":
        student = simkd.SimKD(student, functools.partial(simkd.map_shape, teacher), CLASSES, layers)
    generator = models.create_generator(
        IMAGE_SHAPE, 4, 4, bn_axis_name=axis_name, conv_general_dilated=layers.conv_general_dilated
    )
    return Problem(
        teacher, student, generator, tasks.CLASSIFICATION, IMAGE_SHAPE, CLASSES, (0.5,), (0.2,), axis_name=axis_name
    )


@functools.cache
def teacher():
    """Variables, and collected images with the classes that it sees."""
    module = problem().teacher
    variables = jax.jit(module.init)(jax.random.key(9), jnp.zeros((1, *IMAGE_SHAPE)))
    images = np.random.default_rng(0).integers(0, 256, (12, *IMAGE_SHAPE), dtype=np.uint8)
    return {**variables, "given": {"images": images, "labels": np.arange(12, dtype=np.int32) % CLASSES}}


def method(distillation="simkd", count=0, **settings):
    return HiDFD(
        problem=problem(distillation, devices.AXIS if count else None), distillation=distillation, **(TINY | settings)
    )


@functools.cache
def states(count):
    """(states, metrics): the initial state and that after every epoch, on so many devices; metrics of every epoch.

    Several devices begin each epoch with the state of one, since images are rounded to 8 bits and that grows.
    """
    of, chosen = method(count=count), devices.local_devices(count)
    start = jax.jit(of.init)(jax.random.key(0), teacher())
    sharded = of.sharded(start)
    epoch = devices.pmap(of.epoch, chosen, in_axes=(0, 0, None))
    there, found, metrics = devices.spread(teacher(), chosen), [start], []
    for number in range(of.epochs):
        before = found[-1] if count == 1 else states(1)[0][number]
        after, measured = epoch(devices.spread(before, chosen, sharded), there, jax.random.key(number))
        found.append(devices.gather(after, start, sharded))
        metrics.append({name: float(value) for name, value in devices.gather(measured).items()})
    return found, metrics


def test_stage_1_trains_the_gan_and_fills_the_bank():
    (before, after, _), (metrics, _) = states(1)
    assert after.gan.steps == 2 and after.gan.new_counts.sum() == 0
    assert_allclose(after.gan.counts.sum(), 0.5 * (3 * 50 + 16), rtol=1e-6)
    assert np.all(after.bank.valid) and set(after.bank.predicted_class) <= set(range(CLASSES))
    jax.tree.map(assert_array_equal, after.student.params, before.student.params)
    for part in ("generator", "discriminator"):
        kinds = getattr(before.gan, part).keys()
        assert all(differs(getattr(before.gan, part)[kind], getattr(after.gan, part)[kind]) for kind in kinds)
    assert 0 < metrics["diversity"] < 1
    # Of what the student will see.
    in_bank = replay_buffer.class_counts(after.bank, CLASSES)
    assert_allclose(metrics["class_entropy"], replay_buffer.evenness(in_bank), atol=1e-5)


def differs(one, other):
    return any(jax.tree.leaves(jax.tree.map(lambda a, b: not np.array_equal(a, b), one, other)))


def test_stage_2_trains_the_student_alone_and_not_the_teachers_classifier():
    (_, before, after), metrics = states(1)
    jax.tree.map(assert_array_equal, (before.gan, before.bank), (after.gan, after.bank))
    changed = {name: differs(before.student.params[name], after.student.params[name]) for name in after.student.params}
    assert changed.pop(simkd.CLASSIFIER) is False and all(changed.values())
    jax.tree.map(assert_array_equal, after.student.params[simkd.CLASSIFIER], teacher()["params"]["fc"])
    assert metrics[1]["student_loss"] > 0 and metrics[0]["learning_rate"] == pytest.approx(0.05)


def test_the_average_is_a_copy_first():
    """The second of two steps is the first that is averaged."""
    gan, start = states(1)[0][1].gan, states(1)[0][0].gan
    for part in gan.average:
        assert differs(gan.average[part], gan.generator[part]) and differs(gan.average[part], start.generator[part])


def test_several_devices_compute_what_one_computes():
    (one, of_one), (two, of_two) = states(1), states(2)
    for state, other in zip(one[1:], two[1:], strict=True):
        jax.tree.map(functools.partial(assert_allclose, rtol=1e-4, atol=1e-5), other.student, state.student)
        jax.tree.map(
            functools.partial(assert_allclose, rtol=1e-4, atol=1e-5), other.gan.discriminator, state.gan.discriminator
        )
        assert_array_equal(other.gan.counts, state.gan.counts)
        assert np.abs(other.bank.images.astype(int) - state.bank.images).max() <= 1
    for measured, other in zip(of_one, of_two, strict=True):
        assert other == pytest.approx(measured, rel=1e-3, abs=1e-4)


def test_replay_weighs_by_priority_and_phi():
    of = method("kd", replay=True, alpha=1.0, gamma=1.0)
    bank = replay_buffer.init(20, IMAGE_SHAPE)._replace(
        valid=jnp.ones(20, bool),
        priority=jnp.where(jnp.arange(20) < 10, 3.0, 1.0),
        predicted_class=jnp.zeros(20, jnp.int32).at[0].set(1),
        confidence=jnp.full(20, 0.5),
    )
    indices, weights = of.sample(bank, jax.random.key(0))
    assert (indices < 10).mean() == 0.75 and weights.mean() == pytest.approx(1)
    rare, common = weights[indices == 0], weights[(indices > 0) & (indices < 10)]
    assert np.all(rare > 10 * common[0]) and len(set(np.asarray(common).round(5))) == 1
    assert (of.images_made(0), of.images_made(1)) == (24, 8)


def test_only_collected_images():
    of = method("kd", generated_images=0, warmup_epochs=0)
    state = of.init(jax.random.key(0), teacher())
    assert (state.gan, state.bank) == ((), ()) and of.buffer(state) is None and not of.synthesizes(0)
    assert of.held_out(state, teacher(), jax.random.key(0)).shape == (8, *IMAGE_SHAPE)


def test_a_collapse_is_told_when_stage_1_ends():
    of, fine = method(), {"diversity": 0.9, "class_entropy": 0.9}
    assert of.concern(0, fine) == of.concern(1, {}) == ""
    assert "differ 5 % as much" in of.concern(0, fine | {"diversity": 0.05})
    assert "entropy is 10 %" in of.concern(0, fine | {"class_entropy": 0.1})


def test_a_rate_that_falls_in_steps_has_no_final_one():
    assert method(student_learning_rate=1e-5).student_final_learning_rate > 1e-5
    with pytest.raises(ValueError, match=r"student_final_learning_rate is 0\.0002, expected at most"):
        method(student_learning_rate=1e-5, student_schedule="cosine")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"generated_images": 5}, "generated_images is 5, expected 0 or at least one batch"),
        ({"generated_images": 0}, "warmup_epochs is 1, expected 0, with generated_images=0"),
        ({"warmup_epochs": 0}, "warmup_epochs is 0, expected at least 1"),
        ({"generated_images": 0, "warmup_epochs": 0, "inflation": 0.0}, "inflation is 0.0, but generated_images=0"),
        ({"generated_images": 0, "warmup_epochs": 0, "replay": True}, "replay is True, but generated_images=0"),
    ],
)
def test_settings_that_contradict_each_other(settings, expected):
    with pytest.raises(ValueError, match=expected):
        method(**settings)


def test_simkd_needs_networks_of_the_registry():
    with pytest.raises(UserError, match="distillation=kd"):
        HiDFD.student_network("net.py:make", "convnet_8", {"distillation": "simkd"})


def test_settings_without_effect():
    values = METHODS["hidfd"].settings
    assert {"alpha", "temperature", "student_final_learning_rate"} == HiDFD.unread(values).keys() - {"beta", "gamma"}
    assert "width" in HiDFD.unread(values | {"generated_images": 0})

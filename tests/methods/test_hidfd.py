"""HiDFD on tiny networks: both stages, on one device and on several."""

import functools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from numpy.testing import assert_allclose, assert_array_equal

from ssdkd_jax import guided_gan, models, replay_buffer, tasks
from ssdkd_jax.methods import METHODS
from ssdkd_jax.methods.base import Problem
from ssdkd_jax.methods.hidfd import HiDFD
from ssdkd_jax.models import simkd
from ssdkd_jax.models.discriminators import GuidedDiscriminator, PlainDiscriminator
from ssdkd_jax.models.layers import Layers
from ssdkd_jax.models.spectral_norm import COLLECTION
from ssdkd_jax.training import devices
from ssdkd_jax.training.checkpoints import Checkpoints

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
    images = tasks.CLASSIFICATION, IMAGE_SHAPE, CLASSES, (0.5,), (0.2,)
    return Problem(teacher, student, None, *images, axis_name=axis_name, layers=layers)


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


# Everything that the default does not do, on the generator and discriminator of the released script.
OTHER = {
    **{"distillation": "kd", "replay": True, "discriminator": "plain", "integration_gradient": False},
    **{"smoothing_counts": False, "shared_embedding": False, "kd_steps": 3},
}


@functools.cache
def runner(count, other=False):
    """(initial state, epoch: (state, number) -> (state, metrics)) on so many devices; states as one device has them."""
    of = method(**(OTHER if other else {}), count=count)
    chosen = devices.local_devices(count)
    start = jax.jit(of.init)(jax.random.key(0), teacher())
    sharded = of.sharded(start)
    program, there = devices.pmap(of.epoch, chosen, in_axes=(0, 0, None)), devices.spread(teacher(), chosen)

    def epoch(state, number):
        after, measured = program(devices.spread(state, chosen, sharded), there, jax.random.key(number))
        return devices.gather(after, start, sharded), {
            name: float(value) for name, value in devices.gather(measured).items()
        }

    return start, epoch


@functools.cache
def states(count, other=False):
    """(states, metrics): the initial state and that after every epoch, on so many devices; metrics of every epoch.

    Several devices begin each epoch with the state of one, since images are rounded to 8 bits and that grows.
    """
    start, epoch = runner(count, other)
    found, metrics = [start], []
    for number in range(TINY["epochs"]):
        before = found[-1] if count == 1 else states(1, other)[0][number]
        after, measured = epoch(before, number)
        found.append(after)
        metrics.append(measured)
    return found, metrics


@pytest.mark.slow
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


def named(variables):
    return traverse_util.flatten_dict(jax.device_get(variables), sep=".")


# Biases whose gradients are rounding, since a BatchNorm with the batch's statistics follows; Adam makes steps of it.
UNDETERMINED = {f"params.blocks.0.0.{name}.bias" for name in ("conv1", "conv2", "conv_sc")}


@pytest.mark.slow
@pytest.mark.parametrize("other", [False, True])
def test_several_devices_compute_what_one_computes(other):
    (one, of_one), (two, of_two) = states(1, other), states(2, other)
    close = functools.partial(assert_allclose, rtol=1e-4, atol=1e-5)
    for state, of_several in zip(one[1:], two[1:], strict=True):
        jax.tree.map(close, of_several.student, state.student)
        jax.tree.map(close, of_several.gan.discriminator, state.gan.discriminator)
        for part in ("generator", "average"):
            found, expected, before = (named(getattr(x.gan, part)) for x in (of_several, state, one[0]))
            for name in expected.keys() - UNDETERMINED:
                changed = np.linalg.norm(expected[name] - before[name])
                assert np.linalg.norm(found[name] - expected[name]) < 5e-3 * changed, name
        assert_array_equal(of_several.gan.counts, state.gan.counts)
        assert_allclose(of_several.bank.priority, state.bank.priority, rtol=1e-3)
        assert np.abs(of_several.bank.images.astype(int) - state.bank.images).max() <= 1
    for measured, of_several in zip(of_one, of_two, strict=True):
        assert of_several == pytest.approx(measured, rel=1e-3, abs=1e-4)


@pytest.mark.slow
def test_replay_replaces_a_batch_and_learns_priorities():
    """In stage 2 a batch enters the bank, and what was drawn has its loss there; the networks are the script's."""
    (_, before, after), (_, metrics) = states(1, True)
    assert differs(before.student, after.student) and metrics["student_loss"] > 0
    new = np.any(before.bank.images != after.bank.images, axis=(1, 2, 3))
    assert 0 < new.sum() <= TINY["synthesis_batch_size"]
    drawn = after.bank.priority != before.bank.priority
    assert np.any(drawn & ~new) and np.all(np.isfinite(after.bank.priority))
    # No counts, as in the released code.
    assert_array_equal(after.gan.counts, guided_gan.FIRST_COUNT)


# The other settings take as long again to compile.
@pytest.mark.parametrize("other", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_checkpoint_of_stage_1_goes_on_bit_for_bit(tmp_path, other):
    """Singular vectors, conditional BatchNorm, the moving average and both optimizers are in it."""
    (_, before, after), _ = states(1, other)
    assert {"params", "batch_stats", COLLECTION} == set(before.gan.generator)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, jax.device_get(before), {"epoch": 1})
    restored, _ = checkpoints.restore(jax.eval_shape(lambda: before))
    checkpoints.close()
    resumed, _ = runner(1, other)[1](restored, 1)
    jax.tree.map(assert_array_equal, resumed, after)


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


def test_replay_of_a_single_class_weighs_by_priority_alone():
    of = method("kd", replay=True)
    bank = replay_buffer.init(20, IMAGE_SHAPE)._replace(valid=jnp.ones(20, bool), confidence=jnp.full(20, 0.5))
    _, weights = of.sample(bank, jax.random.key(0))
    assert_allclose(weights, 1, rtol=1e-6)


@pytest.mark.parametrize(
    "shape", [(28, 28, 1), *(pytest.param((size, size, 3), marks=pytest.mark.slow) for size in (64, 128))]
)
def test_an_epoch_fits_all_sizes_of_images(shape):
    """Traced with the networks of the registry, which ends where shapes do not fit."""
    layers = {"bn_axis_name": None, "conv_general_dilated": None}
    architecture = HiDFD.student_network("resnet20", "resnet18", {"distillation": "simkd"})
    networks = models.create_model("resnet18", CLASSES, **layers), models.create_model(architecture, CLASSES, **layers)
    of = HiDFD(problem=Problem(*networks, None, tasks.CLASSIFICATION, shape, CLASSES, (0.5,), (0.2,)), **TINY)
    variables = jax.eval_shape(networks[0].init, jax.random.key(0), jnp.zeros((1, *shape)))
    given = jax.ShapeDtypeStruct((12, *shape), jnp.uint8), jax.ShapeDtypeStruct((12,), jnp.int32)
    there = {**variables, "given": dict(zip(("images", "labels"), given, strict=True))}
    state = jax.eval_shape(of.init, jax.random.key(0), there)
    after, _ = jax.eval_shape(of.epoch, state, there, jax.random.key(0))
    jax.tree.map(lambda one, other: chex.assert_equal_shape([one, other]), state, after)
    assert state.bank.images.shape == (20, *shape)


def test_only_collected_images():
    of = method("kd", generated_images=0, warmup_epochs=0)
    state = of.init(jax.random.key(0), teacher())
    assert (state.gan, state.bank) == ((), ()) and of.buffer(state) is None and not of.synthesizes(0)
    assert of.held_out(state, teacher(), jax.random.key(0)).shape == (8, *IMAGE_SHAPE)


def test_diversity_is_that_within_classes():
    """Images that follow from their class alone have none, however much the classes differ."""
    of, gan = method(), states(1)[0][1].gan
    fakes, others = of.draw(jax.random.key(0)), of.draw(jax.random.key(1))
    spread = jax.jit(functools.partial(guided_gan.spread_within_classes, of.gan(teacher())))
    assert spread(gan, fakes, fakes.latents) < 1e-6
    sample = jax.jit(functools.partial(guided_gan.sample, of.gan(teacher())))
    first, second = (sample(gan, fakes._replace(latents=x.latents)) for x in (fakes, others))
    assert guided_gan.pixel_spread(first) > 1e-3
    by_hand = np.sqrt(np.mean((np.asarray(first) - second) ** 2, axis=0) / 2).mean()
    assert_allclose(spread(gan, fakes, others.latents), by_hand, rtol=1e-4)
    assert by_hand > 1e-3


def test_a_collapse_is_told_when_stage_1_ends():
    of, fine = method(), {"diversity": 0.9, "class_entropy": 0.9, "collected_class_entropy": 1.0}
    fine["discriminator_loss"] = 1.9
    assert of.concern(0, fine) == of.concern(1, {}) == ""
    assert "of a class differ 5 % as much" in of.concern(0, fine | {"diversity": 0.05})
    few = fine | {"class_entropy": 0.1}
    assert "entropy is 10 % of the largest possible, that of the collected images 100 %" in of.concern(0, few)
    alike = of.concern(0, few | {"collected_class_entropy": 0.2})
    assert "makes few classes, as those of the collected images are: their entropy is 10 %" in alike
    assert alike.endswith("of each: collected_by=classes")
    assert "its hinge loss is 0.01, 2 where it cannot" in of.concern(0, fine | {"discriminator_loss": 0.011})


@pytest.mark.parametrize(
    ("name", "discriminator", "as_meant"),
    [("hidfd", GuidedDiscriminator, True), ("hidfd_released", PlainDiscriminator, False)],
)
def test_presets_train_the_gan_of_the_golden_rounds(name, discriminator, as_meant):
    """Those "guided_integrated", with the shared embedding of "guided_shared", and "script"."""
    of = HiDFD(problem=problem(), **METHODS[name].settings)
    gan = of.gan(teacher())
    assert isinstance(gan.discriminator, discriminator)
    assert gan.generator.shared == of.smoothing_counts == as_meant
    assert gan[3:] == guided_gan.GAN(None, None, None, integrate=as_meant)[3:]


def test_the_plain_discriminator_sees_images_from_minus_one_to_one():
    images = jnp.zeros((2, *IMAGE_SHAPE)).at[0].set(1.0)
    seen = method(discriminator="plain").see(teacher(), images).judged
    assert np.all(seen[0] == 1) and np.all(seen[1] == -1)


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
        ({"warmup_epochs": 0, "epochs": 1}, "and another epoch for the student: --config.epochs=2 or more"),
        ({"generated_images": 0, "warmup_epochs": 0, "inflation": 0.0}, "inflation is 0.0, but generated_images=0"),
        ({"generated_images": 0, "warmup_epochs": 0, "replay": True}, "replay is True, but generated_images=0"),
    ],
)
def test_settings_that_contradict_each_other(settings, expected):
    with pytest.raises(ValueError, match=expected):
        method(**settings)


def test_simkd_needs_networks_of_the_registry():
    with pytest.raises(ValueError, match=r"distillation is simkd, .*; expected kd for net\.py:make"):
        HiDFD.student_network("net.py:make", "convnet_8", {"distillation": "simkd"})


def test_settings_without_effect():
    values = METHODS["hidfd"].settings
    assert "smoothing_counts" in HiDFD.unread(values | {"smoothing": 0.0})
    assert "integration_gradient" in HiDFD.unread(values | {"integration": 0.0})
    unread = {"alpha", "beta", "gamma", "temperature", "student_final_learning_rate", "crop_padding"}
    assert unread == HiDFD.unread(values).keys()
    assert "width" in HiDFD.unread(values | {"generated_images": 0})
    assert "beta" in HiDFD.unread(values | {"replay": True, "alpha": 0.0})
    short = HiDFD.unread(values | {"warmup_epochs": 2})
    assert short["average_decay"] == "with average_from=1000, as stage 1 has 100 steps"

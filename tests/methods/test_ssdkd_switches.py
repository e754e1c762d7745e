"""SSD-KD with other settings than its own, with kept views, and on eight devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from ssdkd_jax import kept_views, models, replay_buffer, tasks
from ssdkd_jax.data import normalize
from ssdkd_jax.methods.base import Problem
from ssdkd_jax.methods.ssdkd import SSDKD
from ssdkd_jax.training import devices
from tests.methods.ssdkd_problem import (
    CLASSES,
    MEAN,
    PROBLEM,
    STD,
    TEACHER,
    TINY,
    a_teacher,
    differs,
    epoch_key,
    tiny_run,
)

# What these change is a student step; what the others change, the synthesis.
OF_STUDENT_STEPS = ("modulate_student", "alpha", "priority", "weight_normalization")


@functools.cache
def half_an_epoch(half, **switches):
    """(state, metrics) of a method's half, of one step, from a full buffer in which reward, age and phi all differ."""
    method = SSDKD(problem=PROBLEM, **(TINY | {"inversion_steps": 1} | switches))
    state = tiny_run()[0][3]  # compiled, as for all other tests of this process, to which it may be the first
    with jax.disable_jit():
        return getattr(method, half)(state, TEACHER, jax.random.key(3))


# Each with one of its values; with the others in SLOW.
QUICK = (
    ("meta_update", "none"),
    ("adv_masked", False),
    ("bn_momentum", 0.0),
    ("augment_inversion", False),
    ("targets", "drawn"),
    ("bn_floor", 0.1),
    ("phi_scale", "mean"),
    ("modulate_student", True),
    ("insertion", "mean"),
    ("gamma", 0.5),
    ("use_diversity", False),
    ("use_difficulty", False),
    ("modulated_term", "adversarial"),
    ("gradient_through_phi", True),
    ("replacement", "oldest"),
    ("alpha", 0.0),
    ("priority", "kl"),
    ("weight_normalization", "buffer"),
)
SLOW = (
    ("meta_update", "reptile"),
    ("targets", "lacking"),
    ("replacement", "quota"),
    ("replacement", "lowest_phi"),
    ("replacement", "random"),
    ("modulated_term", "both"),
    ("modulated_term", "none"),
    ("weight_normalization", "batch"),
)


@pytest.mark.parametrize(
    ("switch", "value"), [*QUICK, *(pytest.param(*switch, marks=pytest.mark.slow) for switch in SLOW)]
)
def test_every_switch_runs_and_makes_a_difference(switch, value):
    half = "distill_step" if switch in OF_STUDENT_STEPS else "synthesize"
    switched = half_an_epoch(half, **{switch: value})
    for leaf in jax.tree.leaves(switched):
        assert np.isfinite(np.asarray(leaf, np.float32)).all()
    assert differs(switched, half_an_epoch(half))


@pytest.mark.parametrize("dtype", ["uint8", "bfloat16"])
def test_images_are_stored_as_asked(dtype):
    method = SSDKD(problem=PROBLEM, **(TINY | {"buffer_dtype": dtype}))
    empty = jax.jit(method.init)(jax.random.key(0), TEACHER)
    with jax.disable_jit():
        state, _ = method.synthesize(empty, TEACHER, method.round_keys(epoch_key(0), 0)[0])
        assert np.isfinite(method.distill_step(state, TEACHER, jax.random.key(1))[1]["student_loss"])
    stored, floats = state.buffer.images[:8], tiny_run()[0][1].buffer.images[:8]
    assert stored.dtype == dtype
    decoded = replay_buffer.read(state.buffer, jnp.arange(8))
    assert_allclose(decoded, floats, atol=1 / 255)


@pytest.mark.parametrize(
    "switch", ["meta_update", "targets", "modulated_term", "replacement", "priority", "weight_normalization"]
)
def test_an_unknown_name_of_a_switch_is_refused(switch):
    with pytest.raises(ValueError, match=f"{switch} is 'nonsense', expected one of: "):
        SSDKD(problem=PROBLEM, **{switch: "nonsense"})


def test_a_step_on_kept_views_is_that_of_running_the_teacher_on_them():
    method = SSDKD(problem=PROBLEM, **(TINY | {"views": 9}))
    teacher = a_teacher(PROBLEM)
    start, _ = jax.jit(method.synthesize)(jax.jit(method.init)(jax.random.key(0), teacher), teacher, jax.random.key(1))
    assert start.views.output.shape == (20, 9, CLASSES)
    state, metrics = jax.jit(method.distill_step)(start, teacher, key := jax.random.key(2))

    sample_key, view_key = jax.random.split(key)
    indices, weights = replay_buffer.sample(
        start.buffer, sample_key, 8, alpha=0.6, beta=method.beta(start.epoch), normalize_by="mean"
    )
    number = start.views.number[indices, jax.random.randint(view_key, (8,), 0, 9)]
    images = kept_views.look(replay_buffer.read(start.buffer, indices), number, padding=1, flip=False)
    student, loss, _ = jax.jit(method.student_step)(start.student, teacher, normalize(images, MEAN, STD), weights)
    assert_allclose(metrics["student_loss"], loss, rtol=1e-5)
    jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=1e-5, atol=1e-6), state.student.params, student.params)


def test_every_slot_has_the_views_of_its_image_also_when_some_are_renewed():
    """After four epochs, in which half of the buffer was replaced and 6 entries in turn got other views."""
    method, teacher = SSDKD(problem=PROBLEM, **(TINY | {"views": 3, "renewed_views": 6})), a_teacher(PROBLEM)
    synthesize, states = jax.jit(method.synthesize), [jax.jit(method.init)(jax.random.key(0), teacher)]
    for epoch in range(4):
        state, _ = synthesize(states[-1]._replace(epoch=jnp.int32(epoch)), teacher, jax.random.key(epoch))
        states.append(state)
    buffer, views = states[-1].buffer, states[-1].views
    for column in range(3):
        seen = kept_views.look(buffer.images, views.number[:, column], padding=1, flip=False)
        output = PROBLEM.teacher.apply(teacher, normalize(seen, MEAN, STD))
        assert_allclose(views.output[:, column], output, rtol=1e-4, atol=1e-4)
    renewed = np.arange(18, 24) % 20
    assert (np.asarray(states[-2].views.number)[renewed] != np.asarray(views.number)[renewed]).any()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"targets": "lacking", "synthesis": "noisy_layer"}, "targets is 'lacking', but noisy layers make every class"),
        ({"beta_start": 0.9, "beta_end": 0.5}, "beta_start is 0.9, expected at most beta_end=0.5"),
        ({"alpha": 1.5}, "alpha times the larger beta is 1.5, expected less than 1 with priority=weighted_kl"),
        ({"student_learning_rate": 0.1, "student_final_learning_rate": 0.2}, "expected at most student_learning_rate"),
        ({"kd_steps": 10**7, "epochs": 1000}, "kd_steps is 10000000, expected less than 2147483648 in all epochs=1000"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, expected):
    with pytest.raises(ValueError, match=expected):
        SSDKD(problem=PROBLEM, **(TINY | settings))


def test_lacking_classes_are_wanted_most():
    method = SSDKD(problem=PROBLEM, **(TINY | {"targets": "lacking", "synthesis_batch_size": 20}))
    state = method.init(jax.random.key(0), TEACHER)
    classes = jnp.where(jnp.arange(20) < 18, 0, 1)
    state = state._replace(buffer=state.buffer._replace(predicted_class=classes, valid=jnp.ones(20, bool)))
    wanted = jnp.concatenate([method.source.draw(state, jax.random.key(number)).targets for number in range(50)])
    shares = jnp.bincount(wanted, length=CLASSES) / len(wanted)
    assert_allclose(shares, np.array([1 / 19, 1 / 3, 1, 1]) / (1 / 19 + 1 / 3 + 2), atol=0.04)


def test_images_of_noisy_layers_are_made_for_their_classes():
    """After many steps of the task loss alone the teacher sees most of the classes that were asked for."""
    changes = {**NOISY, "inversion_steps": 300, "generator_learning_rate": 0.03, "bn": 0.0, "oh": 1.0, "alpha": 0.0}
    method = SSDKD(problem=PROBLEM, **(TINY | changes | {"modulated_term": "none", "augment_inversion": False}))
    state, teacher = method.init(jax.random.key(0), TEACHER), TEACHER
    drawn = method.source.draw(state, jax.random.key(1))
    assert_array_equal(drawn.targets, [0, 1, 2, 3, 0, 1, 2, 3])
    images = jax.jit(method.make_images)(state, teacher, drawn, jax.random.key(2)).images
    seen = jnp.argmax(PROBLEM.teacher.apply(TEACHER, normalize(images, MEAN, STD)), axis=1)
    assert jnp.sum(seen == drawn.targets) >= 6  # chance: 2


@pytest.mark.parametrize(("epoch", "born"), [(0, True), (1, False), (2, True), (3, False)])
def test_the_generator_of_noisy_layers_lives_for_its_epochs(epoch, born):
    method = SSDKD(problem=PROBLEM, **(TINY | NOISY))
    state = method.init(jax.random.key(0), TEACHER)._replace(epoch=jnp.int32(epoch))
    before = state.synthesis.generator["params"]
    drawn = method.source.draw(state, jax.random.key(1)).generator["params"]
    assert differs(drawn["generator"], before["generator"]) == differs(drawn["embedding"], before["embedding"]) == born
    assert differs(drawn["noisy"], before["noisy"])


@pytest.mark.parametrize("settings", [{"views": 0, "renewed_views": 1}, {"views": 3, "renewed_views": 21}])
def test_renewing_what_is_not_there_is_refused(settings):
    with pytest.raises(ValueError, match=r"renewed_views is .*, expected at most buffer_size=20, and 0 where views=0"):
        SSDKD(problem=PROBLEM, **(TINY | settings))


def test_a_buffer_smaller_than_a_batch_is_refused():
    method = SSDKD(problem=PROBLEM, **(TINY | {"buffer_size": 7}))
    with pytest.raises(ValueError, match="at least one batch of 8"):
        method.init(jax.random.key(0), TEACHER)


# ---- devices


NOISY = {"synthesis": "noisy_layer", "generator_life": 2, "embedding_size": 5, "targets": "drawn"}


@pytest.mark.slow
def test_eight_devices_are_one():
    """The networks as they are used: convolutions, BatchNorm over the devices, a sharded buffer that overflows.

    Devices sum up in another order than one does, which can tip a decision: which entry has the lowest priority, on
    which images the networks agree, which class is the likeliest, to which byte a pixel is rounded.  So the mask is
    off, images are kept as floats, and the run is so short that no other two candidates come within rounding of each
    other; were that to happen, classes, ages or whole images would differ.
    """
    kwargs = {"bn_axis_name": devices.AXIS, "conv_general_dilated": models.loop_friendly_conv_general_dilated}
    problem = Problem(
        models.create_model("convnet_8", CLASSES, **(kwargs | {"bn_axis_name": None})),
        models.create_model("convnet_8", CLASSES, **kwargs),
        models.create_generator((8, 8, 1), 8, 4, **kwargs),
        tasks.CLASSIFICATION, (8, 8, 1), CLASSES, MEAN, STD, crop_padding=1, flip=True, axis_name=devices.AXIS,
    )  # fmt: skip
    settings = {"synthesis_batch_size": 16, "kd_batch_size": 16, "buffer_size": 37, "adv_masked": False}
    switches = {**NOISY, "views": 6, "renewed_views": 8}
    method, teacher = SSDKD(problem=problem, **(TINY | settings | switches)), a_teacher(problem)
    start = jax.jit(method.init)(jax.random.key(0), teacher)
    sharded = method.sharded(start)

    def run(count):
        chosen = devices.local_devices(count)
        assert len(chosen) == count
        epoch = devices.pmap(method.epoch, chosen, in_axes=(0, 0, None))
        state, metrics = devices.spread(start, chosen, sharded), []
        for i in range(TINY["epochs"]):
            key = jax.random.fold_in(jax.random.key(1), i)
            state, of_epoch = epoch(state, devices.spread(teacher, chosen), key)
            metrics.append(of_epoch)
        return state, metrics

    (one, metrics), (eight, metrics_of_eight) = run(1), run(8)
    assert eight.buffer.images.shape == (8, 5, 8, 8, 1)
    # Whatever is not sharded is the same on every device, to the bit.
    for leaf, split in zip(jax.tree.leaves(eight), jax.tree.leaves(sharded), strict=True):
        if not split:
            assert_array_equal(leaf, np.stack([leaf[0]] * 8))

    one, eight = (devices.gather(state, start, sharded) for state in (one, eight))
    for field in ("predicted_class", "age", "valid"):
        assert_array_equal(getattr(eight.buffer, field), getattr(one.buffer, field))
    assert_array_equal(*(replay_buffer.class_counts(state.buffer, CLASSES) for state in (one, eight)))
    close = functools.partial(assert_allclose, rtol=1e-3, atol=1e-4)
    jax.tree.map(close, eight, one)
    jax.tree.map(close, [jax.tree.map(lambda x: x[0], m) for m in metrics_of_eight],
                 [jax.tree.map(lambda x: x[0], m) for m in metrics])  # fmt: skip

    # The comparison means something: the buffer is full, has replaced some entries, and the student has learned.
    assert one.buffer.valid.all()
    assert len(set(one.buffer.age.tolist())) > 2
    assert len(np.unique(one.buffer.predicted_class)) > 1
    for old, new in zip(jax.tree.leaves(start.student.params), jax.tree.leaves(one.student.params), strict=True):
        assert np.abs(new - old).max() > 1e-3

"""SSD-KD as a whole, on tiny networks, and mostly without compiling: what is called once costs more to compile."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from ssdkd_jax import batchnorm, kept_views, losses, models, replay_buffer, tasks
from ssdkd_jax.data import normalize, to_uint8
from ssdkd_jax.methods.base import Problem
from ssdkd_jax.methods.ssdkd import SSDKD, Draws
from ssdkd_jax.training import devices

CLASSES = 4
# A small deviation makes much of the little by which images of an untrained generator differ.
MEAN, STD = (0.5,), (0.05,)
TINY = {
    "epochs": 4,
    "warmup_epochs": 1,
    "synthesis_batch_size": 8,
    "inversion_steps": 2,
    "buffer_size": 20,  # full, and half replaced, in the third epoch
    "buffer_dtype": "float32",
    "kd_steps": 3,
    "kd_batch_size": 8,
    "temperature": 4.0,
}


# Without biases before BatchNorm: their gradient is nothing but rounding, of which Adam makes whole steps.
class TinyNetwork(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Dense(12, use_bias=False)(x.reshape(len(x), -1))
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
        return nn.Dense(CLASSES, name="fc")(nn.relu(x))


class TinyGenerator(nn.Module):
    latent_size: int = 6

    @nn.compact
    def __call__(self, z, train=True):
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(nn.Dense(16, use_bias=False)(z))
        return nn.sigmoid(x).reshape(-1, 4, 4, 1)


PROBLEM = Problem(
    TinyNetwork(), TinyNetwork(), TinyGenerator(), tasks.CLASSIFICATION, (4, 4, 1), CLASSES, MEAN, STD, crop_padding=1
)


def a_teacher(problem):
    """Variables by NumPy, with running statistics as of some data set and an opinion of all classes, none too sure."""
    shapes = jax.eval_shape(problem.teacher.init, jax.random.key(0), jnp.zeros((1, *problem.image_shape)))
    rng = np.random.default_rng(7)

    def value(path, leaf):
        drawn = {
            "kernel": lambda: np.sqrt(2 / np.prod(leaf.shape[:-1])) * rng.standard_normal(leaf.shape),
            "scale": lambda: np.ones(leaf.shape),
            "bias": lambda: np.zeros(leaf.shape),
            "mean": lambda: 0.3 * rng.standard_normal(leaf.shape),
            "var": lambda: rng.uniform(0.5, 1.5, leaf.shape),
        }
        return jnp.asarray(drawn[path[-1].key](), jnp.float32)

    variables = jax.tree_util.tree_map_with_path(value, shapes)
    # What an untrained generator makes looks about like this.
    h, w, c = problem.image_shape
    images = 0.5 + 0.07 * rng.standard_normal((64, h // 2, w // 2, c)).repeat(2, axis=1).repeat(2, axis=2)
    logits = jax.jit(problem.teacher.apply)(variables, normalize(jnp.asarray(images, jnp.float32), MEAN, STD))
    scale = 2 / logits.std(0)
    variables["params"]["fc"]["kernel"] *= scale
    variables["params"]["fc"]["bias"] = -scale * logits.mean(0)
    return variables


TEACHER = a_teacher(PROBLEM)


def train(method, epoch, seed=0, epochs=TINY["epochs"]):
    """(states, metrics): the initial state and that after every epoch; the metrics of every epoch."""
    states, metrics = [method.init(jax.random.key(seed), TEACHER)], []
    for i in range(epochs):
        state, of_epoch = epoch(states[-1], TEACHER, jax.random.fold_in(jax.random.key(seed + 1), i))
        states.append(state)
        metrics.append(of_epoch)
    return states, metrics


def assert_trees_equal(a, b):
    jax.tree.map(assert_array_equal, a, b)


def differs(a, b):
    return any(not np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def uncompiled_epoch(method):
    def epoch(state, teacher, key):
        with jax.disable_jit():
            return method.epoch(state, teacher, key)

    return epoch


METHOD = SSDKD(problem=PROBLEM, **TINY)
EPOCH = jax.jit(METHOD.epoch)


@functools.cache
def tiny_run():
    return train(METHOD, EPOCH)


# ---- epochs


def test_a_compiled_epoch_gives_the_numbers_of_single_operations():
    states, metrics = tiny_run()
    single_states, single_metrics = train(METHOD, uncompiled_epoch(METHOD))
    jax.tree.map(functools.partial(assert_allclose, rtol=1e-3, atol=1e-5), single_states[-1], states[-1])
    jax.tree.map(functools.partial(assert_allclose, rtol=1e-3, atol=1e-5), single_metrics, metrics)


def test_the_same_seed_gives_the_same_bits():
    assert_trees_equal(train(METHOD, EPOCH), tiny_run())
    assert differs(train(METHOD, EPOCH, seed=1)[0][-1].student, tiny_run()[0][-1].student)


def test_a_warm_up_leaves_the_student_untouched():
    states, _ = tiny_run()
    assert_trees_equal(states[1].student, states[0].student)
    assert differs(states[1].synthesis.generator["params"], states[0].synthesis.generator["params"])
    assert replay_buffer.size(states[1].buffer) == 8
    assert differs(states[2].student.params, states[1].student.params)
    assert differs(states[2].student.batch_stats, states[1].student.batch_stats)


def test_the_adversarial_loss_counts_from_the_end_of_the_warm_up():
    for epoch, metrics in enumerate(tiny_run()[1]):
        without = 10.0 * metrics["bn_loss"] + 0.5 * metrics["task_loss"]
        adversarial = 1.33 * metrics["adversarial_loss"]
        assert adversarial < -1e-3
        assert_allclose(metrics["inversion_loss"], without + (adversarial if epoch > 0 else 0), rtol=1e-5)


def test_the_first_synthesis_has_no_average_of_earlier_ones():
    method = SSDKD(problem=PROBLEM, **(TINY | {"bn_momentum": 0.0}))
    states, metrics = train(method, uncompiled_epoch(method), epochs=2)
    assert_allclose(metrics[0]["bn_loss"], tiny_run()[1][0]["bn_loss"], rtol=1e-4)
    assert abs(metrics[1]["bn_loss"] - tiny_run()[1][1]["bn_loss"]) > 1e-2
    average = tiny_run()[0][1].synthesis.statistics_average
    jax.tree.map(
        functools.partial(assert_allclose, rtol=1e-3, atol=1e-5), states[1].synthesis.statistics_average, average
    )


def test_the_learning_rate_falls_to_its_end():
    rates = [metrics["learning_rate"] for metrics in tiny_run()[1]]
    assert_allclose((rates[0], rates[-1]), (0.2, 2e-4), rtol=1e-4)
    assert rates[0] > rates[1] > rates[2] > rates[3]


def test_the_adversarial_loss_compares_the_teacher_with_the_student():
    """It is zero for a student that is the teacher, and only then."""
    state = tiny_run()[0][0]
    twin = state._replace(student=state.student._replace(params=TEACHER["params"], batch_stats=TEACHER["batch_stats"]))
    _, of_twin = EPOCH(twin, TEACHER, jax.random.key(1))
    _, of_student = EPOCH(state, TEACHER, jax.random.key(1))
    assert_allclose(of_twin["adversarial_loss"], 0, atol=1e-6)
    assert of_student["adversarial_loss"] < -1e-3


# ---- the loss


def test_the_loss_is_the_weighted_sum_of_its_terms():
    """By hand, of images that are seen as they are, for a buffer of known classes and statistics of known averages."""
    method = SSDKD(problem=PROBLEM._replace(crop_padding=0), **TINY, gamma=2.0)
    state = tiny_run()[0][2]
    images = jax.random.uniform(jax.random.key(0), (8, 4, 4, 1))
    loss, statistics, metrics = method.inversion_loss(state, TEACHER, images, None, jax.random.key(1))

    x = normalize(images, MEAN, STD)
    teacher, student = PROBLEM.teacher.apply(TEACHER, x), PROBLEM.student.apply(state.student.variables, x)
    probabilities = np.asarray(jax.nn.softmax(teacher))
    confidence, own = probabilities.max(1), probabilities.argmax(1)
    counts = np.asarray(replay_buffer.class_counts(state.buffer, CLASSES))
    phi = (1 - counts / counts.sum())[own] * (1 - confidence) ** 2
    task = np.mean(phi * -np.log(confidence))  # against the teacher's own classes
    adversarial = np.mean(losses.adversarial(teacher, student))
    blended = batchnorm.blend(statistics, state.synthesis.statistics_average, 0.9)
    bn = batchnorm.statistics_loss(blended, TEACHER["batch_stats"])
    for name, expected in (
        ("task_loss", task), ("adversarial_loss", adversarial), ("bn_loss", bn), ("phi", phi.mean()),
        ("teacher_confidence", confidence.mean()),
    ):  # fmt: skip
        assert_allclose(metrics[name], expected, rtol=1e-4, err_msg=name)
    assert_allclose(loss, 10 * bn + 0.5 * task + 1.33 * adversarial, rtol=1e-5)
    assert metrics["inversion_loss"] == loss


def test_a_synthesis_can_be_run_with_given_draws():
    """The same latents and key give the same images; other latents others."""
    state, make_images = tiny_run()[0][2], jax.jit(METHOD.make_images)
    drawn = METHOD.draw(jax.random.key(0))
    one, again = (make_images(state, TEACHER, drawn, jax.random.key(1)).images for _ in range(2))
    assert_array_equal(one, again)
    other = Draws(latents=-drawn.latents, targets=drawn.targets)
    assert differs(make_images(state, TEACHER, other, jax.random.key(1)).images, one)


# ---- the buffer


def teacher_output(images):
    return PROBLEM.teacher.apply(TEACHER, normalize(images, MEAN, STD))


def test_the_buffer_fills_up_and_keeps_what_the_teacher_says_of_its_images():
    states, metrics = tiny_run()
    assert [m["buffer_size"] for m in metrics] == [8, 16, 20, 20]
    buffer = states[-1].buffer
    output = teacher_output(buffer.images)
    assert_array_equal(buffer.predicted_class, output.argmax(1))
    assert_allclose(buffer.confidence, jax.nn.softmax(output).max(1), rtol=1e-4)
    # The last batch is in it, and something of each but possibly the oldest.
    assert (np.asarray(buffer.age) == 0).sum() == 8
    shares = np.bincount(buffer.predicted_class, minlength=CLASSES) / 20
    entropy = -sum(p * np.log(p) for p in shares if p) / np.log(CLASSES)
    assert_allclose(metrics[-1]["class_entropy"], entropy, atol=1e-5)
    assert entropy > 0.3  # a teacher that sees but one class would make many a test above empty


def test_a_step_sets_the_priorities_of_the_entries_it_drew():
    """To importance weight times KL at T = 1, the student in training mode, before the step."""
    method = SSDKD(problem=PROBLEM._replace(crop_padding=0), **TINY)
    state = tiny_run()[0][2]
    key = jax.random.key(5)
    after, metrics = method.distill_step(state, TEACHER, key)

    # The first epoch after the warm-up is past, so beta is 0.4 + 1/3 * 0.6.
    sample_key, _ = jax.random.split(key)
    indices, weights = replay_buffer.sample(state.buffer, sample_key, 8, alpha=0.6, beta=0.6, normalize_by="mean")
    images = replay_buffer.read(state.buffer, indices)
    output, _ = PROBLEM.student.apply(
        state.student.variables, normalize(images, MEAN, STD), train=True, mutable=["batch_stats"]
    )
    assert 0 < weights.min() < 0.99
    expected = np.array(state.buffer.priority)
    expected[indices] = 0
    np.maximum.at(expected, indices, weights * losses.kl_divergence(teacher_output(images), output))
    assert_allclose(after.buffer.priority, expected, rtol=1e-3)
    loss = np.mean(weights * losses.kl_divergence(teacher_output(images), output, 4.0))
    assert_allclose(metrics["student_loss"], loss, rtol=1e-3)


def test_importance_weights_are_annealed():
    method = SSDKD(problem=PROBLEM, **TINY, beta_start=0.0, beta_end=1.0)
    _, metrics = train(method, uncompiled_epoch(method))
    assert_allclose(metrics[1]["importance_ratio"], 1)
    assert metrics[2]["importance_ratio"] < 0.999
    assert metrics[3]["importance_ratio"] < 0.999


def test_held_out_images_are_new():
    state = tiny_run()[0][-1]
    held_out = jax.jit(METHOD.held_out)(state, TEACHER, jax.random.key(9))
    assert held_out.shape == (8, 4, 4, 1)
    assert ((held_out >= 0) & (held_out <= 1)).all()
    stored = {image.tobytes() for image in np.asarray(to_uint8(state.buffer.images))}
    assert len(stored) == 20
    assert stored.isdisjoint({image.tobytes() for image in np.asarray(to_uint8(held_out))})


# ---- switches


@functools.cache
def one_epoch_with(**switches):
    """(state, metrics) after an epoch of one step each, from a full buffer in which reward, age and phi all differ."""
    method = SSDKD(problem=PROBLEM, **(TINY | {"inversion_steps": 1, "kd_steps": 1} | switches))
    return uncompiled_epoch(method)(tiny_run()[0][3], TEACHER, jax.random.key(3))


@pytest.mark.parametrize(
    ("switch", "value"),
    [
        ("meta_update", "reptile"),
        ("meta_update", "none"),
        ("adv_masked", False),
        ("bn_momentum", 0.0),
        ("augment_inversion", False),
        ("targets", "drawn"),
        ("gamma", 0.5),
        ("use_diversity", False),
        ("use_difficulty", False),
        ("modulated_term", "adversarial"),
        ("modulated_term", "both"),
        ("modulated_term", "none"),
        ("gradient_through_phi", True),
        ("replacement", "oldest"),
        ("replacement", "lowest_phi"),
        ("replacement", "random"),
        ("alpha", 0.0),
        ("priority", "kl"),
        ("weight_normalization", "buffer"),
        ("weight_normalization", "batch"),
    ],
)
def test_every_switch_runs_and_makes_a_difference(switch, value):
    switched = one_epoch_with(**{switch: value})
    for leaf in jax.tree.leaves(switched):
        assert np.isfinite(np.asarray(leaf, np.float32)).all()
    assert differs(switched, one_epoch_with())


@pytest.mark.parametrize("dtype", ["uint8", "bfloat16"])
def test_images_are_stored_as_asked(dtype):
    method = SSDKD(problem=PROBLEM, **(TINY | {"buffer_dtype": dtype}))
    states, metrics = train(method, uncompiled_epoch(method), epochs=2)
    assert np.isfinite(metrics[-1]["student_loss"])
    stored, floats = states[1].buffer.images[:8], tiny_run()[0][1].buffer.images[:8]
    assert stored.dtype == dtype
    decoded = replay_buffer.read(states[1].buffer, jnp.arange(8))
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
    state, _ = method.synthesize(method.init(jax.random.key(0), teacher), teacher, jax.random.key(1))
    assert state.views.output.shape == (20, 9, CLASSES)
    state, metrics = method.distill_step(state, teacher, key := jax.random.key(2))

    start, _ = method.synthesize(method.init(jax.random.key(0), teacher), teacher, jax.random.key(1))
    sample_key, view_key = jax.random.split(key)
    indices, weights = replay_buffer.sample(
        start.buffer, sample_key, 8, alpha=0.6, beta=method.beta(start.epoch), normalize_by="mean"
    )
    number = start.views.number[indices, jax.random.randint(view_key, (8,), 0, 9)]
    images = kept_views.look(replay_buffer.read(start.buffer, indices), number, padding=1, flip=False)
    student, loss, _ = method.student_step(start.student, teacher, normalize(images, MEAN, STD), weights)
    assert_allclose(metrics["student_loss"], loss, rtol=1e-5)
    jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=1e-5, atol=1e-6), state.student.params, student.params)


def test_every_slot_has_the_views_of_its_image_also_when_some_are_renewed():
    """After four epochs, in which half of the buffer was replaced and 6 entries in turn got other views."""
    method, teacher = SSDKD(problem=PROBLEM, **(TINY | {"views": 3, "renewed_views": 6})), a_teacher(PROBLEM)
    states, _ = train(method, uncompiled_epoch(method), epochs=4)
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
        ({"beta_start": 0.9, "beta_end": 0.5}, "beta_start is 0.9, expected at most beta_end=0.5"),
        ({"alpha": 1.5}, "alpha times the larger beta is 1.5, expected less than 1 with priority=weighted_kl"),
        ({"student_learning_rate": 0.1, "student_final_learning_rate": 0.2}, "expected at most student_learning_rate"),
        ({"kd_steps": 10**7, "epochs": 1000}, "kd_steps is 10000000, expected less than 2147483648 in all epochs=1000"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, expected):
    with pytest.raises(ValueError, match=expected):
        SSDKD(problem=PROBLEM, **(TINY | settings))


@pytest.mark.parametrize("settings", [{"views": 0, "renewed_views": 1}, {"views": 3, "renewed_views": 21}])
def test_renewing_what_is_not_there_is_refused(settings):
    with pytest.raises(ValueError, match=r"renewed_views is .*, expected at most buffer_size=20, and 0 where views=0"):
        SSDKD(problem=PROBLEM, **(TINY | settings))


def test_a_buffer_smaller_than_a_batch_is_refused():
    method = SSDKD(problem=PROBLEM, **(TINY | {"buffer_size": 7}))
    with pytest.raises(ValueError, match="at least one batch of 8"):
        method.init(jax.random.key(0), TEACHER)


# ---- devices


@pytest.mark.parametrize("views", [{}, {"views": 6, "renewed_views": 8}], ids=["recomputed", "kept"])
def test_eight_devices_are_one(views):
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
    settings = {"synthesis_batch_size": 16, "kd_batch_size": 16, "buffer_size": 37, "adv_masked": False, **views}
    method, teacher = SSDKD(problem=problem, **(TINY | settings)), a_teacher(problem)
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

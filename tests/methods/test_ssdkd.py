"""SSD-KD as a whole: its epochs, its loss and its buffer."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from ssdkd_jax import batchnorm, losses, replay_buffer
from ssdkd_jax.data import normalize, to_uint8
from ssdkd_jax.methods.ssdkd import SSDKD
from tests.methods.ssdkd_problem import (
    CLASSES,
    EPOCH,
    MEAN,
    METHOD,
    PROBLEM,
    STD,
    TEACHER,
    TINY,
    assert_trees_equal,
    differs,
    epoch_key,
    tiny_run,
    train,
    uncompiled_epoch,
)

# ---- epochs


@pytest.mark.slow
def test_a_compiled_epoch_gives_the_numbers_of_single_operations():
    """The first two, and the last, which replaces entries of a full buffer."""
    states, metrics = tiny_run()
    single = uncompiled_epoch(METHOD)
    for epoch in (0, 1, 3):
        of_one_by_one = single(states[epoch], TEACHER, epoch_key(epoch))
        close = functools.partial(assert_allclose, rtol=1e-3, atol=1e-5)
        jax.tree.map(close, of_one_by_one, (states[epoch + 1], metrics[epoch]))


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


@pytest.mark.slow
def test_the_first_synthesis_has_no_average_of_earlier_ones():
    method = SSDKD(problem=PROBLEM, **(TINY | {"bn_momentum": 0.0, "kd_steps": 1}))
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
    loss, statistics, metrics = jax.jit(method.inversion_loss)(state, TEACHER, images, None, jax.random.key(1))

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
    drawn = jax.jit(METHOD.source.draw)(state, jax.random.key(0))
    one, again = (make_images(state, TEACHER, drawn, jax.random.key(1)).images for _ in range(2))
    assert_array_equal(one, again)
    other = drawn._replace(latents=-drawn.latents)
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


def test_draws_are_counted_from_when_an_entry_came_in():
    states, _ = tiny_run()
    assert not states[1].draws.any()  # the warm-up
    for before, after in itertools.pairwise(states[1:]):
        there = np.asarray(before.buffer.valid & (after.buffer.age > 0))
        drawn = np.asarray(after.draws - np.where(there, before.draws, 0))
        assert drawn.min() == 0 and drawn.sum() == TINY["kd_steps"] * TINY["kd_batch_size"]
        assert not drawn[~np.asarray(after.buffer.valid)].any()
    assert (np.asarray(states[-2].draws)[~there] > 0).any()  # or nothing was forgotten


def test_a_step_sets_the_priorities_of_the_entries_it_drew():
    """To importance weight times KL at T = 1, the student in training mode, before the step."""
    method = SSDKD(problem=PROBLEM._replace(crop_padding=0), **TINY)
    state = tiny_run()[0][2]
    key = jax.random.key(5)
    after, metrics = jax.jit(method.distill_step)(state, TEACHER, key)

    # The first epoch after the warm-up is past, so beta is 0.4 + 1/3 * 0.6.
    sample_key, _ = jax.random.split(key)
    indices, weights = replay_buffer.sample(state.buffer, sample_key, 8, alpha=0.6, beta=0.6, normalize_by="mean")
    images = replay_buffer.read(state.buffer, indices)
    output, _ = PROBLEM.student.apply(
        state.student.variables, normalize(images, MEAN, STD), train=True, mutable=["batch_stats"]
    )
    assert 0 < weights.min() < 0.99
    drawn = np.zeros(len(state.draws), int)
    np.add.at(drawn, indices, 1)
    assert_array_equal(after.draws - state.draws, drawn)
    expected = np.array(state.buffer.priority)
    expected[indices] = 0
    np.maximum.at(expected, indices, weights * losses.kl_divergence(teacher_output(images), output))
    assert_allclose(after.buffer.priority, expected, rtol=1e-3)
    loss = np.mean(weights * losses.kl_divergence(teacher_output(images), output, 4.0))
    assert_allclose(metrics["student_loss"], loss, rtol=1e-3)


def test_importance_weights_are_annealed():
    """From none, in the first epoch after the warm-up, on; in steps on a buffer whose priorities differ."""
    method = SSDKD(problem=PROBLEM, **(TINY | {"beta_start": 0.0, "beta_end": 1.0}))
    step, state = jax.jit(method.distill_step), tiny_run()[0][3]
    ratios = [
        step(state._replace(epoch=jnp.int32(epoch)), TEACHER, jax.random.key(0))[1]["importance_ratio"]
        for epoch in (1, 2, 3)
    ]
    assert_allclose(ratios[0], 1)
    assert 0.999 > ratios[1] > ratios[2]


def test_held_out_images_are_new():
    state = tiny_run()[0][-1]
    held_out = jax.jit(METHOD.held_out)(state, TEACHER, jax.random.key(9))
    assert held_out.shape == (8, 4, 4, 1)
    assert ((held_out >= 0) & (held_out <= 1)).all()
    stored = {image.tobytes() for image in np.asarray(to_uint8(state.buffer.images))}
    assert len(stored) == 20
    assert stored.isdisjoint({image.tobytes() for image in np.asarray(to_uint8(held_out))})

"""The replay buffer: properties against a plain Python model of it, and the same numbers under jit, vmap and pmap."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from ssdkd_jax import replay_buffer
from ssdkd_jax.training import devices
from tests.plain_buffer import PlainBuffer

# One size for most tests, since each other one would be compiled.
CAPACITY, BATCH, SHAPE = 7, 3, (2, 2, 1)
insert = jax.jit(replay_buffer.insert)
update_priorities = jax.jit(replay_buffer.update_priorities)
sample = jax.jit(replay_buffer.sample, static_argnames=("batch_size", "normalize_by"))
read = jax.jit(replay_buffer.read)


def a_batch(seed, count=BATCH, shape=SHAPE):
    """Images that uint8 holds exactly, classes, confidences."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, *shape)).astype(np.float32) / np.float32(255)
    return images, rng.integers(0, 4, count).astype(np.int32), rng.uniform(size=count).astype(np.float32)


def filled(priority, valid=None):
    """A buffer of given priorities, all entries valid unless said."""
    priority = jnp.asarray(priority, jnp.float32)
    valid = jnp.ones(len(priority), bool) if valid is None else jnp.asarray(valid)
    return replay_buffer.init(len(priority), SHAPE)._replace(priority=priority, valid=valid)


# ---- insert, update_priorities, class_counts, size, read against a model in plain Python


def assert_same(buffer, plain):
    occupied = np.array([slot is not None for slot in plain.slots])
    assert_array_equal(buffer.valid, occupied)
    assert replay_buffer.size(buffer) == occupied.sum() <= CAPACITY
    entries = [slot for slot in plain.slots if slot]
    for field in ("predicted_class", "confidence", "priority", "age"):
        assert_array_equal(np.asarray(getattr(buffer, field))[occupied], [entry[field] for entry in entries], field)
    assert_allclose(read(buffer, np.flatnonzero(occupied)), [entry["image"] for entry in entries], atol=1e-7)
    classes = [entry["predicted_class"] for entry in entries]
    assert_array_equal(replay_buffer.class_counts(buffer, 4), np.bincount(classes, minlength=4))


@settings(max_examples=20, deadline=None)
@given(
    operations=st.lists(st.sampled_from(["insert", "update_priorities"]), min_size=1, max_size=8),
    seed=st.integers(0, 2**31 - 1),
)
def test_any_sequence_of_operations_does_what_the_plain_buffer_does(operations, seed):
    rng = np.random.default_rng(seed)
    buffer, plain = replay_buffer.init(CAPACITY, SHAPE, batch_size=BATCH), PlainBuffer(CAPACITY)
    # update_priorities needs an entry to update.
    for operation in ("insert", *operations):
        if operation == "insert":
            reward = rng.integers(-2, 3, CAPACITY).astype(np.float32)  # with ties, and of either sign
            arguments = (*a_batch(rng.integers(2**31)), reward)
            buffer = insert(buffer, *arguments)
        else:
            # With duplicates, and of either sign.
            arguments = (
                rng.choice(np.flatnonzero(buffer.valid), 2 * BATCH),
                rng.normal(size=2 * BATCH).astype(np.float32),
            )
            buffer = update_priorities(buffer, *arguments)
        getattr(plain, operation)(*arguments)
        assert_same(buffer, plain)


def test_an_empty_slot_is_taken_before_the_worst_entry():
    buffer = filled([1, 2, 3, 4], valid=[True, False, True, True])
    images, classes, confidences = a_batch(0, 2)
    after = replay_buffer.insert(buffer, images, classes, confidences, jnp.array([-1e30, 9.0, -1e38, 0.0]))
    assert_array_equal(after.age, [1, 0, 0, 1])
    assert_array_equal(after.priority, [1, 4, 4, 4])


def test_new_entries_may_begin_at_the_mean_priority():
    buffer = filled([1, 2, 6, 9], valid=[True, True, True, False])
    after = replay_buffer.insert(buffer, *a_batch(0, 2), jnp.array([5.0, 1.0, 9.0, 0.0]), first_priority="mean")
    assert_array_equal(after.priority, [1, 3, 6, 3])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31 - 1))
def test_rank_in_class_is_that_of_plain_python(seed):
    rng = np.random.default_rng(seed)
    priority, classes, valid = rng.integers(0, 4, CAPACITY), rng.integers(0, 3, CAPACITY), rng.random(CAPACITY) < 0.8
    buffer = filled(priority, valid=valid)._replace(predicted_class=jnp.asarray(classes, jnp.int32))
    ranks = np.asarray(replay_buffer.rank_in_class(buffer))
    for number in np.unique(classes[valid]):
        of_class = np.flatnonzero(valid & (classes == number))
        assert sorted(ranks[of_class]) == list(range(len(of_class)))
        assert_array_equal(np.sort(priority[of_class])[::-1], priority[of_class[np.argsort(ranks[of_class])]])


def test_rank_in_class_of_shares_goes_by_the_largest():
    shares = jnp.array([[0.6, 0.4], [0.1, 0.9], [0.9, 0.1]])
    assert_array_equal(replay_buffer.rank_in_class(filled([1, 2, 3])._replace(predicted_class=shares)), [1, 0, 0])


def test_shares_of_many_classes_are_kept_and_added_up():
    images, _, confidence = a_batch(0)
    shares = np.float32([[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0, 0.25, 0.25, 0.5]])
    buffer = replay_buffer.init(CAPACITY, SHAPE, predicted_class=jnp.zeros((CAPACITY, 4)))
    buffer = insert(buffer, images, shares, confidence, buffer.priority)
    assert_array_equal(buffer.predicted_class[buffer.valid], shares)
    assert_array_equal(replay_buffer.class_counts(buffer, 4), shares.sum(0))


def test_duplicates_take_the_largest_priority():
    updated = update_priorities(filled([9, 9, 9]), jnp.array([2, 0, 2, 2]), jnp.array([1.0, 2.0, -5.0, 3.0]))
    assert_array_equal(updated.priority, [2, 9, 5])


def test_every_byte_survives():
    images = (np.arange(256, dtype=np.float32) / np.float32(255)).reshape(256, 1, 1, 1)
    buffer = replay_buffer.init(256, (1, 1, 1))
    buffer = insert(buffer, images, np.zeros(256, int), np.ones(256), buffer.priority)
    assert buffer.images.dtype == jnp.uint8
    assert_array_equal(buffer.images.ravel(), np.arange(256))
    assert_allclose(read(buffer, np.arange(256)), images, atol=1e-7)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_float_images_are_kept_as_they_are(dtype):
    images = jax.random.uniform(jax.random.key(0), (BATCH, *SHAPE)).astype(dtype)
    buffer = replay_buffer.init(CAPACITY, SHAPE, dtype=dtype)
    buffer = insert(buffer, images, np.zeros(BATCH, int), np.ones(BATCH), buffer.priority)
    assert buffer.images.dtype == dtype
    assert_array_equal(replay_buffer.read(buffer, np.arange(BATCH), dtype), images)


def test_a_buffer_smaller_than_a_batch_is_refused():
    replay_buffer.init(16, SHAPE, batch_size=16)
    with pytest.raises(ValueError, match="holds 15 images, expected at least one batch of 16"):
        replay_buffer.init(15, SHAPE, batch_size=16)


# ---- sample


def probabilities(buffer, alpha, epsilon=1e-6):
    """P_i in float64."""
    mass = np.where(buffer.valid, (np.abs(np.asarray(buffer.priority, np.float64)) + epsilon) ** alpha, 0)
    return mass / mass.sum()


@settings(max_examples=40, deadline=None)
@given(
    valid=st.lists(st.booleans(), min_size=CAPACITY, max_size=CAPACITY).filter(any),
    priority=st.lists(st.sampled_from([0.0, 1e-3, 1.0, 1.5, 1e4]), min_size=CAPACITY, max_size=CAPACITY),
    alpha=st.sampled_from([0.0, 0.6, 1.0]),
    beta=st.sampled_from([0.0, 0.4, 1.0]),
    seed=st.integers(0, 2**31 - 1),
)
def test_a_batch_holds_valid_entries_in_proportion_and_their_weights(valid, priority, alpha, beta, seed):
    batch = 32
    buffer = filled(priority, valid)
    p = probabilities(buffer, alpha)
    for normalize_by in ("batch", "buffer"):
        indices, weights = sample(
            buffer, jax.random.key(seed), batch, alpha=alpha, beta=beta, normalize_by=normalize_by
        )
        assert np.asarray(valid)[indices].all()
        # One draw from each of `batch` equal parts: an entry is in all parts that it fills and at most in two more.
        assert (np.abs(np.bincount(indices, minlength=CAPACITY) - batch * p) < 2.001).all()

        entries = np.flatnonzero(valid)
        raw = dict(zip(entries, (len(entries) * p[entries]) ** -beta, strict=True))
        drawn = np.array([raw[i] for i in indices.tolist()])
        assert_allclose(weights, drawn / max(drawn if normalize_by == "batch" else raw.values()), rtol=1e-3)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("batch", [1, 5, 64])
def test_frequencies_are_the_probabilities(alpha, batch):
    buffer = filled([0.1, 1, 7, 2, 0, 4, 0.5], valid=[True, True, False, True, True, True, True])
    keys = jax.random.split(jax.random.key(1), 19200 // batch)
    indices, _ = jax.jit(jax.vmap(lambda key: sample(buffer, key, batch, alpha=alpha, beta=0.4)))(keys)
    p = probabilities(buffer, alpha)
    frequencies = np.bincount(indices.ravel(), minlength=CAPACITY) / 19200
    # Independent draws have this standard deviation, those from equal parts a smaller one.
    assert (np.abs(frequencies - p) <= 4 * np.sqrt(p * (1 - p) / 19200)).all()
    if alpha == 0:
        assert_allclose(p[np.asarray(buffer.valid)], 1 / 6)


def test_a_large_buffer_is_sampled_as_exactly():
    """50,000 probabilities summed up in float32; every other entry is empty."""
    count = 50_000
    priority = jax.random.exponential(jax.random.key(2), (count,)) ** 4
    buffer = filled(priority, valid=np.arange(count) % 2 == 1)
    indices, _ = sample(buffer, jax.random.key(3), 25_600, alpha=0.6, beta=0.4)
    assert (np.asarray(indices) % 2 == 1).all()
    # Tenths of the buffer, each of which is hit to within a draw at its two ends.
    hits = np.bincount(np.asarray(indices) // 5000, minlength=10)
    assert_allclose(hits, 25_600 * probabilities(buffer, 0.6).reshape(10, 5000).sum(1), atol=2.1)


def test_weights_by_hand():
    """P = 1/4 and 3/4, B = 2, beta = 1: weights 2 and 2/3, over the largest of the buffer or of the batch."""
    buffer = filled([1.0, 3.0])
    draw = functools.partial(sample, buffer, alpha=1.0, beta=1.0, epsilon=0.0)
    indices, weights = draw(jax.random.key(0), 8)
    assert_array_equal(indices, [0, 0, 1, 1, 1, 1, 1, 1])
    assert_allclose(weights, [1, 1] + [1 / 3] * 6, rtol=1e-5)
    # Batches of one, of which about a quarter are of entry 0.
    seen = {}
    for seed in range(20):
        index, weight = draw(jax.random.key(seed), 1, normalize_by="buffer")
        _, of_batch = draw(jax.random.key(seed), 1, normalize_by="batch")
        seen[int(index[0])] = float(weight[0])
        assert_allclose(of_batch, [1.0])
    assert seen == {0: pytest.approx(1), 1: pytest.approx(1 / 3)}


def test_a_point_on_the_border_of_an_empty_slot_moves_to_a_valid_one():
    valid = jnp.array([False, True, False, True, False])
    moved = replay_buffer._nearest_valid(valid, jnp.arange(6))
    assert_array_equal(moved, [1, 1, 1, 3, 3, 3])


def test_an_unknown_normalization_is_refused():
    with pytest.raises(ValueError, match="'median', expected one of batch, buffer, mean"):
        replay_buffer.sample(filled([1.0]), jax.random.key(0), 1, alpha=1.0, beta=1.0, normalize_by="median")


def test_weights_of_mean_one_keep_their_ratios():
    buffer, key = filled([1.0, 2.0, 4.0]), jax.random.key(3)
    settings = {"alpha": 1.0, "beta": 0.5}
    _, by_largest = replay_buffer.sample(buffer, key, 16, **settings)
    _, by_mean = replay_buffer.sample(buffer, key, 16, normalize_by="mean", **settings)
    np.testing.assert_allclose(np.mean(by_mean), 1.0, rtol=1e-6)
    np.testing.assert_allclose(by_mean, by_largest / np.mean(by_largest), rtol=1e-6)


# ---- transformations


def test_jit_changes_nothing():
    buffer = filled([3, 1, 2, 0, 5, 4, 9], valid=[True, True, True, True, True, False, True])
    arguments = (*a_batch(4), buffer.priority)
    jax.tree.map(assert_array_equal, insert(buffer, *arguments), replay_buffer.insert(buffer, *arguments))
    drawn = [f(buffer, jax.random.key(0), 16, alpha=0.6, beta=0.4) for f in (sample, replay_buffer.sample)]
    assert_array_equal(drawn[0][0], drawn[1][0])
    assert_allclose(drawn[0][1], drawn[1][1], rtol=1e-5)


def test_vmap_is_one_buffer_after_the_other():
    buffers = [filled(np.random.default_rng(i).uniform(size=CAPACITY)) for i in range(3)]
    batches = [a_batch(i) for i in range(3)]

    def use(buffer, images, classes, confidences, key):
        buffer = replay_buffer.insert(buffer, images, classes, confidences, buffer.priority)
        indices, weights = replay_buffer.sample(buffer, key, BATCH, alpha=0.6, beta=0.4)
        buffer = replay_buffer.update_priorities(buffer, indices, weights)
        return buffer, indices, weights, replay_buffer.read(buffer, indices)

    keys = jax.random.split(jax.random.key(0), 3)
    arguments = [(buffer, *batch, key) for buffer, batch, key in zip(buffers, batches, keys, strict=True)]
    together = jax.jit(jax.vmap(use))(*jax.tree.map(lambda *leaves: jnp.stack(leaves), *arguments))
    for i, argument in enumerate(arguments):
        alone = jax.jit(use)(*argument)
        jax.tree.map(lambda a, b, i=i: assert_allclose(a[i], b, rtol=1e-5), together, alone)


def test_eight_devices_are_one():
    """Capacity 21 does not divide by 8: the last of the three slots of device 6 and all of device 7's stay unused."""
    capacity, batch = 21, 16
    everywhere = devices.local_devices()
    assert len(everywhere) == 8

    def use(axis_name, buffer, images, classes, confidences, key):
        buffer = replay_buffer.insert(buffer, images, classes, confidences, buffer.priority, axis_name=axis_name)
        indices, weights = replay_buffer.sample(buffer, key, batch, alpha=0.6, beta=0.4)
        part = replay_buffer.read(buffer, indices, axis_name=axis_name)
        new = jax.random.uniform(key, (batch,))  # priorities that differ, as after a KD step
        return replay_buffer.update_priorities(buffer, indices, new), indices, weights, part

    on_one = jax.jit(functools.partial(use, None))
    on_all = devices.pmap(functools.partial(use, devices.AXIS), everywhere, in_axes=(0, 0, 0, 0, None))
    one = replay_buffer.init(capacity, SHAPE, batch_size=batch)
    only_images = jax.tree.map(lambda _: False, one)._replace(images=True)
    spread = devices.spread(one, everywhere, only_images)
    assert spread.images.shape == (8, 3, *SHAPE)

    for i in range(4):  # the second batch fills the buffer, the others replace
        arguments = a_batch(i, batch)
        parts = [x.reshape(8, 2, *x.shape[1:]) for x in arguments]
        one, indices, weights, read_back = on_one(one, *arguments, jax.random.key(i))
        spread, all_indices, all_weights, read_parts = on_all(spread, *parts, jax.random.key(i))
        for device in range(8):
            assert_array_equal(all_indices[device], indices)
            assert_allclose(all_weights[device], weights, rtol=1e-6)
            for field in set(one._fields) - {"images"}:
                assert_array_equal(getattr(spread, field)[device], getattr(one, field), field)
        # In slot order and in batch order the devices' parts are the whole.
        assert_array_equal(devices.gather(spread, one, only_images).images, one.images)
        assert_array_equal(read_parts.reshape(batch, *SHAPE), read_back)
    assert replay_buffer.size(one) == capacity

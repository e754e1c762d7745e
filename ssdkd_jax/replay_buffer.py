"""SSD-KD's replay buffer: device arrays of fixed size and pure functions on them.

Prioritized experience replay (Schaul et al., ICLR 2016) with synthetic images for transitions.  On several devices the
images are sharded, slot by slot in equal contiguous parts, while the small per-entry arrays (the ledger) are the same
everywhere.  So every device draws the same indices and agrees on what to replace, as one device would.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from ssdkd_jax import collectives
from ssdkd_jax.data.preprocessing import to_uint8, to_unit

# Priority of the first entries; later ones get that of the buffer.
FIRST_PRIORITY = 1.0
NORMALIZATIONS = ("batch", "buffer", "mean")
# What of the buffer's priorities new entries get.
INSERTIONS = ("largest", "mean")


class ReplayBuffer(NamedTuple):
    """B slots; `valid` marks those that hold an image.

    images: (slots, h, w, c) this device's slots, uint8 or a float dtype in [0, 1]; slots = ceil(B / devices).
    predicted_class: what the teacher sees: (B,) int32, its most likely class; or (B, classes) float32, each class's
      share of the image's pixels.
    confidence: (B,) float32, the teacher's largest softmax probability.
    priority: (B,) float32 >= 0.
    age: (B,) int32, insertions since the entry came in.
    valid: (B,) bool.
    """

    images: jax.Array
    predicted_class: jax.Array
    confidence: jax.Array
    priority: jax.Array
    age: jax.Array
    valid: jax.Array


def init(capacity, image_shape, *, dtype=jnp.uint8, batch_size=1, predicted_class=None):
    """An empty, unsharded buffer; `training.devices.spread` shards it.

    Args:
      capacity: B, at least `batch_size`.
      image_shape: (h, w, c).
      dtype: of the stored images: uint8 (a quarter of float32's memory) or a float dtype.
      batch_size: the largest batch that `insert` will be given.
      predicted_class: (capacity, ...) zeros like what will be kept; None is one class an image.

    Raises:
      ValueError: if a batch would not fit.
    """
    if capacity < batch_size:
        raise ValueError(f"the buffer holds {capacity} images, expected at least one batch of {batch_size}")
    return ReplayBuffer(
        images=jnp.zeros((capacity, *image_shape), dtype),
        predicted_class=jnp.zeros(capacity, jnp.int32) if predicted_class is None else predicted_class,
        confidence=jnp.zeros(capacity, jnp.float32),
        priority=jnp.zeros(capacity, jnp.float32),
        age=jnp.zeros(capacity, jnp.int32),
        valid=jnp.zeros(capacity, bool),
    )


def insert(buffer, images, predicted_class, confidence, reward, *, first_priority="largest", axis_name=None):
    """Partial update: a batch enters; empty slots are filled first, then the entries of lowest reward are replaced.

    Args:
      buffer: a ReplayBuffer.
      images: (b, h, w, c) float in [0, 1], this device's part of the batch, like the next two.
      predicted_class: (b,) int, or (b, classes) float.
      confidence: (b,) float.
      reward: (B,) float, what each entry is worth; ties go to the oldest entry, then to the lowest slot.
      first_priority: what new entries get: the buffer's "largest" priority, so that each is seen soon (the convention
        of prioritized replay), or its "mean" [ours].
      axis_name: the pmapped axis.

    Returns:
      the new ReplayBuffer.
    """
    images, predicted_class, confidence = collectives.all_gather(
        (_encode(images, buffer.images.dtype), predicted_class, confidence), axis_name
    )
    batch_size, capacity = predicted_class.shape[0], buffer.valid.shape[0]
    if batch_size > capacity:
        raise ValueError(f"a batch of {batch_size} images does not fit into a buffer of {capacity}")
    slots = slots_to_fill(buffer, reward, batch_size)
    there = jnp.where(buffer.valid, buffer.priority, 0.0)
    new = jnp.max(there) if first_priority == "largest" else jnp.sum(there) / jnp.maximum(size(buffer), 1)
    return ReplayBuffer(
        images=collectives.put_rows(buffer.images, slots, images, axis_name),
        predicted_class=buffer.predicted_class.at[slots].set(predicted_class.astype(buffer.predicted_class.dtype)),
        confidence=buffer.confidence.at[slots].set(confidence.astype(jnp.float32)),
        priority=buffer.priority.at[slots].set(jnp.where(jnp.any(buffer.valid), new, FIRST_PRIORITY)),
        age=(buffer.age + buffer.valid).at[slots].set(0),
        valid=buffer.valid.at[slots].set(True),
    )


def slots_to_fill(buffer, reward, batch_size):
    """The slots that `insert` fills with a batch: (batch_size,) int32."""
    # Priorities are all equal until the first student step; without ages a warm-up would only ever replace the
    # images that it made last.
    return jnp.lexsort((-buffer.age, jnp.where(buffer.valid, reward, -jnp.inf)))[:batch_size]


def sample(buffer, key, batch_size, *, alpha, beta, epsilon=1e-6, normalize_by="batch"):
    """Draws entries with probability `P_i = (|priority_i| + epsilon)^alpha / sum over the buffer`.

    One entry from each of `batch_size` equal parts of the probability mass (Schaul et al., appendix B.2.1): the
    expected number of draws of entry i is `batch_size * P_i`, with less variance than independent draws.

    Args:
      buffer: a ReplayBuffer with at least one valid entry.
      key: PRNG key, the same on every device.
      batch_size: size b of the whole batch.
      alpha: how strongly priorities count; 0 draws uniformly.
      beta: how far the importance weights `w_i = (B P_i)^-beta` undo that; B = number of valid entries.
      epsilon: keeps zero-priority entries drawable.
      normalize_by: what is scaled to 1: the largest weight of the "batch" drawn, as in prioritized replay, the largest
        of the whole "buffer", or the batch's "mean" weight, which leaves the size of the gradient unchanged.

    Returns:
      (indices (b,) int32, weights (b,) float32 > 0), the same on every device.

    Raises:
      ValueError: an unknown `normalize_by`.
    """
    if normalize_by not in NORMALIZATIONS:
        raise ValueError(f"normalize_by is {normalize_by!r}, expected one of {', '.join(NORMALIZATIONS)}")
    mass = jnp.where(buffer.valid, (jnp.abs(buffer.priority) + epsilon) ** alpha, 0.0)
    cumulative = jnp.cumsum(mass)
    points = (jnp.arange(batch_size) + jax.random.uniform(key, (batch_size,))) / batch_size
    indices = jnp.searchsorted(cumulative, points * cumulative[-1], side="right")
    indices = _nearest_valid(buffer.valid, indices)

    expected = mass / cumulative[-1] * jnp.sum(buffer.valid)
    weights = jnp.where(buffer.valid, jnp.where(buffer.valid, expected, 1.0) ** -beta, 0.0)
    drawn = weights[indices]
    unit = {"batch": jnp.max(drawn), "buffer": jnp.max(weights), "mean": jnp.mean(drawn)}[normalize_by]
    return indices, drawn / unit


def read(buffer, indices, dtype=jnp.float32, *, axis_name=None):
    """Images of the given entries: (b,) int -> (b / devices, h, w, c) in [0, 1], this device's part of the batch."""
    return _decode(collectives.take_rows(buffer.images, indices, axis_name), dtype)


def update_priorities(buffer, indices, priorities):
    """Sets the priorities of the entries at `indices` (b,) to `|priorities|` (b,), both of the whole batch.

    An entry that occurs several times gets the largest of its values, whatever the order of the updates.
    """
    chex.assert_equal_shape([indices, priorities])
    latest = jnp.full_like(buffer.priority, -1.0).at[indices].max(jnp.abs(priorities).astype(jnp.float32))
    return buffer._replace(priority=jnp.where(latest >= 0, latest, buffer.priority))


def class_counts(buffer, num_classes):
    """How many valid entries the teacher puts into each class: (num_classes,) int32, or float32 of shares of images."""
    if buffer.predicted_class.ndim == 2:
        return jnp.sum(jnp.where(buffer.valid[:, None], buffer.predicted_class, 0.0), axis=0)
    return jnp.zeros(num_classes, jnp.int32).at[buffer.predicted_class].add(buffer.valid.astype(jnp.int32))


def rank_in_class(buffer):
    """Each entry's place among the valid ones of its class, by falling priority: (B,) int32, 0 for the highest.

    Where entries have shares of classes, theirs is the one with the largest share.
    """
    classes = buffer.predicted_class if buffer.predicted_class.ndim == 1 else jnp.argmax(buffer.predicted_class, axis=1)
    # Those without an image come last, as a class of their own.
    classes = jnp.where(buffer.valid, classes, jnp.iinfo(jnp.int32).max)
    order = jnp.lexsort((-buffer.priority, classes))
    place = jnp.arange(len(order)) - jnp.searchsorted(classes[order], classes[order], side="left")
    return jnp.zeros(len(order), jnp.int32).at[order].set(place.astype(jnp.int32))


def evenness(class_counts):
    """Entropy of the shares of classes, as a share of the largest possible: (classes,) -> float32, 1 is balanced."""
    shares = class_counts / jnp.maximum(jnp.sum(class_counts), 1)
    return -jnp.sum(shares * jnp.log(jnp.maximum(shares, 1e-12))) / jnp.log(len(class_counts))


def size(buffer):
    """Number of valid entries, int32 scalar."""
    return jnp.sum(buffer.valid, dtype=jnp.int32)


def _encode(images, dtype):
    return to_uint8(images) if dtype == jnp.uint8 else images.astype(dtype)


def _decode(stored, dtype):
    return to_unit(stored, dtype) if stored.dtype == jnp.uint8 else stored.astype(dtype)


def _nearest_valid(valid, indices):
    """Rounding can put a point on the border of an entry without mass; take the valid entry before it, or the first."""
    numbers = jnp.arange(valid.shape[0])
    at_or_before = jax.lax.cummax(jnp.where(valid, numbers, -1))
    index = at_or_before[jnp.minimum(indices, valid.shape[0] - 1)]
    return jnp.where(index >= 0, index, jnp.argmax(valid)).astype(jnp.int32)

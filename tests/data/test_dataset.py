import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssdkd_jax.data import Dataset, subset
from ssdkd_jax.errors import UserError


def dataset(counts):
    """`counts[c]` images of class c, mixed; every image holds its own number."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.int32)
    images = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
    return Dataset(images, labels, tuple("abcdef"[: len(counts)]))


@given(
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    fraction=st.floats(0.01, 1),
    seed=st.integers(0, 1000),
)
def test_every_class_keeps_its_share(counts, fraction, seed):
    whole = dataset(counts)
    part = subset(whole, fraction, seed)
    kept = np.bincount(part.labels, minlength=len(counts))
    np.testing.assert_array_equal(kept, [max(1, round(fraction * n)) for n in counts])
    np.testing.assert_array_equal(whole.labels[part.images.ravel()], part.labels)
    assert (np.diff(part.images.ravel().astype(int)) > 0).all()


def test_the_seed_decides():
    whole = dataset([40, 40])
    np.testing.assert_array_equal(subset(whole, 0.25, 1).images, subset(whole, 0.25, 1).images)
    assert not np.array_equal(subset(whole, 0.25, 1).images, subset(whole, 0.25, 2).images)


@pytest.mark.parametrize("fraction", [0, -0.1, 1.5])
def test_a_fraction_is_a_fraction(fraction):
    with pytest.raises(UserError, match="more than 0 and at most 1"):
        subset(dataset([3]), fraction, 0)

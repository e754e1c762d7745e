"""scikit-learn's handwritten digits: 1,797 gray images of 8x8 that come with the installation."""

import numpy as np

from ssdkd_jax.data import pixels
from ssdkd_jax.data.dataset import Dataset, DatasetInfo

_CLASS_NAMES = tuple("0123456789")
_SIZES = {"train": 1437, "test": 360}


def load(split: str, size: tuple[int, int] | None) -> Dataset:
    """Reads the split 'train' (1,437 images) or 'test' (360).

    scikit-learn publishes no split; this one is stratified and drawn with seed 0.  Pixels 0..16 become 0..255.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    counts, labels = load_digits(return_X_y=True)
    train, test = train_test_split(np.arange(len(labels)), test_size=_SIZES["test"], stratify=labels, random_state=0)
    rows = np.sort(train if split == "train" else test)
    images = np.round(counts[rows] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    resized = [pixels.resize(image, size) for image in images]
    return Dataset(np.stack(resized), labels[rows].astype(np.int32), _CLASS_NAMES)


def info(size: tuple[int, int] | None) -> DatasetInfo:
    """Describes the set; `size` is the (height, width) that images are resized to, or None."""
    return DatasetInfo((*(size or (8, 8)), 1), _CLASS_NAMES, dict(_SIZES))

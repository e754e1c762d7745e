"""Where real images come from, and what happens to their pixels on the device."""

from ssdkd_jax.data.dataset import Dataset, DatasetInfo, subset
from ssdkd_jax.data.loading import dataset_info, folder_of, load_split, split_digest
from ssdkd_jax.data.normalization import chosen_normalization, normalization, normalization_name
from ssdkd_jax.data.pixels import with_channels
from ssdkd_jax.data.preprocessing import augment, normalize, random_crop, random_flip, to_uint8, to_unit

__all__ = [
    "Dataset",
    "DatasetInfo",
    "augment",
    "chosen_normalization",
    "dataset_info",
    "folder_of",
    "load_split",
    "normalization",
    "normalization_name",
    "normalize",
    "random_crop",
    "random_flip",
    "split_digest",
    "subset",
    "to_uint8",
    "to_unit",
    "with_channels",
]

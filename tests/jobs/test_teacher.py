"""Where a trained teacher is kept."""

import pytest

from ssdkd_jax.jobs import teacher


@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        ("cifar10", "cifar10"),
        ("cifar10:3.0.2", "cifar10:3.0.2"),
        ("folder:data", "folder:data"),
        ("folder:./data//", "folder:data"),
        ("folder:/my/data", "folder:data"),
        ("segmentation:data/", "segmentation:data"),
        ("/my/images.py:load", "/my/images.py:load"),
    ],
)
def test_a_folder_of_images_has_one_name_however_its_path_is_written(dataset, name):
    """Its images have a digest of their own in what a teacher is kept under."""
    assert teacher._without_place(dataset) == name

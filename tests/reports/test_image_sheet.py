"""images.png: which images are on the sheet, in which order, and that none of their pixels is changed."""

import numpy as np
import pytest
from PIL import Image

from ssdkd_jax.reports.image_sheet import fitted, write_image_sheet
from ssdkd_jax.reports.run_files import read_buffer
from tests.finished_run import HOSTILE, run_buffer, run_report


def sheet(folder, **buffer):
    np.savez(folder / "buffer.npz", **run_buffer(**buffer))
    path = write_image_sheet(folder, read_buffer(folder))
    assert path == folder / "images.png"
    return np.asarray(Image.open(path).convert("RGB"))


def tiles(pixels, side):
    """Images of one flat color each, row by row: their red values."""
    inside = pixels[..., 1] == 7
    rows = [row for row in range(len(pixels)) if inside[row].any() and not inside[row - 1].any()]
    found = []
    for row in rows:
        columns = [c for c in range(pixels.shape[1]) if inside[row, c] and not inside[row, c - 1]]
        for column in columns:
            block = pixels[row : row + side, column : column + side]
            assert (block == block[0, 0]).all(), "an image is not where it belongs"
        found.append([int(pixels[row, column, 0]) for column in columns])
    return found


def flat(values, side=8):
    images = np.zeros((len(values), side, side, 3), np.uint8)
    images[..., 0], images[..., 1] = np.reshape(values, (-1, 1, 1)), 7
    return images


def test_a_row_a_class_from_the_surest_to_the_least_sure(tmp_path):
    pixels = sheet(
        tmp_path,
        count=6,
        images=flat([10, 20, 30, 40, 50, 60]),
        predicted_class=np.array([0, 1, 0, 1, 0, 2]),
        confidence=np.array([0.2, 0.9, 0.8, 0.1, 0.5, 0.3]),
    )
    assert tiles(pixels, 64) == [[30, 50, 10], [20, 40], [60]]


def test_many_images_and_classes_are_a_choice(tmp_path):
    count = 23 * 30
    pixels = sheet(
        tmp_path,
        classes=30,
        count=count,
        images=flat(np.arange(count) // 30 + np.where(np.arange(count) % 30 == 29, 100, 0)),
        confidence=np.linspace(1.0, 0.0, count),
    )
    rows = tiles(pixels, 64)
    assert len(rows) == 10 and {len(row) for row in rows} == {12}
    assert rows[0] == list(range(0, 23, 2)) and rows[-1] == [100 + value for value in rows[0]]


def test_small_images_grow_by_whole_pixels_and_large_ones_shrink():
    rng = np.random.default_rng(0)
    gray = rng.integers(0, 256, (28, 28, 1), dtype=np.uint8)
    np.testing.assert_array_equal(fitted(gray), np.repeat(np.repeat(gray, 2, 0), 2, 1).repeat(3, 2))
    assert fitted(rng.integers(0, 256, (40, 20, 3), dtype=np.uint8)).shape == (40, 20, 3)
    assert fitted(rng.integers(0, 256, (40, 20, 4), dtype=np.uint8)).shape == (40, 20, 3)
    two = rng.integers(0, 256, (28, 28, 2), dtype=np.uint8)
    np.testing.assert_array_equal(fitted(two), fitted(two[..., :1]))
    assert fitted(rng.integers(0, 256, (224, 112, 3), dtype=np.uint8)).shape == (64, 32, 3)


@pytest.mark.parametrize("name", [HOSTILE, "$x_$", "猫" * 40, "two\nlines", ""])
def test_any_class_name_can_be_drawn(tmp_path, name, recwarn):
    pixels = sheet(tmp_path, classes=1, class_names=np.array([name]))
    assert pixels.shape[0] == 64 + 20 and pixels.shape[1] < 1300
    assert not recwarn.list


def test_an_empty_class_is_an_empty_row(tmp_path):
    pixels = sheet(tmp_path, classes=3, count=2, images=flat([10, 20]), predicted_class=np.array([0, 2]))
    assert tiles(pixels, 64) == [[10], [20]]
    assert len(pixels) == 3 * 64 + 2 * 4 + 20


def test_the_report_leaves_a_sheet_where_there_are_images(tmp_path):
    run_report(tmp_path)
    assert not (tmp_path / "images.png").exists()
    run_report(tmp_path, buffer=run_buffer(count=0))
    assert not (tmp_path / "images.png").exists()
    run_report(tmp_path, buffer=run_buffer())
    assert Image.open(tmp_path / "images.png").width > 10 * 64

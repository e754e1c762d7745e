"""Images and label maps in folders, the made set of shapes, and everything that can be wrong with them."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from ssdkd_jax.data import dataset_info, label_maps, load_split, shapes, subset
from ssdkd_jax.errors import UserError

IGNORE = label_maps.IGNORE


def put(root, place, array):
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8)).save(path)


def put_pair(root, split, name, labels):
    """An image whose red is ten times its labels."""
    labels = np.asarray(labels, np.uint8)
    put(root, f"{split}/images/{name}.png", np.stack([10 * labels, 0 * labels, 0 * labels], -1))
    put(root, f"{split}/labels/{name}.png", labels)


@pytest.fixture
def root(tmp_path):
    put_pair(tmp_path, "train", "b", [[0, 1, 2], [2, 2, 9]])
    put_pair(tmp_path, "train", "a", [[0, 0, 0], [1, 1, 1]])
    put_pair(tmp_path, "val", "c", [[2, 2, 2], [0, 0, 9]])
    classes = {"names": ["sky", "road", "car"], "colors": [[0, 0, 255], [9, 9, 9], [255, 0, 0]], "ignore": 9}
    (tmp_path / "classes.json").write_text(json.dumps(classes))
    return tmp_path


def test_images_and_labels_go_together_in_alphabetical_order(root):
    train = load_split(f"segmentation:{root}", "train")
    assert train.class_names == ("sky", "road", "car")
    assert train.images.shape == (2, 2, 3, 3) and train.labels.dtype == np.uint8
    np.testing.assert_array_equal(train.labels, [[[0, 0, 0], [1, 1, 1]], [[0, 1, 2], [2, 2, IGNORE]]])
    known = train.labels != IGNORE
    np.testing.assert_array_equal(train.images[..., 0][known], 10 * train.labels[known])


def test_training_images_are_not_tested_with_by_a_link(root):
    (root / "test").symlink_to("train")
    with pytest.raises(UserError, match=r"test/images/a\.png and \S+/train/images/a\.png are the same file, by a link"):
        dataset_info(f"segmentation:{root}")


def test_the_info_agrees_and_the_test_split_may_be_called_val(root):
    info = dataset_info(f"segmentation:{root}")
    assert (info.image_shape, info.sizes, info.task) == ((2, 3, 3), {"train": 2, "test": 1}, "segmentation")
    assert info.colors == ((0, 0, 255), (9, 9, 9), (255, 0, 0))
    assert load_split(f"segmentation:{root}", "test").labels.shape == (1, 2, 3)


def test_labels_are_resized_without_mixing(root):
    small, large = (load_split(f"segmentation:{root}", "train", image_size=size) for size in ((2, 3), (8, 12)))
    np.testing.assert_array_equal(large.labels, small.labels.repeat(4, axis=1).repeat(4, axis=2))
    assert large.images.shape == (2, 8, 12, 3)


def test_classes_are_numbered_where_nothing_names_them(root):
    (root / "classes.json").unlink()
    put_pair(root, "train", "b", [[0, 1, 2], [2, 2, IGNORE]])
    assert dataset_info(f"segmentation:{root}").class_names == ("0", "1", "2")


def test_known_sets_need_a_folder_but_for_their_shape_and_classes(root):
    info = dataset_info("camvid", image_size=96)
    assert info.image_shape == (96, 96, 3) and len(info.class_names) == len(info.colors) == 11
    with pytest.raises(UserError, match=r"^camvid is a folder with train/images.* --config\.data_dir=FOLDER$"):
        load_split("camvid", "train")
    assert load_split("nyuv2", "train", data_dir=root).class_names == ("sky", "road", "car")  # its own file's


def test_a_share_of_images_is_drawn_from_all_of_them(root):
    train = load_split(f"segmentation:{root}", "train")
    assert len(subset(train, 0.5, seed=0).images) == len(subset(train, 0.01, seed=0).labels) == 1


def test_files_that_are_not_read_are_counted_by_kind(root, capsys):
    put_pair(root, "train", "d", [[0, 1, 2], [2, 2, 9]])
    for kind in ("images", "labels"):
        (root / "train" / kind / "city").mkdir()
        (root / "train" / kind / "d.png").rename(root / "train" / kind / "city" / "d.png")
    for name in ("images/a.npy", "labels/a.json", "labels/b.json", "README.md"):
        (root / "train" / name).touch()
    assert len(load_split(f"segmentation:{root}", "train").images) == 2
    said = capsys.readouterr().out
    assert f"6 of 10 files in {root}/train are skipped: " in said and said.count("\n") == 1
    for kind in ("2 not directly in images or labels", "2 .json", "1 .md", "1 .npy"):
        assert kind in said


def broken_label(root):
    put_pair(root, "train", "a", [[0, 7, 0], [1, 1, 1]])
    return r"train/labels/a\.png has the label 7, expected 0\.\.2, or 9 for pixels to ignore; mend the file"


def other_size(root):
    put(root, "train/labels/a.png", np.zeros((3, 3)))
    return r"labels/a\.png is 3x3 but its image .*images/a\.png is 2x3 \(height x width\), expected the same; replace"


def empty_split(root):
    for kind in ("images", "labels"):
        (root / "train" / kind / "a.png").unlink(), (root / "train" / kind / "b.png").unlink()
    return r"^the split 'train' is empty; expected images in .*train/images, and their label maps in labels$"


def images_in_folders_below(root):
    empty_split(root)
    put(root, "train/images/city/a.png", [[0]])
    return (
        r"^the split 'train' has no images, but 1 image\(s\) in folders below; expected images in .*train/images, and"
    )


def pipe(root):
    os.mkfifo(root / "train/images/d.png")
    return r"^.*train/images/d\.png is no file, expected an image; move it elsewhere$"


def missing_class(root):
    put_pair(root, "train", "b", [[0, 1, 1], [1, 1, 9]])
    return r"train/labels has no pixel of the class car; add images with it, or take it out of classes\.json"


def no_counterpart(root):
    (root / "train/labels/a.png").unlink()
    return r"train/images/a\.png has no counterpart in .*train/labels; add a\.png there, or move it elsewhere$"


def colors_for_labels(root):
    put(root, "train/labels/a.png", np.zeros((2, 3, 3)))
    return r"labels/a\.png has pixels of mode RGB, expected class numbers, a gray or palette PNG"


def no_image(root):
    (root / "train/labels/a.png").write_text("not an image")
    return r"labels/a\.png cannot be read as an image"


def lossy_labels(root):
    (root / "train/labels/a.png").unlink()
    Image.fromarray(np.zeros((2, 3), np.uint8)).save(root / "train/labels/a.jpg")
    return r"labels/a\.jpg is a JPEG, which changes numbers; expected a PNG: write it anew$"


def bad_classes(root):
    (root / "classes.json").write_text('{"names": ["sky", "sky"]}')
    return r'classes\.json: expected \{"names": .*give each class a name of its own$'


def one_text_for_all_names(root):
    (root / "classes.json").write_text('{"names": "abc"}')
    return r"but its names are 'abc'; give each class a name of its own$"


def ignored_class(root):
    (root / "classes.json").write_text('{"names": ["sky", "road", "car"], "ignore": 1}')
    return r"but ignore is 1; expected 3\.\.255, beside the classes$"


MISTAKES = (broken_label, other_size, empty_split, missing_class, no_counterpart, colors_for_labels, no_image)
OF_LABELS = (lossy_labels, bad_classes, one_text_for_all_names, ignored_class)
OF_FOLDERS = (images_in_folders_below, pipe)


@pytest.mark.parametrize(
    "mistake",
    [*MISTAKES, *OF_LABELS, *OF_FOLDERS],
    ids=lambda mistake: mistake.__name__,
)
def test_a_mistake_is_told_in_one_line(root, mistake):
    expected = mistake(root)
    with pytest.raises(UserError, match=expected) as error:
        load_split(f"segmentation:{root}", "train")
    assert "\n" not in str(error.value)


def test_shapes_are_drawn_by_a_seed():
    train, test = (shapes.load(split, (16, 24)) for split in ("train", "test"))
    assert train.images.shape == (480, 16, 24, 3) and test.labels.shape == (120, 16, 24)
    shapes.load.cache_clear()
    np.testing.assert_array_equal(shapes.load("train", (16, 24)).images, train.images)
    assert not np.array_equal(train.images[:120], test.images)
    shares = np.bincount(train.labels.ravel(), minlength=256) / train.labels.size
    assert shares[1:5].min() > 0.02 and 0.5 < shares[0] < 0.9 and 0 < shares[IGNORE] < 0.2
    assert dataset_info("shapes", image_size=16).image_shape == (16, 16, 3)


def test_a_class_that_is_lost_by_shrinking_is_said_to_be_that(root):
    put_pair(root, "train", "b", [[2, 1, 1, 1], [1, 0, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]])
    with pytest.raises(
        UserError, match=r"no pixel of the class car left at 2x2; choose a larger --config.image_size=N$"
    ):
        load_split(f"segmentation:{root}", "train", image_size=2)


def test_maps_with_nothing_to_measure_are_refused(root):
    put_pair(root, "val", "c", [[9, 9, 9], [9, 9, 9]])
    with pytest.raises(UserError, match=r"the label maps of .*val have no pixel of a class, only such to ignore"):
        load_split(f"segmentation:{root}", "test")


def test_more_classes_than_label_files_can_number(root):
    (root / "classes.json").write_text(json.dumps({"names": [str(i) for i in range(300)]}))
    with pytest.raises(UserError, match=r"but has 300; expected at most 255, which label files can number$"):
        load_split(f"segmentation:{root}", "train")

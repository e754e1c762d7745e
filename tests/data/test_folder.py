import os
import shutil

import numpy as np
import pytest
from PIL import Image

from ssdkd_jax.data import dataset_info, load_split, split_digest
from ssdkd_jax.errors import UserError

RED, GREEN, GRAY = (255, 0, 0), (0, 255, 0), 128


def put(root, place, color, size=(6, 4)):
    """One plain image; `size` is Pillow's (width, height)."""
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L" if isinstance(color, int) else "RGB", size, color).save(path)


@pytest.fixture
def root(tmp_path):
    put(tmp_path, "train/cat/1.png", RED)
    put(tmp_path, "train/ant/2.webp", GREEN)
    put(tmp_path, "train/ant/1.PNG", RED)
    put(tmp_path, "val/ant/8.jpg", RED)
    put(tmp_path, "val/cat/9.jpg", GREEN)
    (tmp_path / "train" / "cat" / "notes.txt").write_text("not an image")
    return tmp_path


def test_classes_and_files_come_in_alphabetical_order(root):
    train = load_split(f"folder:{root}", "train")
    assert train.class_names == ("ant", "cat")
    assert train.images.shape == (3, 4, 6, 3) and train.images.dtype == np.uint8
    np.testing.assert_array_equal(train.labels, [0, 0, 1])
    assert train.labels.dtype == np.int32
    np.testing.assert_array_equal(train.images[0, 0, 0], RED)
    np.testing.assert_allclose(train.images[1, 0, 0], GREEN, atol=8)


@pytest.mark.parametrize("name", ["test", "val", "validation"])
def test_the_test_split_has_three_names(root, name):
    (root / "val").rename(root / name)
    test = load_split(f"folder:{root}", "test")
    assert test.class_names == ("ant", "cat")
    np.testing.assert_array_equal(test.labels, [0, 1])


def test_the_info_agrees_with_the_images(root):
    info = dataset_info(f"folder:{root}")
    assert info[:3] == ((4, 6, 3), ("ant", "cat"), {"train": 3, "test": 2})
    assert dataset_info(f"folder:{root}", image_size=8).image_shape == (8, 8, 3)


def test_the_digest_is_that_of_images_and_classes_wherever_they_are(root):
    def digest(split="train"):
        return split_digest(f"folder:{root}", split)

    train, test = digest(), digest("test")
    (root / "train" / "ant" / "notes.txt").write_text("not an image")
    (root / "val").rename(root / "test")
    assert (digest(), digest("test")) == (train, test)
    (root / "train" / "ant" / "2.webp").rename(root / "train" / "cat" / "2.webp")
    assert (moved := digest()) != train
    put(root, "train/cat/2.webp", RED)
    assert digest() not in (train, moved)
    os.rename(root / "train/cat/1.png", os.fsencode(root / "train/cat") + b"/\xff.png")
    assert len(digest()) == 64
    with pytest.raises(UserError, match="there is no folder"):
        split_digest(f"folder:{root}/nowhere", "train")


def test_gray_stays_gray_unless_one_image_has_color(tmp_path):
    put(tmp_path, "train/a/1.png", GRAY)
    assert load_split(f"folder:{tmp_path}", "train").images.shape == (1, 4, 6, 1)
    put(tmp_path, "test/a/1.png", RED)
    assert load_split(f"folder:{tmp_path}", "train").images.shape == (1, 4, 6, 3)
    assert dataset_info(f"folder:{tmp_path}").image_shape == (4, 6, 3)


@pytest.mark.parametrize(("name", "mode"), [("odd.png", "RGBA"), ("odd.gif", "P"), ("odd.jpg", "CMYK")])
def test_the_few_files_in_color_among_gray_ones_are_named_once(tmp_path, capsys, name, mode):
    for number in range(3):
        put(tmp_path, f"train/a/{number}.png", GRAY)
    Image.new("RGB", (6, 4), RED).convert(mode).save(tmp_path / "train" / "a" / name)
    for _ in range(2):
        assert dataset_info(f"folder:{tmp_path}").image_shape == (4, 6, 3)
    assert capsys.readouterr().out == (
        f"1 of 4 images in {tmp_path} are in color, the others gray: {tmp_path}/train/a/{name} ({mode}); so all are "
        "read in color; for gray images, save those as such, or move them elsewhere\n"
    )


def test_what_is_not_read_of_an_image_is_said_once(root, capsys):
    load_split(f"folder:{root}", "train")
    capsys.readouterr()
    Image.new("RGBA", (6, 4), (255, 0, 0, 9)).save(root / "train" / "cat" / "clear.png")
    Image.new("P", (6, 4)).save(root / "train" / "cat" / "index.png", transparency=0)
    frames = [Image.new("RGB", (6, 4), color) for color in (RED, GREEN, (0, 0, 9))]
    for name in ("moving.gif", "moving.webp", "pages.tiff"):
        frames[0].save(root / "train" / "cat" / name, save_all=True, append_images=frames[1:])
    for _ in range(2):
        load_split(f"folder:{root}", "train")
    out, cat = capsys.readouterr().out, root / "train" / "cat"
    assert out.count("transparency") == 1 and out.count("frames") == 1
    assert (
        f"2 of 8 images in {root}/train store transparency, which is not read: {cat}/clear.png (RGBA), "
        f"{cat}/index.png (P); for a background of another color, save them with it\n"
    ) in out
    assert (
        f"3 of 8 images in {root}/train have several frames, of which the first is read: {cat}/moving.gif (3), "
        f"{cat}/moving.webp (3), {cat}/pages.tiff (3); for the others, save each as a file of its own\n"
    ) in out


def test_gray_files_among_those_in_color_are_no_news(root, capsys):
    put(root, "train/cat/gray.png", GRAY)
    capsys.readouterr()
    assert dataset_info(f"folder:{root}").image_shape == (4, 6, 3)
    assert "in color" not in capsys.readouterr().out


def test_images_of_differing_size_need_an_image_size(root):
    put(root, "train/cat/wide.png", RED, size=(9, 4))
    for read in (lambda: load_split(f"folder:{root}", "train"), lambda: dataset_info(f"folder:{root}")):
        with pytest.raises(
            UserError, match=r"wide\.png is 4x9 but .*1\.PNG is 4x6.*one that all are resized to: --config.image_size=N"
        ):
            read()
    assert load_split(f"folder:{root}", "train", image_size=(5, 7)).images.shape == (4, 5, 7, 3)


def link_split(root):
    (root / "test").symlink_to("train")


def link_class(root):
    (root / "test").mkdir()
    for name in ("ant", "cat"):
        (root / "test" / name).symlink_to(root / "train" / name)


def link_file(root):
    (root / "val").rename(root / "test")
    os.link(root / "train" / "cat" / "1.png", root / "test" / "cat" / "1.png")


@pytest.mark.parametrize("link", [link_split, link_class, link_file])
def test_training_images_are_not_tested_with_by_a_link(root, link):
    link(root)
    with pytest.raises(
        UserError, match=rf"^{root}/test/\S+ and {root}/train/\S+ are the same file, by a link, so that "
    ):
        dataset_info(f"folder:{root}")


def test_training_images_are_not_tested_with_as_a_copy(root):
    shutil.copytree(root / "train", root / "test")
    with pytest.raises(
        UserError, match=rf"^all images of {root}/test are copies of those in {root}/train, so that .* {root}/te"
    ):
        dataset_info(f"folder:{root}")
    put(root, "test/cat/other.png", GREEN)
    assert dataset_info(f"folder:{root}").sizes == {"train": 3, "test": 4}


def test_a_damaged_image_is_named(root):
    (root / "train" / "cat" / "bad.png").write_bytes(b"\x89PNG nothing more")
    with pytest.raises(
        UserError, match=r"bad\.png cannot be read as an image .*; replace it, or move it elsewhere$"
    ) as caught:
        load_split(f"folder:{root}", "train")
    assert "\n" not in str(caught.value)


def test_an_image_cut_short_is_named(root):
    Image.effect_noise((6, 4), 50).save(root / "train" / "cat" / "cut.png")
    whole = (root / "train" / "cat" / "cut.png").read_bytes()
    (root / "train" / "cat" / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"cut\.png cannot be read as an image"):
        load_split(f"folder:{root}", "train")


def test_hidden_files_are_no_images(root):
    """macOS leaves an AppleDouble file next to every image that it copies, and Linux trash folders."""
    (root / "train" / "cat" / "._1.png").write_bytes(b"\x00\x05\x16\x07")
    (root / "train" / "cat" / ".DS_Store").write_bytes(b"Bud1")
    (root / "train" / ".DS_Store").write_bytes(b"Bud1")
    put(root, "train/.trash/1.png", RED)
    train = load_split(f"folder:{root}", "train")
    assert train.class_names == ("ant", "cat")
    np.testing.assert_array_equal(train.labels, [0, 0, 1])
    assert dataset_info(f"folder:{root}").sizes == {"train": 3, "test": 2}


def test_files_that_are_not_read_are_counted_by_kind_once(root, capsys):
    for name in ("ant/1.heic", "ant/below/2.HEIC", "cat/names", "classes.csv"):
        path = root / "train" / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    put(root, "train/stray.png", RED)
    (root / "train" / "cat" / "more").symlink_to(root / "val")
    for _ in range(2):
        assert load_split(f"folder:{root}", "train").images.shape[0] == 3
    load_split(f"folder:{root}", "test")
    assert capsys.readouterr().out == (
        f"7 of 10 files in {root}/train are skipped: 2 .heic, 1 .csv, 1 in no class's folder, 1 linked folder(s), "
        "1 without a suffix, 1 .txt; those that are read end in "
        ".bmp, .gif, .jpeg, .jpg, .pgm, .png, .ppm, .tif, .tiff, .webp\n"
    )


def test_a_class_of_other_files_says_what_it_holds(root):
    (root / "train" / "ant" / "1.PNG").rename(root / "train" / "ant" / "1.npy")
    (root / "train" / "ant" / "2.webp").rename(root / "train" / "ant" / "2.heic")
    with pytest.raises(UserError, match=r"^no images in .*train/ant \(1 \.npy, 1 \.heic\); expected PNG"):
        dataset_info(f"folder:{root}")


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("read", [lambda name: load_split(name, "train"), dataset_info])
def test_classes_without_images_are_named(root, split, read):
    (root / "train" / "bee").mkdir()
    (root / "train" / "dog").mkdir()
    put(root, "train/bee/1.png", RED)
    put(root, "train/dog/1.png", RED)
    for name in ("bee", "dog"):
        (root / split / name).mkdir(exist_ok=True)
        (root / split / name / "1.png").unlink(missing_ok=True)
        (root / split / name / "._1.png").write_bytes(b"")
    with pytest.raises(UserError) as caught:
        read(f"folder:{root}")
    message = str(caught.value)
    assert f"no images in {root}/{split}/bee, {root}/{split}/dog; expected PNG" in message and "\n" not in message


def test_no_folder_no_images_no_class(tmp_path, root):
    with pytest.raises(UserError, match=r"there is no folder .*nowhere"):
        load_split(f"folder:{tmp_path}/nowhere", "train")
    put(root, "val/wolf/1.png", RED)
    with pytest.raises(UserError, match="wolf has no counterpart"):
        load_split(f"folder:{root}", "test")


@pytest.mark.parametrize("read", [load_split, lambda name, split: dataset_info(name)])
def test_an_empty_folder_says_what_was_expected(tmp_path, read):
    with pytest.raises(UserError, match=r"no images found for the split 'train'; .*train/<class>/"):
        read(f"folder:{tmp_path}", "train")


def test_16_bits_are_scaled_to_8(tmp_path):
    pixels = np.array([[0, 257, 8000], [32896, 56000, 65535]], np.uint16)
    for name in ("1.png", "2.tif"):
        (tmp_path / "train" / "a").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "train" / "a" / name)
    images = load_split(f"folder:{tmp_path}", "train").images
    np.testing.assert_array_equal(images[..., 0], [[[0, 1, 31], [128, 218, 255]]] * 2)
    put(tmp_path, "train/a/3.png", RED, size=(3, 2))
    in_color = load_split(f"folder:{tmp_path}", "train").images
    np.testing.assert_array_equal(in_color[:2], np.repeat(images, 3, axis=-1))


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_pixels_of_an_unknown_range_are_refused(root, dtype):
    Image.fromarray(np.zeros((4, 6), dtype)).save(root / "train" / "cat" / "deep.tif")
    with pytest.raises(UserError, match=r"deep\.tif cannot be read .*32 bits of unknown range; expected 8 or 16 bits"):
        load_split(f"folder:{root}", "train")


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/nowhere.png")])
def test_what_is_no_file_is_named(root, make):
    make(root / "train" / "cat" / "x.png")
    with pytest.raises(UserError, match=r"cat/x\.png is no file, expected an image; move it elsewhere"):
        dataset_info(f"folder:{root}")


def test_images_in_folders_below_a_class_belong_to_it(root):
    put(root, "train/ant/x.png/3.png", GREEN)
    put(root, "train/ant/.hidden/3.png", GREEN)
    (root / "train" / "ant" / "loop").symlink_to(root / "train")
    np.testing.assert_array_equal(load_split(f"folder:{root}", "train").labels, [0, 0, 0, 1])


def test_a_class_that_the_test_split_lacks_is_named(root):
    put(root, "train/dog/1.png", RED)
    for read in (dataset_info, lambda name: load_split(name, "train"), lambda name: load_split(name, "test")):
        with pytest.raises(UserError, match=r"val has no folder of the class dog, which the training split has"):
            read(f"folder:{root}")

"""Collected images: from folders with all kinds of files in them, data sets, and scikit-learn's photographs."""

import numpy as np
import pytest
from PIL import Image

from ssdkd_jax.data import collected
from ssdkd_jax.errors import UserError
from tests.refusals import refusal


def picture(path, color=(200, 30, 30), size=(12, 9)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L" if isinstance(color, int) else "RGB", size, color).save(path)


@pytest.fixture
def folder(tmp_path):
    """Seven red images of several kinds and sizes, two of them further down, and hidden ones."""
    for number, name in enumerate(
        ("a.png", "b.jpg", "c.webp", "below/d.JPEG", "below/further/e.png", "f.png", "g.png")
    ):
        picture(tmp_path / name, size=(8 + number, 9))
    picture(tmp_path / ".hidden" / "x.png")
    picture(tmp_path / ".x.png")
    return tmp_path


def test_a_folder(folder, capsys):
    images = collected.load(f"folder:{folder}", (6, 6, 3))
    assert (images.shape, images.dtype) == ((7, 6, 6, 3), np.uint8)
    assert np.abs(images[:, 0, 0].astype(int) - (200, 30, 30)).max() < 8
    assert collected.load(str(folder), (6, 6, 1), most=4).shape == (4, 6, 6, 1)
    assert capsys.readouterr().out == ""


def test_a_draw_depends_on_the_seed_alone(tmp_path):
    for number in range(8):
        picture(tmp_path / f"{number}.png", 30 * number)
    draws = [collected.load(str(tmp_path), (2, 2, 1), most=3, seed=seed)[:, 0, 0, 0].tolist() for seed in (0, 0, 1, 2)]
    assert draws[0] == draws[1] and len(set(map(tuple, draws))) > 1


def test_files_that_cannot_be_read_are_skipped_counted_and_named(folder, capsys):
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:50])
    (folder / "empty.jpg").touch()
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    (folder / "text.webp").write_text("no image")
    assert len(collected.load(str(folder), (6, 6, 3))) == 7
    line = capsys.readouterr().out
    assert line.startswith("4 of 11 files are skipped, they cannot be read as images: ") and line.count("\n") == 1
    assert f"{folder}/" in line and line.endswith(", ...\n")


def test_files_of_other_kinds_are_counted(folder, capsys):
    for name in ("1.heic", "below/2.heic", "notes.txt"):
        (folder / name).touch()
    assert [collected.count(str(folder), None) for _ in range(2)] == [7, 7]
    line = capsys.readouterr().out
    assert line.startswith(f"3 of 10 files in {folder} are skipped: 2 .heic, 1 .txt; those that are read end in .bmp, ")
    assert line.count("\n") == 1


def test_gray_images_for_a_color_teacher(tmp_path, capsys):
    picture(tmp_path / "a.png", 100)
    picture(tmp_path / "b.png", 50)
    assert collected.load(str(tmp_path), (4, 4, 3)).shape == (2, 4, 4, 3)
    assert capsys.readouterr().out.startswith(f"all images of {tmp_path} are gray, but the teacher's have 3 channels: ")
    picture(tmp_path / "c.png")
    collected.load(str(tmp_path), (4, 4, 3))
    assert capsys.readouterr().out.startswith(f"2 of 3 images of {tmp_path} are gray, but the teacher's have 3 channel")


def test_folders_without_images(tmp_path):
    assert f"there is no folder {tmp_path}/nowhere" in refusal(collected.count, f"{tmp_path}/nowhere", None)
    expected = "; expected at least 2 files that end in .bmp, "
    assert f"no images in {tmp_path}, nor below it{expected}" in refusal(collected.count, str(tmp_path), None)
    (tmp_path / "a.heic").touch()
    assert f"nor below it, but 1 .heic{expected}" in refusal(collected.count, str(tmp_path), None)
    assert "there is no folder here/there here; unknown data set" in refusal(
        collected.count, "here/there", str(tmp_path)
    )
    assert "'folder:' names no folder, expected its path" in refusal(collected.count, "folder:", None)
    assert "/ is the whole disk; expected a folder" in refusal(collected.count, "/", None)
    picture(tmp_path / "one.png")
    assert collected.count(str(tmp_path), None) == 1
    assert "holds a single image, expected at least 2" in refusal(collected.load, str(tmp_path), (4, 4, 3))
    (tmp_path / "one.png").write_text("no image")
    assert "none of the 1 files" in refusal(collected.load, str(tmp_path), (4, 4, 3))


@pytest.mark.parametrize(
    ("pictures", "broken", "expected"),
    [(2, 3, ""), (1, 3, "holds a single image, expected at least 2"), (0, 3, "none of the 3 files in")],
)
def test_whether_a_folder_has_enough_images_that_can_be_read(tmp_path, capsys, pictures, broken, expected):
    for number in range(broken):
        (tmp_path / f"a{number}.png").write_text("no image")
    for number in range(pictures):
        picture(tmp_path / f"b{number}.png")
    if expected:
        assert expected in refusal(collected.check_readable, str(tmp_path), (4, 4, 3))
    else:
        collected.check_readable(str(tmp_path), (4, 4, 3))
    assert capsys.readouterr().out == "", "the run says what is skipped"


def test_no_more_is_read_than_it_takes_to_know(folder, monkeypatch):
    decode, decoded = collected.pixels.decode, []
    monkeypatch.setattr(collected.pixels, "decode", lambda *of: decoded.append(of) or decode(*of))
    collected.check_readable(f"folder:{folder}", (4, 4, 3))
    collected.check_readable("photographs", (4, 4, 3))
    assert len(decoded) == collected.FEWEST


def test_a_data_set_that_is_not_prepared(tmp_path):
    assert "cifar10 is not prepared" in refusal(collected.count, "cifar10", str(tmp_path))
    assert "'photograph'; did you mean 'photographs'?" in refusal(collected.count, "photograph", str(tmp_path))
    (tmp_path / "0.png").touch()
    assert f"{tmp_path}/0.png is a file; expected" in refusal(collected.count, f"{tmp_path}/0.png", None)


def test_a_data_set_is_the_same_however_it_is_spelled(tmp_path):
    assert collected.is_same(f"{tmp_path}/./", f"folder:{tmp_path}")
    assert collected.is_same(f"segmentation:{tmp_path}/./", f"segmentation:{tmp_path}")
    assert collected.is_same("cifar10:3.0.2", "cifar10") and not collected.is_same("cifar10", "cifar100")
    assert not collected.is_same("photographs", "digits") and not collected.is_same(f"{tmp_path}/a", f"{tmp_path}/b")


def test_how_many_are_read(tmp_path):
    for name in "abc":
        picture(tmp_path / f"{name}.png")
    assert [collected.count(str(tmp_path), None, most) for most in (None, 2, 9)] == [3, 2, 3]
    assert [collected.count("photographs", None, most) for most in (None, 7)] == [collected.MANY, 7]


def test_linked_folders_are_read_once(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "all").mkdir()
    picture(tmp_path / "elsewhere/a.png")
    picture(tmp_path / "all/b.png")
    for name in ("one", "two"):
        (tmp_path / "all" / name).symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "all")
    assert collected.count(str(tmp_path / "all"), None) == 2


def test_a_data_set():
    images = collected.load("digits", (8, 8, 1), most=5)
    assert (images.shape, images.dtype) == ((5, 8, 8, 1), np.uint8)


def test_photographs():
    gray, colored = (collected.load("photographs", (8, 8, channels), most=20) for channels in (1, 3))
    assert (gray.shape, colored.shape) == ((20, 8, 8, 1), (20, 8, 8, 3))
    assert np.all(gray.max(axis=(1, 2, 3)) == 255) and np.all(np.median(gray, axis=(1, 2, 3)) < 5)
    assert len(np.unique(colored.reshape(20, -1), axis=0)) == 20
    assert np.array_equal(gray, collected.load("photographs", (8, 8, 1), most=20))
    assert collected.load("photographs", (8, 8, 4), most=20).shape == (20, 8, 8, 4)


@pytest.mark.parametrize(
    ("by", "most", "expected"),
    [
        ("random", 9, [0, 1, 2, 3, 4, 5]),
        ("confidence", 3, [0, 1, 3]),
        # Two of class 0, and the only ones of classes 1 and 2.
        ("classes", 4, [0, 1, 4, 5]),
        ("classes", 5, [0, 1, 3, 4, 5]),
    ],
)
def test_which_are_kept(by, most, expected):
    classes, confidences = np.array([0, 0, 0, 0, 1, 2]), np.array([0.9, 0.8, 0.6, 0.7, 0.1, 0.2])
    assert collected.choose(classes, confidences, most, by).tolist() == expected


def test_a_folder_is_told_from_a_data_set(tmp_path, monkeypatch):
    (tmp_path / "cifar10").mkdir()
    picture(tmp_path / "cifar10/a.png")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^cifar10 is a folder here; expected it as folder:cifar10, or a data set"):
        collected.count("cifar10", None)
    assert [collected.count(name, None) for name in ("folder:cifar10", "./cifar10", f"{tmp_path}/cifar10")] == [1] * 3


def test_what_is_not_read_of_an_image_is_said(folder, capsys):
    Image.new("RGBA", (6, 4), (255, 0, 0, 9)).save(folder / "clear.png")
    (folder / "broken.png").write_bytes(b"nothing")
    collected.load(str(folder), (6, 6, 3))
    expected = f"1 of 8 images in {folder} store transparency, which is not read: {folder}/clear.png (RGBA); "
    assert expected in capsys.readouterr().out

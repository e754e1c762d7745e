"""Files and folders are written atomically, and nothing of anybody else's is touched."""

import json

import pytest

from ssdkd_jax import files
from ssdkd_jax.errors import UserError

OWN = files.Layout("a|b", "c", "a, b")


def test_a_file_appears_whole(tmp_path):
    files.write_at_once(tmp_path / "text", "ä")
    files.write_at_once(tmp_path / "bytes", b"\x00")
    files.write_at_once(tmp_path / "json", {"a": [1]})
    assert (tmp_path / "text").read_text(encoding="utf-8") == "ä"
    assert (tmp_path / "bytes").read_bytes() == b"\x00"
    assert json.loads((tmp_path / "json").read_text()) == {"a": [1]}
    assert len(list(tmp_path.iterdir())) == 3


def test_what_only_saves_time_is_written_where_that_is_possible(tmp_path):
    path = tmp_path / "new" / "file.npz"
    files.write_if_possible(path, lambda file: file.write(b"first"))
    assert path.read_bytes() == b"first"

    def fail(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    files.write_if_possible(path, fail)
    with files.try_lock(path.with_suffix(".lock")):
        files.write_if_possible(path, lambda file: file.write(b"beside another"))
        path.with_suffix(".lock").unlink()
    files.write_if_possible(path / "in a file", lambda file: file.write(b""))
    assert [(found.name, found.read_bytes()) for found in path.parent.iterdir()] == [("file.npz", b"first")]


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path):
    (tmp_path / "file").write_text("before")
    with pytest.raises(RuntimeError), files.replaced_file(tmp_path / "file") as unfinished:
        unfinished.write_text("half")
        raise RuntimeError
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


def test_a_folder_is_replaced_whole(tmp_path):
    for text in ("one", "two"):
        with files.replaced_folder(tmp_path / "folder", OWN) as unfinished:
            (unfinished / "a").write_text(text)
    assert (tmp_path / "folder" / "a").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_folder_that_fails_stays_as_it_was(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_text("before")
    with pytest.raises(RuntimeError), files.replaced_folder(tmp_path / "folder", OWN) as unfinished:
        (unfinished / "a").write_text("half")
        raise RuntimeError
    assert (tmp_path / "folder" / "a").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_folder_with_a_foreign_file_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("mine")
    with (
        pytest.raises(UserError, match=r"holds notes.txt, expected nothing but a, b; nothing was written"),
        files.replaced_folder(tmp_path / "folder", OWN),
    ):
        pytest.fail("the block must not run")
    assert (tmp_path / "folder" / "notes.txt").read_text() == "mine"


def test_a_foreign_file_deep_in_a_folder_is_refused(tmp_path):
    def write():
        with files.replaced_folder(tmp_path / "folder", OWN) as unfinished:
            (unfinished / "b" / "c").mkdir(parents=True)
            (unfinished / "b" / "c" / "c").write_text("ours")

    write()
    write()
    (tmp_path / "folder" / "b" / "c" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds b/c/notes.txt, expected nothing but a, b; nothing was written"):
        write()
    assert (tmp_path / "folder" / "b" / "c" / "notes.txt").read_text() == "mine"


def test_killed_while_replacing(tmp_path):
    """Between the two renames the folder is not there; the next program that looks for it puts it back."""
    (tmp_path / ".folder.replaced").mkdir()
    (tmp_path / ".folder.replaced" / "a").write_text("before")
    files.recover_folder(tmp_path / "folder", OWN)
    assert (tmp_path / "folder" / "a").read_text() == "before"


@pytest.mark.parametrize("name", [".folder.replaced", ".folder.unfinished"])
def test_a_hidden_folder_of_somebody_else_is_left_alone(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "notes.txt").write_text("mine")
    with (
        pytest.raises(UserError, match=rf"{name} holds notes.txt, expected nothing but a, b"),
        files.replaced_folder(tmp_path / "folder", OWN),
    ):
        pytest.fail("the block must not run")
    assert (tmp_path / name / "notes.txt").read_text() == "mine"


def test_an_unknown_home_is_refused():
    assert files.expand("~/x").is_absolute() and str(files.expand("x")) == "x"
    with pytest.raises(UserError, match="~nobody-here/x begins with a home directory that is unknown"):
        files.expand("~nobody-here/x")

"""Files and folders are written atomically, and nothing of anybody else's is touched."""

import json
import os
import re

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


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("out.csv", None, "--out={path} ends in '.csv', expected a file that ends in .json"),
        ("out", None, "--out={path} has no suffix, expected a file that ends in .json"),
        ("out.json", "[1]", "{path} is damaged, it holds a list: expected a JSON object; choose another file"),
        ("out.json", "{", "{path} is damaged, it is not JSON"),
        ("out.json", '{"name": "x"}', "{path} holds something else, expected ablation to replace; choose another file"),
        ("out.json", '{"kind": "run"}', "{path} holds run, expected ablation to replace; choose another file"),
    ],
)
def test_results_go_into_a_json_file_of_their_own(tmp_path, name, content, expected):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError) as error:
        files.check_results_file(path, "ablation")
    assert str(error.value).startswith(expected.format(path=path))
    assert content is None or path.read_text() == content


def test_probing_a_folder_leaves_nothing_and_takes_nothing(tmp_path):
    (tmp_path / ".writable").write_text("mine")
    assert files.make_folder(tmp_path) == tmp_path
    assert [path.name for path in tmp_path.iterdir()] == [".writable"]


@pytest.mark.parametrize("address", ["s3://bucket/x", "gs://bucket/x"])
def test_an_address_is_no_folder(address):
    with pytest.raises(UserError, match=f"{address} is an address, expected a folder of this machine's file system"):
        files.make_folder(address)


@pytest.mark.parametrize(("suffixes", "expected"), [((), "folder"), ([".json"], "file")])
def test_an_address_is_no_output(suffixes, expected):
    with pytest.raises(UserError, match=f"gs://b/x.json is an address, expected a {expected} of this machine's"):
        files.check_output("gs://b/x.json", suffixes)


@pytest.mark.parametrize("folder", ["net", "net/variables", "net/new/runs", "link/runs"])
def test_no_folder_in_that_of_a_saved_network(tmp_path, folder):
    (tmp_path / "net" / "variables").mkdir(parents=True)
    (tmp_path / "link").symlink_to("net")
    assert files.make_folder(tmp_path / "net" / "variables").is_dir()
    (tmp_path / "net" / "network.json").touch()
    before = sorted(tmp_path.rglob("*"))
    expected = f"{tmp_path}/net, which holds nothing else; choose another: --config.teacher.cache_dir=DIR"
    with pytest.raises(UserError, match=re.escape(f"{folder} is in or at the folder of a saved network, {expected}")):
        files.make_folder(tmp_path / folder, "--config.teacher.cache_dir")
    with pytest.raises(UserError, match=r"choose another: --out=FILE.json"):
        files.check_results_file(tmp_path / folder / "out.json", "run")
    assert sorted(tmp_path.rglob("*")) == before
    assert files.check_output(tmp_path / "net", overwrite=True) == tmp_path / "net"


@pytest.mark.parametrize("folder", ["run/checkpoints", "run/checkpoints/latest", "run/tensorboard/mine"])
def test_no_folder_in_those_of_a_run(tmp_path, folder):
    (tmp_path / folder).mkdir(parents=True)
    assert files.make_folder(tmp_path / folder).is_dir()
    (tmp_path / "run" / "experiment.json").touch()
    with pytest.raises(UserError, match=f"{folder} is in or at a folder of a run's own, .*; choose another: --out=DIR"):
        files.make_folder(tmp_path / folder, "--out")
    assert files.make_folder(tmp_path / "run" / "mine").is_dir()


def test_a_folder_without_a_name():
    with pytest.raises(UserError, match=r"--config.x names no folder, expected one: --config.x=DIR"):
        files.make_folder("", "--config.x")


@pytest.mark.parametrize("folder", ["link", "link/deeper"])
def test_a_folder_behind_a_link_to_nothing(tmp_path, folder):
    (tmp_path / "link").symlink_to("gone")
    with pytest.raises(
        UserError, match=r"/link is a link to gone, which is not there; make that, or choose another: -"
    ):
        files.make_folder(tmp_path / folder)
    assert files.make_folder(tmp_path / "gone") and files.make_folder(tmp_path / folder).is_dir()


def test_a_file_beyond_the_limit_of_this_process(monkeypatch):
    files.check_file_size(2**40, "a checkpoint")
    monkeypatch.setattr(files.resource, "getrlimit", lambda _: (4096, 4096))
    files.check_file_size(4096, "a checkpoint")
    expected = (
        "files may have 0.0 MB here (ulimit -f), expected 1.0 MB for a checkpoint; raise the limit: ulimit -f unl"
    )
    with pytest.raises(UserError, match=re.escape(expected)):
        files.check_file_size(10**6, "a checkpoint")


INFINITY = files.resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("limits", "after"),
    [
        ((64, 64), None),
        ((INFINITY, INFINITY), None),
        ((1024, INFINITY), None),
        ((20, 4096), (64, 4096)),
        ((20, INFINITY), (64, INFINITY)),
    ],
)
def test_the_limit_of_open_files_is_raised_where_it_is_too_low(monkeypatch, limits, after):
    done = []
    monkeypatch.setattr(files.resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(files.resource, "setrlimit", lambda _, new: done.append(new))
    files.allow_open_files()
    assert done == [after] * (after is not None)


def test_a_limit_of_open_files_that_cannot_be_raised(monkeypatch):
    monkeypatch.setattr(files.resource, "getrlimit", lambda _: (16, 20))
    with pytest.raises(
        UserError, match=r"only 20 files may be open .* \(ulimit -n\), expected 64 at least; raise the li"
    ):
        files.allow_open_files()


def test_results_may_replace_their_own_kind(tmp_path):
    path = tmp_path / "new" / "out.json"
    assert files.check_results_file(path, "ablation") == path
    path.write_text('{"kind": "ablation"}')
    assert files.check_results_file(path, "ablation") == path


def test_results_cannot_be_a_directory_or_below_a_file(tmp_path):
    (tmp_path / "out.json").mkdir()
    with pytest.raises(UserError, match=r"out.json is a directory"):
        files.check_results_file(tmp_path / "out.json", "ablation")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"/file is no folder, but a file; choose another: --out=FILE.json"):
        files.check_results_file(tmp_path / "file" / "out.json", "ablation")


@pytest.mark.parametrize(
    ("make", "name", "expected"),
    [
        (
            lambda path: path.write_text("mine"),
            "taken",
            "{taken} is no folder, but a file; choose another: --workdir=DIR",
        ),
        (
            lambda path: path.write_text("mine"),
            "taken/a/b",
            "{taken} is no folder, but a file, so {taken}/a/b cannot be in it; choose another: --workdir=DIR",
        ),
        (os.mkfifo, "taken", "{taken} is no folder, but a pipe or a device; choose another: --workdir=DIR"),
    ],
    ids=["file", "in a file", "pipe"],
)
def test_a_file_is_no_folder(tmp_path, make, name, expected):
    make(tmp_path / "taken")
    with pytest.raises(UserError) as error:
        files.make_folder(tmp_path / name)
    assert str(error.value) == expected.format(taken=tmp_path / "taken")


def test_what_is_refused_leaves_no_empty_folder(tmp_path):
    (tmp_path / "there").mkdir()
    for name in ("there", "new", "there/new/inner"):
        with pytest.raises(UserError, match="refused"), files.removed_if_refused(tmp_path / name):
            files.make_folder(tmp_path / name)
            raise UserError("refused")
    assert list(tmp_path.rglob("*")) == [tmp_path / "there"]


def test_what_is_refused_leaves_what_it_has_written(tmp_path):
    with pytest.raises(UserError), files.removed_if_refused(tmp_path / "new" / "inner"):
        files.make_folder(tmp_path / "new" / "inner")
        (tmp_path / "new" / "log").touch()
        raise UserError("refused")
    assert list(tmp_path.rglob("*")) == [tmp_path / "new", tmp_path / "new" / "log"]


def test_an_unknown_home_is_refused():
    assert files.expand("~/x").is_absolute() and str(files.expand("x")) == "x"
    with pytest.raises(UserError, match="~nobody-here/x begins with a home directory that is unknown"):
        files.expand("~nobody-here/x")


@pytest.mark.parametrize(
    ("name", "suffixes", "expected"),
    [
        ("notes.txt", (".onnx",), "--out={path} ends in '.txt', expected a file that ends in .onnx"),
        ("README", (".pth", ".pt"), "--out={path} has no suffix, expected a file that ends in .pth or .pt"),
        ("data.onnx", (".onnx",), "{path} exists already; choose another name with --out, or replace it"),
        ("link.onnx", (".onnx",), "{folder}/data.onnx exists already"),
        ("folder.onnx", (".onnx",), "{path} is a directory, expected the name of a file to write: --out=FILE"),
        ("folder.onnx", (), "{path} exists already"),
        ("data.onnx", (), "{path} is a file, expected the name of a folder to write: --out=FOLDER"),
        ("data.onnx/new", (), "{folder}/data.onnx is no folder, but a file; choose another: --out=DIR"),
    ],
)
def test_outputs_are_of_their_kind_and_replace_nothing(tmp_path, name, suffixes, expected):
    for file in ("notes.txt", "README", "data.onnx"):
        (tmp_path / file).write_text("mine")
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "link.onnx").symlink_to("data.onnx")
    with pytest.raises(UserError) as error:
        files.check_output(tmp_path / name, suffixes)
    assert str(error.value).startswith(expected.format(path=tmp_path / name, folder=tmp_path))


def test_outputs_are_replaced_on_request_behind_links(tmp_path):
    (tmp_path / "data.onnx").write_text("mine")
    (tmp_path / "link.onnx").symlink_to("data.onnx")
    assert files.check_output(tmp_path / "link.onnx", (".onnx",), overwrite=True) == tmp_path / "data.onnx"
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    assert files.check_output(tmp_path / "link", overwrite=True) == tmp_path / "folder"
    new = tmp_path / "made" / "new"
    assert files.check_output(new) == new
    assert not list(new.parent.iterdir())


@pytest.mark.parametrize(
    ("about", "wrong"),
    [
        ({"student": "b", "settings": {"kd_steps": 4}}, ""),
        ({"student": "b"}, ""),
        ({"shape": (8, 8)}, ""),
        ({"student": "c"}, "results of student=b, and these are of c; choose another file: --out=FILE.json"),
        ({"dtype": "float32"}, "results of dtype=None, and these are of float32; choose another"),
        ({"settings": {"kd_steps": 4, "views": 0}}, "results of views=None, and these are of 0; choose another"),
        ({"settings": {"kd_steps": 5}}, "results of kd_steps=4, and these are of 5; choose another"),
    ],
)
def test_results_are_measured_anew_in_their_own_place_only(tmp_path, about, wrong):
    path = tmp_path / "out.json"
    files.check_measures_the_same(path, about)
    path.write_text('{"student": "b", "settings": {"kd_steps": 4}, "shape": [8, 8]}')
    if not wrong:
        return files.check_measures_the_same(path, about)
    with pytest.raises(UserError, match=re.escape(wrong)):
        files.check_measures_the_same(path, about)


@pytest.mark.parametrize(
    "use",
    [
        lambda path: files.check_output(path, (".json",), overwrite=True),
        lambda path: files.check_results_file(path, "run"),
        lambda path: files.write_at_once(path, {}),
        lambda path: files.check_written_by_us(path.parent, {path.name: "{"}),
        files.read_object,
    ],
    ids=["output", "results", "write", "replace", "read"],
)
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path, use):
    os.mkfifo(tmp_path / "out.json")
    with pytest.raises(UserError, match=r"out.json is a pipe or a device, expected "):
        use(tmp_path / "out.json")
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


@pytest.mark.parametrize("use", [files.make_folder, lambda path: files.check_results_file(path, "run")])
def test_a_home_that_is_unknown(use):
    with pytest.raises(UserError, match=r"~nouser/x.json begins with a home directory that is unknown"):
        use("~nouser/x.json")

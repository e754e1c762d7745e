"""What a user names for output: what is refused, before anything is written."""

import os
import re

import pytest

from ssdkd_jax import files, outputs
from ssdkd_jax.errors import UserError


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
        outputs.check_results_file(path, "ablation")
    assert str(error.value).startswith(expected.format(path=path))
    assert content is None or path.read_text() == content


def test_probing_a_folder_leaves_nothing_and_takes_nothing(tmp_path):
    (tmp_path / ".writable").write_text("mine")
    assert outputs.make_folder(tmp_path) == tmp_path
    assert [path.name for path in tmp_path.iterdir()] == [".writable"]


@pytest.mark.parametrize("address", ["s3://bucket/x", "gs://bucket/x"])
def test_an_address_is_no_folder(address):
    with pytest.raises(UserError, match=f"{address} is an address, expected a folder of this machine's file system"):
        outputs.make_folder(address)


@pytest.mark.parametrize(("suffixes", "expected"), [((), "folder"), ([".json"], "file")])
def test_an_address_is_no_output(suffixes, expected):
    with pytest.raises(UserError, match=f"gs://b/x.json is an address, expected a {expected} of this machine's"):
        outputs.check_output("gs://b/x.json", suffixes)


@pytest.mark.parametrize("folder", ["net", "net/variables", "net/new/runs", "link/runs"])
def test_no_folder_in_that_of_a_saved_network(tmp_path, folder):
    (tmp_path / "net" / "variables").mkdir(parents=True)
    (tmp_path / "link").symlink_to("net")
    assert outputs.make_folder(tmp_path / "net" / "variables").is_dir()
    (tmp_path / "net" / "network.json").touch()
    before = sorted(tmp_path.rglob("*"))
    expected = f"{tmp_path}/net, which holds nothing else; choose another: --config.teacher.cache_dir=DIR"
    with pytest.raises(UserError, match=re.escape(f"{folder} is in or at the folder of a saved network, {expected}")):
        outputs.make_folder(tmp_path / folder, "--config.teacher.cache_dir")
    with pytest.raises(UserError, match=r"choose another: --out=FILE.json"):
        outputs.check_results_file(tmp_path / folder / "out.json", "run")
    assert sorted(tmp_path.rglob("*")) == before
    assert outputs.check_output(tmp_path / "net", overwrite=True) == tmp_path / "net"


@pytest.mark.parametrize("folder", ["run/checkpoints", "run/checkpoints/latest", "run/tensorboard/mine"])
def test_no_folder_in_those_of_a_run(tmp_path, folder):
    (tmp_path / folder).mkdir(parents=True)
    assert outputs.make_folder(tmp_path / folder).is_dir()
    (tmp_path / "run" / "experiment.json").touch()
    with pytest.raises(UserError, match=f"{folder} is in or at a folder of a run's own, .*; choose another: --out=DIR"):
        outputs.make_folder(tmp_path / folder, "--out")
    assert outputs.make_folder(tmp_path / "run" / "mine").is_dir()


def test_a_folder_without_a_name():
    with pytest.raises(UserError, match=r"--config.x names no folder, expected one: --config.x=DIR"):
        outputs.make_folder("", "--config.x")


@pytest.mark.parametrize("folder", ["link", "link/deeper"])
def test_a_folder_behind_a_link_to_nothing(tmp_path, folder):
    (tmp_path / "link").symlink_to("gone")
    with pytest.raises(
        UserError, match=r"/link is a link to gone, which is not there; make that, or choose another: -"
    ):
        outputs.make_folder(tmp_path / folder)
    assert outputs.make_folder(tmp_path / "gone") and outputs.make_folder(tmp_path / folder).is_dir()


def test_results_may_replace_their_own_kind(tmp_path):
    path = tmp_path / "new" / "out.json"
    assert outputs.check_results_file(path, "ablation") == path
    path.write_text('{"kind": "ablation"}')
    assert outputs.check_results_file(path, "ablation") == path


def test_results_cannot_be_a_directory_or_below_a_file(tmp_path):
    (tmp_path / "out.json").mkdir()
    with pytest.raises(UserError, match=r"out.json is a directory"):
        outputs.check_results_file(tmp_path / "out.json", "ablation")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"/file is no folder, but a file; choose another: --out=FILE.json"):
        outputs.check_results_file(tmp_path / "file" / "out.json", "ablation")


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
        outputs.make_folder(tmp_path / name)
    assert str(error.value) == expected.format(taken=tmp_path / "taken")


def test_what_is_refused_leaves_no_empty_folder(tmp_path):
    (tmp_path / "there").mkdir()
    for name in ("there", "new", "there/new/inner"):
        with pytest.raises(UserError, match="refused"), outputs.removed_if_refused(tmp_path / name):
            outputs.make_folder(tmp_path / name)
            raise UserError("refused")
    assert list(tmp_path.rglob("*")) == [tmp_path / "there"]


def test_what_is_refused_leaves_what_it_has_written(tmp_path):
    with pytest.raises(UserError), outputs.removed_if_refused(tmp_path / "new" / "inner"):
        outputs.make_folder(tmp_path / "new" / "inner")
        (tmp_path / "new" / "log").touch()
        raise UserError("refused")
    assert list(tmp_path.rglob("*")) == [tmp_path / "new", tmp_path / "new" / "log"]


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
        outputs.check_output(tmp_path / name, suffixes)
    assert str(error.value).startswith(expected.format(path=tmp_path / name, folder=tmp_path))


def test_outputs_are_replaced_on_request_behind_links(tmp_path):
    (tmp_path / "data.onnx").write_text("mine")
    (tmp_path / "link.onnx").symlink_to("data.onnx")
    assert outputs.check_output(tmp_path / "link.onnx", (".onnx",), overwrite=True) == tmp_path / "data.onnx"
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    assert outputs.check_output(tmp_path / "link", overwrite=True) == tmp_path / "folder"
    new = tmp_path / "made" / "new"
    assert outputs.check_output(new) == new
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
    outputs.check_measures_the_same(path, about)
    path.write_text('{"student": "b", "settings": {"kd_steps": 4}, "shape": [8, 8]}')
    if not wrong:
        return outputs.check_measures_the_same(path, about)
    with pytest.raises(UserError, match=re.escape(wrong)):
        outputs.check_measures_the_same(path, about)


@pytest.mark.parametrize(
    "use",
    [
        lambda path: outputs.check_output(path, (".json",), overwrite=True),
        lambda path: outputs.check_results_file(path, "run"),
        lambda path: files.write_at_once(path, {}),
        lambda path: outputs.check_written_by_us(path.parent, {path.name: "{"}),
        files.read_object,
    ],
    ids=["output", "results", "write", "replace", "read"],
)
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path, use):
    os.mkfifo(tmp_path / "out.json")
    with pytest.raises(UserError, match=r"out.json is a pipe or a device, expected "):
        use(tmp_path / "out.json")
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


@pytest.mark.parametrize("use", [outputs.make_folder, lambda path: outputs.check_results_file(path, "run")])
def test_a_home_that_is_unknown(use):
    with pytest.raises(UserError, match=r"~nouser/x.json begins with a home directory that is unknown"):
        use("~nouser/x.json")

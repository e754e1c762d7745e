"""Which source the package was imported from."""

import pathlib

import ssdkd_jax
from ssdkd_jax import source


def write(folder, **contents):
    for name, content in contents.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def test_names_and_contents_decide(tmp_path):
    of = [{"inner__a": "depth = 1"}, {"inner__a": "depth = 2"}, {"inner__b": "depth = 2"}, {"a": "depth = 2"}]
    digests = [source.digest(write(tmp_path / str(number), **contents)) for number, contents in enumerate(of)]
    assert len(set(digests)) == len(of) and "" not in digests
    assert source.digest(write(tmp_path / "again", **of[0])) == digests[0]


def test_an_editors_own_files_do_not_count(tmp_path):
    before = source.digest(write(tmp_path, a="depth = 1"))
    (tmp_path / ".#a.py").symlink_to("somebody@machine.123")
    (tmp_path / "b.py").symlink_to("nowhere.py")
    (tmp_path / "notes.txt").write_text("mine")
    assert source.digest(tmp_path) == before


def test_of_a_package_without_source_nothing_is_known(tmp_path, monkeypatch):
    assert source.digest(tmp_path) == ""
    monkeypatch.setattr(source, "AS_IMPORTED", "")
    assert not source.is_unchanged()


def test_a_change_since_the_import_is_seen(monkeypatch):
    assert source.is_unchanged()
    monkeypatch.setattr(source, "AS_IMPORTED", "of what was imported")
    assert not source.is_unchanged()


def test_it_is_taken_before_any_other_module_is_imported():
    lines = pathlib.Path(ssdkd_jax.__file__).read_text().splitlines()
    imports = [line for line in lines if line.lstrip().startswith(("import ssdkd_jax", "from ssdkd_jax"))]
    assert imports[0].startswith("from ssdkd_jax import source")

"""A user's own Python files, as they are and as they are broken."""

import re
import sys

import pytest

from ssdkd_jax.errors import UserError
from ssdkd_jax.user_code import absolute, described, is_user_code, load_object, reported_errors
from tests import refusals


@pytest.fixture(autouse=True)
def nothing_stays(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])


def file(tmp_path, content, name="mine.py"):
    (tmp_path / name).write_text(content)
    return str(tmp_path / name)


def refusal(text):
    return refusals.refusal(load_object, text)


def test_which_names_are_user_code():
    assert is_user_code("net.py:make") and is_user_code("/some/net.py:make")
    assert not any(is_user_code(name) for name in ("digits", "cifar10:3.0.2", "folder:/path", "net.py", "wrn16_1"))


def test_functions_and_classes_are_found(tmp_path):
    path = file(tmp_path, "def make():\n    return 3\n\nclass Net:\n    pass\n")
    assert load_object(f"{path}:make")() == 3
    assert load_object(f"{path}:Net").__name__ == "Net"


def test_a_file_is_imported_once_even_if_it_changes(tmp_path, monkeypatch):
    path = file(tmp_path, "class Net:\n    pass\n")
    net = load_object(f"{path}:Net")
    file(tmp_path, "raise RuntimeError('imported again')")
    monkeypatch.chdir(tmp_path)
    assert load_object("mine.py:Net") is load_object("./mine.py:Net") is net


def test_two_files_of_one_name_are_two_modules(tmp_path):
    for folder, value in (("a", 1), ("b", 2)):
        (tmp_path / folder).mkdir()
        file(tmp_path / folder, f"VALUE = {value}")
    assert load_object(f"{tmp_path}/a/mine.py:VALUE") == 1
    assert load_object(f"{tmp_path}/b/mine.py:VALUE") == 2


def test_a_file_can_import_its_neighbor_but_shadows_nothing(tmp_path):
    file(tmp_path, "VALUE = 7", "a_neighbor_of_mine.py")
    file(tmp_path, "raise RuntimeError", "jax.py")
    path = file(tmp_path, "import jax\nfrom a_neighbor_of_mine import VALUE\nVERSION = jax.__version__\n")
    assert load_object(f"{path}:VALUE") == 7
    assert load_object(f"{path}:VERSION")


def test_postponed_annotations_of_a_dataclass(tmp_path):
    """They are looked up in the module that `sys.modules` has."""
    lines = ["from __future__ import annotations", "import dataclasses", "@dataclasses.dataclass", "class A:"]
    path = file(tmp_path, "\n".join([*lines, "    x: int = 4"]))
    assert load_object(f"{path}:A")().x == 4


def test_absolute_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert absolute("sub/net.py:make") == f"{tmp_path}/sub/net.py:make"
    assert absolute("~/net.py:make") == "/home/somebody/net.py:make"


@pytest.mark.parametrize("text", ["net.txt:make", "net.py", "net.py:", "net.py:a b", "net.py:make:more", ""])
def test_what_does_not_name_an_object(text):
    assert refusal(text) == f"{text!r} does not name an object of a Python file; expected path/to/file.py:Name"


def test_no_such_file(tmp_path):
    assert refusal(f"{tmp_path}/no.py:make").startswith(f"there is no file {tmp_path}/no.py; expected path/to/file.py")
    (tmp_path / "folder.py").mkdir()
    assert f"there is no file {tmp_path}/folder.py" in refusal(f"{tmp_path}/folder.py:make")


def test_a_syntax_error_is_named_by_file_and_line(tmp_path):
    path = file(tmp_path, "x = 1\ndef make(:\n")
    assert re.fullmatch(f"{path}:make is not valid Python: {path}, line 2: .+", refusal(f"{path}:make"))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("raise ValueError('two\\nlines')", "ValueError: two lines"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("import sys; sys.exit()", "SystemExit"),
        ("import json; json.loads('{')", "JSONDecodeError: .*"),
    ],
)
def test_an_exception_while_importing_is_named_by_file_and_line(tmp_path, line, expected):
    path = file(tmp_path, f"x = 1\n{line}\n")
    assert re.fullmatch(rf"{path}:make fails with {expected} \({path}, line 2\)", refusal(f"{path}:make"))
    # A mistake that was fixed is no longer remembered.
    file(tmp_path, "def make():\n    return 5  # at last\n")
    assert load_object(f"{path}:make")() == 5


def test_no_such_name_suggests_the_closest(tmp_path):
    path = file(tmp_path, "def make_network():\n    pass\n")
    assert refusal(f"{path}:make_netwrok") == f"there is no 'make_netwrok' in {path}; did you mean 'make_network'?"
    assert refusal(f"{path}:zzz") == f"there is no 'zzz' in {path}, which defines make_network"


def test_errors_of_a_call_are_reported_with_the_innermost_line_of_the_file(tmp_path):
    path = file(tmp_path, "def outer():\n    return inner()\n\ndef inner():\n    return int('x')\n")
    outer = load_object(f"{path}:outer")
    message = r"outer fails with ValueError: invalid literal .* \(.*mine\.py, line 5\)$"
    with pytest.raises(UserError, match=message), reported_errors(f"{path}:outer"):
        outer()


def test_the_users_own_user_errors_and_interruptions_pass(tmp_path):
    for error in (UserError("as it is"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, reported_errors("net.py:make"):
            raise error
        assert caught.value is error


def test_an_error_that_no_line_of_the_file_raised_is_placed_in_this_package(tmp_path):
    path = file(tmp_path, "from ssdkd_jax.methods.image_bank import ImageBank\n")
    bank = load_object(f"{path}:ImageBank")
    message = r"ImageBank fails with NotImplementedError \(image_bank\.py, in make_images\)$"
    with pytest.raises(UserError, match=message), reported_errors(f"{path}:ImageBank"):
        bank.make_images(None, None, None, None, None)


def raised(function):
    try:
        function()
    except Exception as error:
        return error


def test_an_error_of_any_imported_file_is_described(tmp_path):
    lines = ["import jax", "@jax.jit", "def inner(x):", "    return x + undefined", "def outer():", "    inner(1.0)"]
    path = file(tmp_path, "\n".join(lines))
    outer = load_object(f"{path}:outer")

    def from_another():
        try:
            outer()
        except NameError as error:
            raise RuntimeError("something else") from error

    expected = (
        f"{path} fails with NameError: name 'undefined' is not defined ({path}, line 4); "
        "JAX_TRACEBACK_FILTERING=off shows the whole traceback"
    )
    assert described(raised(outer)) == described(raised(from_another)) == expected


def test_errors_of_this_package_alone_are_not_described():
    assert described(raised(lambda: load_object("no.py:make"))) is None

"""How cost grows: what is measured at each value, that a stopped measurement goes on, its table and its plot."""

import functools
import json

import jax
import pytest

from ssdkd_jax.errors import UserError
from ssdkd_jax.reports import tables
from ssdkd_jax.reports.growth_plot import growth_plot
from ssdkd_jax.reports.results_files import read_result
from ssdkd_jax.speed import growth as module
from ssdkd_jax.speed.growth import VALUES, fields_of, growth
from ssdkd_jax.speed.timing import Budget
from ssdkd_jax.training import memory
from tests import programs, tiny_job

BRIEF = Budget(1, 0.0)
config = functools.partial(tiny_job.config, "", ssdkd__kd_steps=2, ssdkd__views=0)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """(file, content) of a size of the buffer, and of three devices, over which the batches cannot be divided."""
    path = tmp_path_factory.mktemp("growth") / "growth.json"
    values = {"buffer size": (4000,), "devices": (3,)}
    return path, growth(config(), path, budget=BRIEF, values=values, command="the command")


@pytest.mark.slow
def test_every_value_is_measured(measured):
    path, content = measured
    assert json.loads(path.read_text()) == json.loads(json.dumps(content))
    point = content["points"]["buffer size"]["4000"]
    for figure in ("epoch", "inversion step", "student step", "buffer: sample"):
        assert point["milliseconds"][figure]["median"] > 0
    assert point["compile_seconds"] > 0
    assert point["memory_bytes"] > 4000 * 64  # the images
    assert "cannot be divided over 3 devices" in content["points"]["devices"]["3"]["refused"]


def test_sizes_beyond_the_memory_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "memory_of", lambda device: 10**6)
    content = growth(config(), tmp_path / "growth.json", budget=BRIEF, values={"buffer size": (40_000,)})
    refused = content["points"]["buffer size"]["40000"]["refused"]
    assert refused.startswith("the run's arrays take at least 0.0 GB, but there are 0.0 GB; time a smaller buffer")


def test_points_have_the_precision_of_the_config(tmp_path, monkeypatch):
    class Found(Exception):
        pass

    def epochs(_):
        raise Found(jax.config.jax_default_matmul_precision)

    monkeypatch.setattr(module, "make_workload", lambda _: None)
    monkeypatch.setattr(module.ours, "Epochs", epochs)
    with pytest.raises(Found, match=r"^high$"):
        growth(config(matmul_precision="high"), tmp_path / "g.json", budget=BRIEF, values={"buffer size": (40,)})


def test_what_was_refused_is_tried_again(tmp_path, monkeypatch):
    refusal = {"points": {"devices": {"2": {"refused": "there is only 1 device"}}}}
    monkeypatch.setattr(module, "_start", lambda *_: refusal)
    monkeypatch.setattr(module, "_point", lambda *_: {"refused": "it was tried"})
    content = growth(config(), tmp_path / "growth.json", budget=BRIEF, values={"devices": (2,)})
    assert content["points"]["devices"]["2"] == {"refused": "it was tried"}


def test_a_file_is_gone_on_with_by_later_code_which_it_names_too(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_point", lambda *_: {"refused": "not measured here"})
    for code, size in (("first", 40), ("second", 80), ("second", 120)):
        monkeypatch.setattr(module.provenance, "CODE_VERSION", code)
        content = growth(config(), tmp_path / "growth.json", budget=BRIEF, values={"buffer size": (size,)})
    assert content["versions"]["ssdkd_jax"] == "first; second"
    assert list(content["points"]["buffer size"]) == ["40", "80", "120"]
    monkeypatch.setattr(module.provenance, "PACKAGES", ("jax",))
    with pytest.raises(UserError, match="was measured with another versions, and would be mixed"):
        growth(config(), tmp_path / "growth.json", budget=BRIEF, values={})


@pytest.mark.slow
def test_what_is_measured_is_not_measured_again(measured, monkeypatch, capsys):
    path, content = measured
    monkeypatch.setattr(module, "make_workload", lambda _: pytest.fail("measured again"))
    again = growth(config(), path, budget=BRIEF, values={"buffer size": (4000,)}, command="another")
    assert again["points"]["buffer size"] == content["points"]["buffer size"]
    assert "buffer size 4,000: epoch " in capsys.readouterr().out
    with pytest.raises(UserError, match="was measured with another config, and would be mixed; choose another file"):
        growth(config(ssdkd__kd_steps=3), path, budget=BRIEF, values={"buffer size": (4000,)})


@pytest.mark.slow
def test_its_table_and_plot(measured):
    path, _ = measured
    result = read_result(path)
    text = tables.markdown(result)
    assert "| buffer size 4,000 | " in text and "| devices 3 | refused | – |" in text
    assert "`the command`, " in text
    assert growth_plot(result).startswith(b"\x89PNG")


def test_every_name_stands_for_fields_of_the_config():
    assert fields_of(config(), "batch size") == ["ssdkd.synthesis_batch_size", "ssdkd.kd_batch_size"]
    for name in VALUES:
        for field in fields_of(config(), name):
            assert field in dict(config().items()) or field.partition(".")[2] in config().ssdkd


@pytest.mark.parametrize(
    ("fields", "values", "expected"),
    [
        ({}, {"teachers": ()}, "--only has 'teachers', expected some of buffer size, batch size, image size, devices"),
        ({}, {"bufer size": ()}, "--only has 'bufer size', did you mean 'buffer size'? expected some of buffer size,"),
        ({"method": "fastdfkd"}, VALUES, "fastdfkd has no fastdfkd.buffer_size; leave that out: --only='batch size,"),
        ({"method": "hidfd"}, {"devices": (1,)}, "method is hidfd, which is given images; choose one that makes"),
    ],
)
def test_mistakes(tmp_path, fields, values, expected):
    with pytest.raises(UserError) as error:
        growth(config(**fields), tmp_path / "out.json", budget=BRIEF, values=values)
    assert expected in str(error.value)


@pytest.mark.slow
def test_points_of_wrong_types_are_not_gone_on_with(measured, tmp_path):
    path, _ = measured
    content = json.loads(path.read_text())
    (tmp_path / "out.json").write_text(json.dumps(content | {"points": [1]}))
    with pytest.raises(UserError, match=r"out\.json: points is \[1\], expected an object; choose another"):
        growth(config(), tmp_path / "out.json", budget=BRIEF, values={})


def test_a_refused_command_leaves_no_folder(tmp_path):
    options = ("--config=configs/digits.py", f"--out={tmp_path}/g.json", f"--plot={tmp_path}/new/g.png")
    status, _, err = programs.run("growth", *options, "--config.evaluate_every=1")
    assert status == 2 and "evaluate_every" in err
    assert not (tmp_path / "new").exists()


def test_a_picture_of_somebody_else_is_not_replaced(tmp_path):
    (tmp_path / "mine.png").write_bytes(b"mine")
    options = ("--config=configs/digits.py", f"--out={tmp_path}/g.json", f"--plot={tmp_path}/mine.png")
    status, _, err = programs.run("growth", *options)
    assert (status, err) == (2, f"error: {tmp_path}/mine.png exists already; choose another name with --plot\n")
    assert (tmp_path / "mine.png").read_bytes() == b"mine"
    status, _, err = programs.run("growth", *options[:2], "--only=devices,devices")
    assert (status, err) == (2, "error: --only names devices more than once, expected each name once\n")

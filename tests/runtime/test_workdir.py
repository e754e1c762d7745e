"""Whose folder it is."""

import json

import pytest

from ssdkd_jax.errors import UserError
from ssdkd_jax.runtime import workdir

IDENTITY = {"method": "ssdkd", "seed": 0, "ssdkd": {"alpha": 0.6, "targets": "own"}, "references": (0.1,)}


def test_same_experiment_may_claim_again(tmp_path):
    workdir.claim(tmp_path, IDENTITY)
    workdir.claim(tmp_path, IDENTITY)
    assert json.loads((tmp_path / "experiment.json").read_text())["ssdkd"]["alpha"] == 0.6


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"seed": 1}, "seed is 0 there and 1 here"),
        ({"ssdkd": {"alpha": 0.0, "targets": "own"}}, "ssdkd.alpha is 0.6 there and 0.0 here"),
        ({"ssdkd": {"alpha": 0.6}}, "ssdkd.targets is 'own' there and None here"),
        ({"references": ()}, r"references is \[0.1\] there and \[\] here"),
    ],
    ids=["number", "nested", "missing", "list"],
)
def test_another_experiment_names_the_field(tmp_path, change, expected):
    workdir.claim(tmp_path, IDENTITY)
    with pytest.raises(UserError, match=expected):
        workdir.claim(tmp_path, {**IDENTITY, **change})


def test_claim_without_writing(tmp_path):
    workdir.claim(tmp_path, IDENTITY, write=False)
    assert list(tmp_path.iterdir()) == []


def test_summary_counts_only_after_an_epoch(tmp_path):
    assert workdir.read_summary(tmp_path) is None
    workdir.write_summary(tmp_path, {"epochs": 0})
    assert workdir.read_summary(tmp_path) is None
    summary = dict.fromkeys(workdir.SUMMARY_FIELDS) | {"epochs": 3}
    workdir.write_summary(tmp_path, summary)
    assert workdir.read_summary(tmp_path) == summary


@pytest.mark.parametrize("content", ['{"epochs": 3, "tea', "[1]", "", '{"epochs": 3}'])
def test_damaged_summary_is_named(tmp_path, content):
    (tmp_path / "summary.json").write_text(content)
    with pytest.raises(UserError, match=r"summary.json (is damaged|lacks dataset, date, ).*delete it"):
        workdir.read_summary(tmp_path)


@pytest.mark.parametrize("content", ["", "null", '{"seed": '])
def test_damaged_claim_is_named(tmp_path, content):
    (tmp_path / "experiment.json").write_text(content)
    with pytest.raises(UserError, match=r"experiment.json is damaged.*delete it"):
        workdir.claim(tmp_path, IDENTITY)


def test_alone_is_freed(tmp_path):
    with workdir.alone(tmp_path), pytest.raises(UserError, match="another run is using"), workdir.alone(tmp_path):
        pass
    with workdir.alone(tmp_path):
        pass

"""Which experiment a folder is of, and what is told where it is another's."""

import json
import re

import pytest

from ssdkd_jax.errors import UserError
from ssdkd_jax.jobs import experiment, run_folder
from tests import tiny_job

IDENTITY = {"method": "ssdkd", "seed": 0, "ssdkd": {"alpha": 0.6, "targets": "own"}, "baselines": (0.1,)}


def test_same_experiment_may_claim_again(tmp_path):
    experiment.claim(tmp_path, IDENTITY)
    experiment.claim(tmp_path, IDENTITY)
    assert json.loads((tmp_path / "experiment.json").read_text())["ssdkd"]["alpha"] == 0.6


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"seed": 1}, "seed is 0 there and 1 here"),
        ({"ssdkd": {"alpha": 0.0, "targets": "own"}}, "ssdkd.alpha is 0.6 there and 0.0 here"),
        (
            {"ssdkd": {"alpha": 0.6}},
            "it was made by a version of ssdkd_jax that had ssdkd.targets='own'; choose another",
        ),
        ({"baselines": ()}, r"baselines is \[0.1\] there and \[\] here"),
    ],
    ids=["number", "nested", "missing", "list"],
)
def test_another_experiment_names_the_field(tmp_path, change, expected):
    experiment.claim(tmp_path, IDENTITY)
    with pytest.raises(UserError, match=expected):
        experiment.claim(tmp_path, {**IDENTITY, **change})


def test_claim_without_writing(tmp_path):
    experiment.claim(tmp_path, IDENTITY, write=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "null", '{"seed": ', "{}", '{"seed": 0, "teacher": [1]}'])
def test_damaged_claim_is_named(tmp_path, content):
    (tmp_path / "experiment.json").write_text(content)
    with pytest.raises(UserError, match=r"experiment.json is damaged.*nothing was changed; choose another"):
        experiment.claim(tmp_path, IDENTITY)


@pytest.mark.parametrize("left", run_folder.OWN)
@pytest.mark.parametrize("write", [True, False])
def test_a_run_that_does_not_say_what_it_is_stays_untouched(tmp_path, left, write):
    (tmp_path / left).mkdir()
    with pytest.raises(UserError, match=rf"holds {left}, but no experiment.json.*choose another --workdir=DIR"):
        experiment.claim(tmp_path, IDENTITY, write=write)
    assert [path.name for path in tmp_path.iterdir()] == [left]


def test_a_foreign_summary_is_not_ours(tmp_path):
    (tmp_path / "summary.json").write_text('{"title": "of my thesis"}')
    with pytest.raises(UserError, match=r"holds summary.json, but no experiment.json"):
        experiment.claim(tmp_path, IDENTITY, write=False)


EVALUATION = {"epochs": 0, "teacher": {"seed": 0}}
RUN = {"epochs": 3, "teacher": {"seed": 0}, **IDENTITY}


def test_the_folder_of_an_evaluated_teacher_becomes_that_of_a_run_with_it(tmp_path):
    experiment.claim(tmp_path, EVALUATION)
    experiment.claim(tmp_path, EVALUATION)
    experiment.claim(tmp_path, RUN, write=False)
    assert json.loads((tmp_path / "experiment.json").read_text()) == EVALUATION
    experiment.claim(tmp_path, RUN)
    assert json.loads((tmp_path / "experiment.json").read_text())["ssdkd"] == IDENTITY["ssdkd"]


@pytest.mark.parametrize(
    ("there", "here", "expected"),
    [
        (EVALUATION, {**EVALUATION, "teacher": {"seed": 1}}, "teacher.seed is 0 there and 1 here; choose another"),
        (EVALUATION, {**RUN, "teacher": {"seed": 1}}, "teacher.seed is 0 there and 1 here; choose another"),
        (RUN, {**EVALUATION, "teacher": {"seed": 1}}, "epochs is 3 there and 0 here; a run's schedule"),
    ],
)
def test_the_evaluation_of_a_teacher_is_not_replaced_by_another(tmp_path, there, here, expected):
    experiment.claim(tmp_path, there)
    with pytest.raises(UserError, match=f"belongs to another experiment: {expected}"):
        experiment.claim(tmp_path, here)
    assert json.loads((tmp_path / "experiment.json").read_text())["epochs"] == there["epochs"]


TRAINED = {**RUN, "teacher": {"epochs": 3, "path": "", "seed": 0}}
GIVEN = {**RUN, "teacher": {"epochs": 100, "path": "/my teacher", "seed": 0}}


def test_one_folder_of_images_can_be_written_in_several_ways(tmp_path):
    experiment.claim(tmp_path, {"dataset": "folder:/my/images"})
    experiment.claim(tmp_path, {"dataset": "folder:/my/images/"})
    for other in ("folder:/my/image", "segmentation:/my/images", "digits"):
        with pytest.raises(UserError, match=f"dataset is 'folder:/my/images' there and '{other}' here"):
            experiment.claim(tmp_path, {"dataset": other})


def test_a_version_of_a_prepared_set_is_no_path(tmp_path, monkeypatch):
    experiment.claim(tmp_path, {"dataset": "cifar10:3.0.2"})
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    experiment.claim(tmp_path, {"dataset": "cifar10:3.0.2"})
    assert json.loads((tmp_path / "experiment.json").read_text()) == {"dataset": "cifar10:3.0.2"}


@pytest.mark.parametrize("written", ["./net", "net/", "{}/net", "x/../net"])
def test_one_path_of_a_teacher_can_be_written_in_several_ways(tmp_path, written, monkeypatch):
    def given(path):
        return {**GIVEN, "teacher": {**GIVEN["teacher"], "path": path}}

    monkeypatch.chdir(tmp_path)
    experiment.claim(tmp_path, given("net"))
    noted = (tmp_path / "experiment.json").read_bytes()
    experiment.claim(tmp_path, given(written.format(tmp_path)))
    (tmp_path / "below").mkdir()
    monkeypatch.chdir("below")
    experiment.claim(tmp_path, given("../net"))
    assert (tmp_path / "experiment.json").read_bytes() == noted
    with pytest.raises(UserError, match=r"teacher.path is '/\S+/net' there and '/\S+/below/net' here"):
        experiment.claim(tmp_path, given("net"))


@pytest.mark.parametrize(
    ("there", "here", "expected"),
    [
        (
            TRAINED,
            GIVEN,
            "teacher.path is '' there and '/my teacher' here; choose another --workdir=DIR, or repeat its settings: "
            "--config.teacher.path= --config.teacher.epochs=3, in place of the teacher that is given",
        ),
        (
            GIVEN,
            TRAINED,
            "teacher.path is '/my teacher' there and '' here; choose another --workdir=DIR, or repeat its settings: "
            "'--config.teacher.path=/my teacher', without flags of a teacher's training",
        ),
    ],
    ids=["trained there", "given there"],
)
def test_that_a_teacher_is_given_is_told_before_how_one_is_trained(tmp_path, there, here, expected):
    experiment.claim(tmp_path, there)
    with pytest.raises(UserError, match=f"{re.escape(expected)}$"):
        experiment.claim(tmp_path, here)


def test_fields_that_decide_nothing_may_differ(tmp_path):
    experiment.claim(tmp_path, GIVEN)
    before = experiment.digest(tmp_path)
    experiment.claim(tmp_path, {**GIVEN, "teacher": {**GIVEN["teacher"], "epochs": 3}}, unread={"teacher.epochs"})
    assert experiment.digest(tmp_path) == before, "a checkpoint would be taken for that of another run"


def test_a_directory_for_the_experiment(tmp_path):
    (tmp_path / "experiment.json").mkdir()
    with pytest.raises(UserError, match=r"experiment.json is a directory, expected a JSON file; nothing was changed"):
        experiment.claim(tmp_path, IDENTITY)


def test_user_code_is_the_same_from_every_directory(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    experiment.claim(tmp_path, {"method": "sub/pixels.py:Pixels"})
    monkeypatch.chdir(tmp_path / "sub")
    experiment.claim(tmp_path, {"method": "pixels.py:Pixels"})
    with pytest.raises(UserError, match="belongs to another experiment: method is"):
        experiment.claim(tmp_path, {"method": "other.py:Pixels"})


def test_a_run_of_another_version_is_told(tmp_path):
    experiment.claim(tmp_path, {"method": "ssdkd", "ssdkd": {"alpha": 0.6}})
    with pytest.raises(UserError, match=r"made by a version of ssdkd_jax that had no ssdkd\.beta yet; choose another"):
        experiment.claim(tmp_path, {"method": "ssdkd", "ssdkd": {"alpha": 0.6, "beta": 0.4}})
    with pytest.raises(UserError, match=r"made by a version of ssdkd_jax that had ssdkd\.alpha=0\.6; choose another"):
        experiment.claim(tmp_path, {"method": "ssdkd", "ssdkd": {}})


def test_a_users_file_that_changed_is_another_experiment(tmp_path):
    student = {"name": "/my/net.py:Net"}
    experiment.claim(tmp_path, {"student": student, "code_sha256": {"student": "1"}})
    changed = r"/my/net.py:Net has changed since \(sha256 1 there and 2 here\); choose another --work\S+"
    with pytest.raises(UserError, match=rf"{changed}, or put the file back as it was$"):
        experiment.claim(tmp_path, {"student": student, "code_sha256": {"student": "2"}})


def test_a_flag_that_would_be_refused_is_not_asked_for(tmp_path):
    """That of a training's epochs, of a teacher that is given."""
    given = {"teacher.path": str(tmp_path)}
    experiment.claim_for(tiny_job.config(tmp_path, **given), tmp_path)
    experiment.claim_for(
        tiny_job.config(tmp_path, **given, **{"teacher.epochs": 50, "teacher.batch_size": 7}), tmp_path
    )
    expected = r"teacher\.path is '\S+' there and '' here; .* --config\.teacher\.path=/\S+, without"
    with pytest.raises(UserError, match=expected):
        experiment.claim_for(tiny_job.config(tmp_path, **{"teacher.epochs": 50}), tmp_path)


def test_what_baselines_read_has_an_effect(tmp_path):
    fields = {"teacher.path": str(tmp_path), "baselines": (0.1,)}
    experiment.claim_for(tiny_job.config(tmp_path, **fields), tmp_path)
    with pytest.raises(UserError, match=r"teacher\.batch_size is 128 there and 7 here"):
        experiment.claim_for(tiny_job.config(tmp_path, **fields, **{"teacher.batch_size": 7}), tmp_path)


@pytest.mark.parametrize("epochs", [0, 3])
def test_another_file_of_the_users_network_has_an_effect(tmp_path, epochs):
    code = tmp_path / "net.py"
    config = tiny_job.config(tmp_path, epochs=epochs, **{"teacher.name": f"{code}:make"})
    code.write_text("first = 1")
    experiment.claim_for(config, tmp_path)
    code.write_text("second = 2")
    with pytest.raises(UserError, match=r"net\.py:make has changed since"):
        experiment.claim_for(config, tmp_path)

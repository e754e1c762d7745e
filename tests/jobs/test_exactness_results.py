"""What is asked of the measurement of exactness is checked before it begins."""

import json

import pytest

from ssdkd_jax.errors import UserError
from ssdkd_jax.jobs.exactness_results import check_asked, check_keeps_results


@pytest.mark.parametrize(
    ("networks", "checkpoints", "expected"),
    [
        (["resnet8", "resnet2"], [], "--networks: unknown model 'resnet2'"),
        (["deeplabv3_resnet50"], [], "--networks: deeplabv3_resnet50 has no definition to compare with; expected a cl"),
        (["resnet8", "resnet8"], [], "--networks has resnet8 twice, expected each name once"),
        (["resnet8"], ["there.pth", "gone.pth"], "there is no file gone.pth; expected PyTorch files: --checkpoints="),
        ([], ["there.pth", "./there.pth"], "--checkpoints has there.pth twice, expected each name once"),
    ],
)
def test_mistakes(tmp_path, monkeypatch, networks, checkpoints, expected):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.pth").touch()
    check_asked(["resnet8"], ["there.pth"])
    with pytest.raises(UserError) as error:
        check_asked(networks, checkpoints)
    assert str(error.value).startswith(expected)


@pytest.mark.parametrize(
    ("networks", "checkpoints", "missing"),
    [
        (["resnet8", "vgg8"], ["folder/a.th", "b.th"], None),
        (["vgg8"], ["a.th"], "resnet8"),
        (["resnet8"], [], "a.th"),
    ],
)
def test_results_that_are_not_measured_again_are_not_removed(tmp_path, networks, checkpoints, missing):
    path = tmp_path / "out.json"
    check_keeps_results(path, networks, checkpoints)
    source = dict.fromkeys(("command", "hardware", "date"), "x")
    network = {"parameters": 1, "in": 0.0, "out": 0.0, "round_trip_exact": True}
    accuracies = {"architecture": "resnet8", "here": 90.0, "exported": 90.0}
    path.write_text(
        json.dumps(
            {"kind": "exactness", **source, "networks": {"resnet8": network}, "checkpoints": {"a.th": accuracies}}
        )
    )
    if missing is None:
        check_keeps_results(path, networks, checkpoints)
        return
    with pytest.raises(
        UserError, match=f"out.json has results of {missing}, which this command does not measure and w"
    ):
        check_keeps_results(path, networks, checkpoints)

"""What is asked of the measurement of exactness is checked before it begins."""

import pytest

from ssdkd_jax.errors import UserError
from ssdkd_jax.jobs.exactness_results import check_asked


@pytest.mark.parametrize(
    ("networks", "checkpoints", "expected"),
    [
        (["resnet8", "resnet2"], [], "--networks: unknown model 'resnet2'"),
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

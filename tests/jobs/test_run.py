"""What a run finds in its folder, without running."""

import pytest

from ssdkd_jax.errors import UserError
from ssdkd_jax.jobs import run
from tests import tiny_job


def test_a_flag_that_would_be_refused_is_not_asked_for(tmp_path):
    """That of a training's epochs, of a teacher that is given."""
    given = {"teacher.path": str(tmp_path)}
    run._claim(tiny_job.config(tmp_path, **given), tmp_path)
    run._claim(tiny_job.config(tmp_path, **given, **{"teacher.epochs": 50, "teacher.batch_size": 7}), tmp_path)
    expected = r"teacher\.path is '\S+' there and '' here; .* --config\.teacher\.path=/\S+, without"
    with pytest.raises(UserError, match=expected):
        run._claim(tiny_job.config(tmp_path, **{"teacher.epochs": 50}), tmp_path)


def test_what_baselines_read_has_an_effect(tmp_path):
    fields = {"teacher.path": str(tmp_path), "baselines": (0.1,)}
    run._claim(tiny_job.config(tmp_path, **fields), tmp_path)
    with pytest.raises(UserError, match=r"teacher\.batch_size is 128 there and 7 here"):
        run._claim(tiny_job.config(tmp_path, **fields, **{"teacher.batch_size": 7}), tmp_path)


@pytest.mark.parametrize("epochs", [0, 3])
def test_another_file_of_the_users_network_has_an_effect(tmp_path, epochs):
    code = tmp_path / "net.py"
    config = tiny_job.config(tmp_path, epochs=epochs, **{"teacher.name": f"{code}:make"})
    code.write_text("first = 1")
    run._claim(config, tmp_path)
    code.write_text("second = 2")
    with pytest.raises(UserError, match=r"code_sha256\.teacher is"):
        run._claim(config, tmp_path)

"""What two processes tell each other, in two real ones; in one, everything is as if there were none."""

import signal

import numpy as np
import pytest

from ssdkd_jax.errors import UserError
from ssdkd_jax.training import multiprocess
from tests.tiny_job import finish
from tests.two_processes import start_two


def test_two_processes_agree():
    results = [finish(process) for process in start_two("tests.agreement")]
    for (status, out, err), disk in zip(results, ("OSError disk", "UserError the first process failed"), strict=True):
        assert status == 0, err
        assert "UserError no such folder" in out and disk in out
        assert f"\n{int(signal.SIGTERM)}\n" in out
        assert "error: process" not in err, "nobody was lost"


def test_one_process_asks_nobody():
    multiprocess.start(None, "")
    assert multiprocess.count() == 1 and multiprocess.is_first()
    assert multiprocess.from_first(lambda: 3) == 3
    with pytest.raises(UserError):
        multiprocess.from_first(lambda: (_ for _ in ()).throw(UserError("as it is")))
    assert multiprocess.anywhere(True) and not multiprocess.anywhere(False)
    assert multiprocess.trouble(RuntimeError("gloo"), "") is None
    assert np.array_equal(multiprocess.whole(np.arange(3)), np.arange(3))

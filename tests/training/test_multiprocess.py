"""What two processes tell each other, in two real ones; in one, everything is as if there were none."""

import signal

import numpy as np
import pytest

from ssdkd_jax.errors import UserError
from ssdkd_jax.training import multiprocess
from tests.tiny_job import finish
from tests.two_processes import start_two

SCRIPT = """
import os, signal, sys, time
import jax, numpy as np
from ssdkd_jax.errors import UserError
from ssdkd_jax.training import environment, multiprocess
from ssdkd_jax.training.devices import AXIS, devices_of_run, gather, pmap, spread
from ssdkd_jax.training.interruption import Interruption

multiprocess.start(environment.asked_for(), "COMMAND")
first = multiprocess.is_first()
assert multiprocess.from_first(lambda: multiprocess.from_first(lambda: {"asked": first})) == {"asked": True}
for raised in (UserError("no such folder"), OSError("disk")):
    try:
        multiprocess.from_first(lambda: (_ for _ in ()).throw(raised))
    except Exception as error:
        print(type(error).__name__, error)

devices, rows = devices_of_run(), np.arange(6, dtype=np.uint8)
assert len(devices) == 4
state = spread({"rows": rows, "sum": np.float32(0)}, devices, {"rows": True, "sum": False})
add = lambda state: {**state, "sum": jax.lax.psum(state["rows"].sum() * 1.0, AXIS)}
found = gather(pmap(add, devices)(state), {"rows": rows, "sum": np.float32(0)}, {"rows": True, "sum": False})
assert found["sum"] == 15 and found["rows"].tolist() == rows.tolist()

with Interruption() as interruption:
    assert not multiprocess.anywhere(interruption)
    if not first:
        os.kill(os.getpid(), signal.SIGTERM)
    assert multiprocess.anywhere(interruption) and bool(interruption)
    print(interruption.number)
"""


def test_two_processes_agree():
    results = [finish(process) for process in start_two(["-c", SCRIPT])]
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

"""What each of two processes does in tests/training/test_multiprocess.py: it says what it heard of the other."""

import os
import signal

import jax
import numpy as np

from ssdkd_jax.errors import UserError
from ssdkd_jax.training import environment, multiprocess
from ssdkd_jax.training.devices import AXIS, devices_of_run, gather, pmap, spread
from ssdkd_jax.training.interruption import Interruption

multiprocess.start(environment.asked_for(), "COMMAND")
first = multiprocess.is_first()
assert multiprocess.from_first(lambda: multiprocess.from_first(lambda: {"asked": first})) == {"asked": True}
for raised in (UserError("no such folder"), OSError("disk")):
    try:
        multiprocess.from_first(lambda raised=raised: (_ for _ in ()).throw(raised))
    except Exception as error:
        print(type(error).__name__, error)

devices, rows = devices_of_run(), np.arange(6, dtype=np.uint8)
assert len(devices) == 4
state = spread({"rows": rows, "sum": np.float32(0)}, devices, {"rows": True, "sum": False})


def add(state):
    return {**state, "sum": jax.lax.psum(state["rows"].sum() * 1.0, AXIS)}


found = gather(pmap(add, devices)(state), {"rows": rows, "sum": np.float32(0)}, {"rows": True, "sum": False})
assert found["sum"] == 15 and found["rows"].tolist() == rows.tolist()

with Interruption() as interruption:
    assert not multiprocess.anywhere(interruption)
    if not first:
        os.kill(os.getpid(), signal.SIGTERM)
    assert multiprocess.anywhere(interruption) and bool(interruption)
    print(interruption.number)

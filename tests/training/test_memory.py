"""What the devices, the machine and its container have of memory, and programs that take more."""

import jax
import jax.numpy as jnp
import pytest

from ssdkd_jax.errors import UserError
from ssdkd_jax.training import memory
from ssdkd_jax.training.clock import Clock
from ssdkd_jax.training.compilation import CompileOnce, fits


@pytest.mark.parametrize(
    ("content", "limited"), [("1000000\n", True), ("max\n", False), (str(2**63), False), (None, False)]
)
def test_the_limit_of_a_container_counts(content, limited, tmp_path):
    file = tmp_path / "memory.max"
    if content is not None:
        file.write_text(content)
    machine = memory.memory_of_machine(limits=())
    assert memory.memory_of_machine(limits=(str(file),)) == (1_000_000 if limited else machine)
    assert machine > 1_000_000


def test_a_program_without_room_is_refused_before_it_runs(monkeypatch):
    devices = jax.local_devices()[:2]

    def ones(x):
        return jnp.ones((500, 500)) + x

    program = CompileOnce(jax.jit(ones), Clock(), fits(devices, "a synthesis", "choose less"))
    monkeypatch.setattr(memory, "memory_of", lambda device: 2_000_000)  # one of the two fits
    program.start(jax.ShapeDtypeStruct((), jnp.float32))
    with pytest.raises(UserError, match=r"^the arrays of a synthesis take at least 0.0 GB, but .*; choose less$"):
        program.finish()
    monkeypatch.setattr(memory, "memory_of", lambda device: 3_000_000)
    assert program(jnp.float32(1)).shape == (500, 500)

"""Whole runs of the loop with a bank in host memory."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from ssdkd_jax.errors import UserError
from ssdkd_jax.methods.fastdfkd import FastDFKD
from ssdkd_jax.training import devices
from ssdkd_jax.training.clock import Clock
from ssdkd_jax.training.interruption import Interrupted
from ssdkd_jax.training.loop import Plan, distill
from tests import tiny_problem
from tests.numbered_images import NumberedImages, a_problem, megabytes, numbers
from tests.tiny_job import epochs_done
from tests.tiny_problem import FASTDFKD

EPOCHS, BATCH, WINDOW = 8, 8, 28


class Run:
    """A run of the loop, and what it showed after every epoch.

    seen: per epoch, how often the student saw each image until then.
    compiled: per epoch, seconds of compilation until then.
    """

    def __init__(self, folder, method, *, devices_used=1, stop_after=None):
        self.seen, self.compiled, self.clock = [], [], Clock()
        self._stop_after, self._folder = stop_after, folder
        plan = Plan(method.epochs, 1, 3, 0, self._score, "student_accuracy")
        chosen = devices.local_devices(devices_used)
        teacher = {} if isinstance(method, NumberedImages) else tiny_problem.teacher()
        self.result = distill(method, teacher, plan, folder=folder, devices=chosen, clock=self.clock, interruption=self)

    def __bool__(self):
        return self._stop_after is not None and len(epochs_done(self._folder)) >= self._stop_after

    def _score(self, variables, state, teacher):
        if "seen" in variables["params"]:
            self.seen.append(np.asarray(variables["params"]["seen"][0]))
        self.compiled.append(self.clock.seconds["compile"])
        return 1.0


def numbered(window=WINDOW, **changes):
    """The method with a window of so many entries; None: everything fits."""
    if window is not None:
        changes["bank_megabytes"] = megabytes(window, np.dtype(changes.get("bank_dtype", "uint8")).itemsize)
    return NumberedImages(problem=a_problem(devices.AXIS), epochs=EPOCHS, **changes)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return Run(tmp_path_factory.mktemp("whole"), numbered())


@pytest.fixture(scope="module")
def on_device(tmp_path_factory):
    return Run(tmp_path_factory.mktemp("on_device"), numbered(None))


def test_the_result_holds_every_image_in_order(whole, on_device):
    bank = whole.result.state.bank
    assert_array_equal(bank.images[:, 0, 0, 0], np.arange(EPOCHS * BATCH))
    assert bank.valid.all()
    jax.tree.map(assert_array_equal, bank, on_device.result.state.bank)


def test_the_student_sees_a_window_per_epoch(whole, on_device):
    """While everything fits into it, that is the bank itself."""
    fitting = WINDOW // BATCH
    assert_array_equal(whole.seen[:fitting], on_device.seen[:fitting])
    assert not np.array_equal(whole.seen[fitting], on_device.seen[fitting])
    per_epoch = np.diff(whole.seen, axis=0)
    assert_array_equal(per_epoch.sum(axis=1), 5 * 16)
    assert np.count_nonzero(per_epoch, axis=1).max() <= WINDOW
    for epoch, seen in enumerate(per_epoch, start=2):
        assert not seen[epoch * BATCH :].any() and seen[(epoch - 1) * BATCH : epoch * BATCH].any()
    assert np.all(per_epoch[-2:].reshape(2, EPOCHS, BATCH).sum(axis=(0, 2)) > 0)  # images of every age


def test_nothing_is_compiled_after_the_first_epoch(whole):
    assert len(whole.compiled) == EPOCHS and len(set(whole.compiled)) == 1


def test_copying_is_on_the_clock(whole, on_device):
    assert whole.clock.seconds["bank"] > 0 and "bank" not in on_device.clock.seconds


def test_devices_agree_bit_by_bit(whole, tmp_path):
    """Eight devices cannot share 28 slots equally."""
    other = Run(tmp_path, numbered(), devices_used=8)
    assert_array_equal(other.seen, whole.seen)
    jax.tree.map(assert_array_equal, other.result.state.bank, whole.result.state.bank)


@pytest.mark.parametrize("epoch, devices_used", [(2, 1), (5, 8)])
def test_interrupted_run_resumes_bit_by_bit(whole, tmp_path, epoch, devices_used):
    """Before and after the window is full, the second part on another number of devices."""
    with pytest.raises(Interrupted, match=f"stopped after epoch {epoch} of 8"):
        Run(tmp_path, numbered(), stop_after=epoch)
    parts = Run(tmp_path, numbered(), devices_used=devices_used)
    assert_array_equal(parts.seen, whole.seen[epoch:])
    jax.tree.map(assert_array_equal, parts.result.state, whole.result.state)
    finished = Run(tmp_path, numbered())
    jax.tree.map(assert_array_equal, finished.result.state, whole.result.state)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_images_keep_their_bits_in_every_dtype(tmp_path, dtype):
    host, device = (
        Run(tmp_path / str(window), numbered(window, bank_dtype=dtype)).result.state.bank for window in (WINDOW, None)
    )
    assert host.images.dtype == device.images.dtype == dtype
    jax.tree.map(assert_array_equal, host, device)


@pytest.mark.slow
def test_fastdfkd_with_a_window_on_eight_devices(tmp_path):
    problem = tiny_problem.problem(bn_axis_name=devices.AXIS)
    two_batches = 2 * 8 * 4 * 4 * 4 / 1e6
    method = FastDFKD(problem=problem, **{**FASTDFKD, "bank_megabytes": two_batches})
    run = Run(tmp_path, method, devices_used=8)
    bank, student = run.result.state.bank, run.result.state.student
    assert bank.valid.all() and len(np.unique(bank.images.reshape(32, -1), axis=0)) == 32
    assert np.all((bank.confidence >= 1 / tiny_problem.CLASSES) & (bank.confidence <= 1))
    assert len(set(run.compiled)) == 1
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(student.params))
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["buffer_size"] for line in lines] == [8, 16, 24, 32]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Straying(NumberedImages):
    """In the third epoch, the second half of the images, which the second device makes, is no number, or too bright."""

    what: float = float("nan")

    def make_images(self, state, teacher, drawn, key):
        made = super().make_images(state, teacher, drawn, key)
        wrong = (state.epoch == 2) & (numbers(made.images) % 8 >= 4)
        return made._replace(images=jnp.where(wrong[:, None, None, None], self.what, made.images))


@pytest.mark.parametrize("what", [float("nan"), 1.1, -0.1])
def test_images_of_a_users_method_that_are_not_within_their_range(tmp_path, what):
    method = Straying(problem=a_problem(devices.AXIS), epochs=EPOCHS, what=what)
    with pytest.raises(UserError, match=r"^50\.0% of the pixels that were made in epoch 3 are not numbers in \[0, 1\]"):
        Run(tmp_path, method, devices_used=2)

"""A bank that the devices have no room for: all images in host memory, and a window of them on the devices."""

import functools

import jax
import numpy as np

from ssdkd_jax import data, replay_buffer
from ssdkd_jax.training.compilation import CompileOnce
from ssdkd_jax.training.devices import AXIS, gather, pmap, spread
from ssdkd_jax.training.multiprocess import whole


class HostBank:
    """Every image that a run has made, in that order; before each epoch `fill` the window, after it `collect`.

    The copying is on the clock under "bank".

    bank: ReplayBuffer of NumPy arrays with room for the whole run; equals what a device with enough memory would hold.
    """

    def __init__(self, method, shapes, sharded, devices, clock):
        """An empty bank.

        Args:
          method: Method with a `window`.
          shapes: pytree of shapes of the state with its window, as one device holds it.
          sharded: `method.sharded` of that state.
          devices: list of devices.
          clock: Clock.
        """
        self._method, self._devices, self._clock = method, devices, clock
        self._sharded = method.buffer(sharded)
        self.bank = jax.tree.map(
            lambda x: np.zeros((method.window.capacity, *x.shape[1:]), x.dtype), method.buffer(shapes)
        )
        read = functools.partial(replay_buffer.read, axis_name=AXIS)
        self._read = CompileOnce(pmap(read, devices, in_axes=(0, None)), clock)
        self._filled = None

    def attach(self, state):
        """The state with the whole bank in the window's place."""
        return self._method.with_buffer(state, self.bank)

    def detach(self, state):
        """The state with nothing in the window's place."""
        return self._method.with_buffer(state, ())

    def fill(self, state, rng):
        """Before an epoch: the pmapped state with a new window; the arrays of the old one are deleted.

        Args:
          state: pmapped state, with a window or, before the first epoch, without.
          rng: numpy.random.Generator.
        """
        with self._clock.measure("bank"):
            window = self._method.window.fill(self.bank, rng)
            # The devices have room for one.
            for array in jax.tree.leaves(self._method.buffer(state)):
                array.delete()
            self._filled = window.valid
            window = spread(window, self._devices, self._sharded)
            return self._method.with_buffer(state, jax.block_until_ready(window))

    def collect(self, state):
        """After an epoch: the images that entered the window since `fill` become the bank's newest."""
        with self._clock.measure("bank"):
            window = self._method.buffer(state)
            ledger = gather(window._replace(images=()))
            slots = np.flatnonzero(ledger.valid & ~self._filled).astype(np.int32)
            images = whole(self._read(window, slots))
            images = images.reshape(-1, *images.shape[2:])
            # Reading made floats of them, which is exact both ways.
            images = data.to_uint8(images) if self.bank.images.dtype == np.uint8 else images
            self._append(jax.tree.map(lambda x: x[slots], ledger)._replace(images=images))

    def _append(self, batch):
        count = int(np.sum(self.bank.valid))
        self.bank.age[:count] += 1
        for rows, new in zip(self.bank, batch, strict=True):
            rows[count : count + len(new)] = new

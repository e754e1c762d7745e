"""What a network makes of a set of images."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from ssdkd_jax.data.preprocessing import normalize, to_unit
from ssdkd_jax.metrics import confusion_matrix
from ssdkd_jax.training.compilation import CompileOnce, fits
from ssdkd_jax.training.devices import pmap, spread
from ssdkd_jax.training.multiprocess import whole


def make_predictor(model, mean, std, task, devices, clock, *, batch_size=500):
    """Returns `predict(variables, images) -> (classes int32, confidences (n,) float32)`.

    Args:
      model: a Linen module, run in evaluation mode.
      mean, std: its normalization.
      task: a tasks.Task; the classes are its `predicted_class`, (n,) or (n, h, w).
      devices: the images are divided over them.
      clock: takes the compilation's time.
      batch_size: the most images per call, rounded up to a multiple of the devices; fewer where the first images that
        are given are fewer.  All calls have the size of the first.

    `variables` are pmapped (`devices.spread`); `images` are uint8 or float in [0, 1], (n, h, w, c), on the host.
    """

    def forward(variables, images):
        output = _output(model, variables, images, mean, std)
        return task.predicted_class(output), task.confidence(output)

    compiled, batch_size = _compiled_once(forward, devices, clock), _BatchSize(batch_size, devices)

    def predict(variables, images):
        batches = _batches(images, batch_size.for_images(images), 0)
        return _joined([compiled(variables, spread(batch, devices, True)) for batch in batches], len(images))

    return predict


class Evaluation(NamedTuple):
    """What a network makes of labeled images.

    confusion: (classes, classes) int64, see `metrics.confusion_matrix`.
    image_classes: the task's `image_classes`.
    confidences: (n,) float32.
    """

    confusion: np.ndarray
    image_classes: np.ndarray
    confidences: np.ndarray


def make_evaluator(model, mean, std, task, num_classes, devices, clock, *, batch_size=500):
    """Returns `evaluate(variables, images, labels) -> Evaluation`; arguments as of `make_predictor`.

    `labels` are integers of the task's shape, on the host; what is no class counts nowhere.
    """

    def forward(variables, images, labels, confusion):
        output = _output(model, variables, images, mean, std)
        confusion = confusion + confusion_matrix(labels, task.predicted_class(output), num_classes)
        return confusion, (task.image_classes(output), task.confidence(output))

    compiled, batch_size = _compiled_once(forward, devices, clock), _BatchSize(batch_size, devices)

    def evaluate(variables, images, labels):
        size = batch_size.for_images(images)
        confusion = spread(jnp.zeros((num_classes, num_classes), jnp.int32), devices)
        # No label fills up the last batch: -1, which is 255 in label maps of uint8.
        batches = zip(_batches(images, size, 0), _batches(labels, size, -1), strict=True)
        found = []
        for batch in batches:
            confusion, of_images = compiled(variables, *(spread(x, devices, True) for x in batch), confusion)
            found.append(of_images)
        return Evaluation(whole(confusion).astype(np.int64).sum(0), *_joined(found, len(images)))

    return evaluate


def _output(model, variables, images, mean, std):
    images = to_unit(images) if images.dtype == np.uint8 else images
    return model.apply(variables, normalize(images, mean, std))


def _compiled_once(forward, devices, clock):
    smaller = "choose smaller batches: --config.evaluation_batch_size=N"
    return CompileOnce(pmap(forward, devices), clock, fits(devices, "an evaluation", smaller))


class _BatchSize:
    """Images per call of a program that is compiled once: no more than the first images that it is given need."""

    def __init__(self, most, devices):
        self._most, self._devices, self._size = most, len(devices), None

    def for_images(self, images):
        if self._size is None:
            self._size = -(-min(self._most, len(images)) // self._devices) * self._devices
        return self._size


def _batches(array, batch_size, filling):
    """Parts of one size, the last one filled up with one number."""
    for start in range(0, len(array), batch_size):
        part = np.asarray(array[start : start + batch_size])
        missing = np.full((batch_size - len(part), *part.shape[1:]), filling).astype(part.dtype)
        yield np.concatenate([part, missing])


def _joined(batches, count):
    """Pmapped results of batches of one size as NumPy arrays, of the first `count` images."""
    columns = ([whole(x) for x in column] for column in zip(*batches, strict=True))
    return tuple(np.concatenate([x.reshape(-1, *x.shape[2:]) for x in column])[:count] for column in columns)

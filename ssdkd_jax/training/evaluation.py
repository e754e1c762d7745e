"""What a network makes of a set of images."""

import numpy as np

from ssdkd_jax.data.preprocessing import normalize, to_unit
from ssdkd_jax.training.compilation import CompileOnce
from ssdkd_jax.training.devices import pmap, spread
from ssdkd_jax.training.multiprocess import whole


def make_predictor(model, mean, std, task, devices, clock, *, batch_size=500):
    """Returns `predict(variables, images) -> (classes (n,) int32, confidences (n,) float32)`.

    Args:
      model: a Linen module, run in evaluation mode.
      mean, std: its normalization.
      task: a tasks.Task.
      devices: the images are divided over them.
      clock: takes the compilation's time.
      batch_size: images per call, rounded up to a multiple of the devices; all calls have this size.

    `variables` are pmapped (`devices.spread`); `images` are uint8 or float in [0, 1], (n, h, w, c), on the host.
    """
    count = len(devices)
    batch_size = -(-batch_size // count) * count

    def forward(variables, images):
        images = to_unit(images) if images.dtype == np.uint8 else images
        output = model.apply(variables, normalize(images, mean, std))
        return task.predicted_class(output), task.confidence(output)

    compiled = CompileOnce(pmap(forward, devices), clock)

    def predict(variables, images):
        classes, confidences = [], []
        for start in range(0, len(images), batch_size):
            batch = np.asarray(images[start : start + batch_size])
            padded = np.concatenate([batch, np.zeros((batch_size - len(batch), *batch.shape[1:]), batch.dtype)])
            predicted, confidence = compiled(variables, spread(padded, devices, True))
            classes.append(whole(predicted).reshape(-1)[: len(batch)])
            confidences.append(whole(confidence).reshape(-1)[: len(batch)])
        return np.concatenate(classes), np.concatenate(confidences)

    return predict


def accuracy(predicted, labels):
    """Share of equal entries, percent."""
    return 100.0 * float(np.mean(np.asarray(predicted) == np.asarray(labels)))

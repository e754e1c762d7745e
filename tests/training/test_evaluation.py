"""Batches of one size, padded, over any number of devices."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from ssdkd_jax import tasks
from ssdkd_jax.errors import UserError
from ssdkd_jax.training import devices, memory
from ssdkd_jax.training.clock import Clock
from ssdkd_jax.training.evaluation import make_evaluator, make_predictor


class Linear(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(3, name="dense")(x.reshape(len(x), -1))


@pytest.mark.parametrize(("count", "batch_size"), [(1, 4), (1, 100), (8, 4), (2, 5)])
def test_every_image_counts_once(count, batch_size):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (11, 2, 2, 1), np.uint8)
    kernel, bias = rng.normal(size=(4, 3)).astype(np.float32), np.float32([0.1, 0.2, 0.3])
    chosen, clock = jax.local_devices()[:count], Clock()
    given = Linear(), (0.5,), (0.25,), tasks.CLASSIFICATION
    predict = make_predictor(*given, chosen, clock, batch_size=batch_size)
    evaluate = make_evaluator(*given, 3, chosen, clock, batch_size=batch_size)
    variables = devices.spread({"params": {"dense": {"kernel": kernel, "bias": bias}}}, chosen)
    classes, confidences = predict(variables, images)

    logits = (images.reshape(11, 4) / 255 - 0.5) / 0.25 @ kernel + bias
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert_array_equal(classes, logits.argmax(1))
    assert_allclose(confidences, softmax.max(1), rtol=1e-5)
    assert clock.seconds["compile"] > 0

    labels = rng.integers(0, 3, 11).astype(np.int32)
    confusion, same_classes, same_confidences = evaluate(variables, images, labels)
    expected = np.zeros((3, 3), int)
    np.add.at(expected, (labels, classes), 1)
    assert_array_equal(confusion, expected)
    assert_array_equal(same_classes, classes)
    assert_allclose(same_confidences, confidences)


@pytest.mark.parametrize(("count", "batch_size", "expected"), [(1, 10**7, 11), (8, 10**7, 2), (2, 4, 2)])
def test_no_batch_is_larger_than_the_images_need(count, batch_size, expected):
    sizes = []

    class Watched(Linear):
        @nn.compact
        def __call__(self, x, train=False):
            sizes.append(len(x))  # of one device, while the program is traced
            return nn.Dense(3, name="dense")(x.reshape(len(x), -1))

    chosen = jax.local_devices()[:count]
    given = Watched(), (0.5,), (0.25,), tasks.CLASSIFICATION
    variables = {"params": {"dense": {"kernel": np.ones((4, 3), np.float32), "bias": np.zeros(3, np.float32)}}}
    variables, images = devices.spread(variables, chosen), np.zeros((11, 2, 2, 1), np.uint8)
    predict = make_predictor(*given, chosen, Clock(), batch_size=batch_size)
    evaluate = make_evaluator(*given, 3, chosen, Clock(), batch_size=batch_size)
    assert len(predict(variables, images)[0]) == 11
    evaluate(variables, images, np.zeros(11, np.int32))
    assert sizes == [expected, expected]
    for other in (3, 40):  # by the same program
        assert len(predict(variables, np.zeros((other, 2, 2, 1), np.uint8))[0]) == other
    assert sizes == [expected, expected]


def test_batches_without_room_are_refused(monkeypatch):
    monkeypatch.setattr(memory, "memory_of", lambda device: 1)
    chosen = jax.local_devices()[:1]
    predict = make_predictor(Linear(), (0.5,), (0.25,), tasks.CLASSIFICATION, chosen, Clock())
    variables = {"params": {"dense": {"kernel": np.ones((4, 3), np.float32), "bias": np.zeros(3, np.float32)}}}
    with pytest.raises(UserError, match=r"^the arrays of an evaluation take .*: --config.evaluation_batch_size=N$"):
        predict(devices.spread(variables, chosen), np.zeros((11, 2, 2, 1), np.uint8))

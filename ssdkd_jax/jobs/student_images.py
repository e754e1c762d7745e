"""The synthetic images of a run, for its report and for a score without real images."""

import jax
import numpy as np

from ssdkd_jax import data
from ssdkd_jax.files import replaced_file
from ssdkd_jax.reports.run_files import BUFFER
from ssdkd_jax.training.compilation import CompileOnce
from ssdkd_jax.training.devices import pmap, spread
from ssdkd_jax.training.multiprocess import whole

# Batches that a report shows of a method that keeps no images.
SHOWN_BATCHES = 4
# Collected images of each class that a report shows.
SHOWN_COLLECTED = 10
# No epoch's key is folded in from this number, so these images never reach the student.
HELD_OUT = 2**31 - 1


def held_out_program(context, method):
    """(pmapped state, pmapped teacher, number of the batch) -> images (n, h, w, c) uint8 on the host."""
    program = CompileOnce(pmap(method.held_out, context.devices, in_axes=(0, 0, None)), context.clock)
    key = jax.random.fold_in(jax.random.key(context.config.seed), HELD_OUT)

    def images(state, teacher, number):
        batch = np.asarray(data.to_uint8(whole(program(state, teacher, jax.random.fold_in(key, number)))))
        return batch.reshape(-1, *batch.shape[2:])

    return images


def shown_images(context, method, state, teacher, predict_teacher):
    """What the report shows of the buffer, or of a sample where none is kept.

    Returns:
      {"images" uint8 (n, h, w, c), "predicted_class", "confidence" (n,)}, where draws are counted "draws" int32 (n,).
    """
    buffer, draws = method.buffer(state), method.draw_counts(state)
    if buffer is not None:
        images = data.to_uint8(buffer.images) if buffer.images.dtype != np.uint8 else buffer.images
        found = {"images": images, "predicted_class": buffer.predicted_class, "confidence": buffer.confidence}
        found |= {} if draws is None else {"draws": draws}
        return {name: np.asarray(array)[buffer.valid] for name, array in found.items()}
    pmapped = spread((state, teacher), context.devices)
    held_out = held_out_program(context, method)
    images = np.concatenate([held_out(*pmapped, number) for number in range(SHOWN_BATCHES)])
    predicted, confidence = predict_teacher(images)
    classes = _classes_of(predicted, method.problem.num_classes)
    return {"images": images, "predicted_class": classes, "confidence": confidence}


def _classes_of(predicted, num_classes):
    """Classes (n,) as they are; of label maps (n, h, w), each class's share of the pixels, float32 (n, classes)."""
    if predicted.ndim == 1:
        return predicted
    counts = [np.bincount(one.ravel(), minlength=num_classes) for one in predicted]
    return np.float32(counts) / predicted[0].size


def sample_of_collected(method, given, num_classes):
    """What the report shows of GivenImages beside generated ones: the first few of each class, and how many there are.

    {} for a method without any, or with no others.
    """
    if method.given != "collected" or not any(map(method.images_made, range(method.epochs))):
        return {}
    ranks = np.zeros(len(given.labels), np.int64)
    for index in range(num_classes):
        members = np.flatnonzero(given.labels == index)
        ranks[members] = np.arange(len(members))
    shown = ranks < SHOWN_COLLECTED
    return {
        "collected_images": given.images[shown],
        "collected_class": given.labels[shown],
        "collected_counts": np.bincount(given.labels, minlength=num_classes),
    }


def save_images(folder, class_names, real, collected, shown):
    """Writes buffer.npz, what the report shows.

    Args:
      folder: of the run.
      class_names: of the teacher.
      real: the teacher's Evaluation on real test images, or None.
      collected: of `sample_of_collected`, or {}.
      shown: of `shown_images`.
    """
    arrays = collected | shown | {"class_names": np.array(class_names)}
    if real is not None:
        arrays |= {"real_class": real.image_classes, "real_confidence": real.confidences}
    with replaced_file(folder / BUFFER) as unfinished, unfinished.open("wb") as file:
        np.savez_compressed(file, **arrays)

"""Reads what a run or a comparison left in its folder."""

import json
import math
import pathlib
import shlex
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ssdkd_jax.errors import UserError
from ssdkd_jax.files import file_sha256, read_object
from ssdkd_jax.metrics import Metric, metric_named
from ssdkd_jax.reports.image_statistics import class_shares

SUMMARY, METRICS_FILE, BUFFER, COMPARISON = "summary.json", "metrics.jsonl", "buffer.npz", "comparison.json"
REPORT, IMAGES = "report.html", "images.png"
MAPS = "maps.npz"
STUDY, STUDY_PLOT, STUDY_RESULTS = "study.md", "study.png", "study.json"
ACCELERATOR_REPORT = "accelerator_report.json"

# What NumPy raises where bytes of an archive have changed.
DAMAGES = (
    *(OSError, EOFError, ValueError, KeyError, TypeError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)

# Field names that older versions wrote, and today's.
_RENAMED_FIELDS = {
    "synthetic_images": "images_kept",
    "synthesised_images": "images_made",
    "synthesized_images": "images_made",
    "references": "baselines",
}
_RENAMED_SECONDS = {"inversion": "synthesis", "distillation": "student", "references": "baselines"}


def with_current_names(content: dict) -> dict:
    """Translates the field names of older versions.

    Args:
      content: a run's summary, a row of a comparison, or the content of a results file.  Current names stay as they
        are, so content of any version may be given.

    Returns:
      A new dict with the same values under today's names; fields of unexpected types are left alone.
    """
    content = _renamed(content, _RENAMED_FIELDS)
    if isinstance(content.get("seconds"), dict):
        content["seconds"] = _renamed(content["seconds"], _RENAMED_SECONDS)
    if isinstance(content.get("methods"), dict):
        rows = content["methods"].items()
        content["methods"] = {name: with_current_names(row) if isinstance(row, dict) else row for name, row in rows}
    return content


def _renamed(fields: dict, names: dict[str, str]) -> dict:
    renamed = {}
    for name, value in fields.items():
        current = names.get(name, name)
        if current == name or current not in fields:
            renamed[current] = value
    return renamed


class Collected(NamedTuple):
    """A sample of collected images.

    images: uint8 (k, h, w, c).
    predicted_class: the teacher's class of each, int64 (k,).
    counts: of all collected images by that class, int64 (C,).
    """

    images: np.ndarray
    predicted_class: np.ndarray
    counts: np.ndarray


class Buffer(NamedTuple):
    """Content of buffer.npz.

    images: uint8 (n, h, w, c).
    predicted_class: the teacher's class of each image, int64 (n,); for segmentation that of most of its pixels.
    confidence: the teacher's probability of that class, float64 (n,); for segmentation the mean over the pixels.
    class_names: one a class.
    real_class, real_confidence: the same of the real test images, (m,); None where there are none.
    collected: a sample of the images that the method was given beside these; None where it was given none.
    shares, real_shares: for segmentation, each class's share of an image's pixels, float64 (n or m, C); else None.
    draws: how often student steps drew each image, int64 (n,); None where that was not counted.
    """

    images: np.ndarray
    predicted_class: np.ndarray
    confidence: np.ndarray
    class_names: list[str]
    real_class: np.ndarray | None
    real_confidence: np.ndarray | None
    collected: Collected | None = None
    shares: np.ndarray | None = None
    real_shares: np.ndarray | None = None
    draws: np.ndarray | None = None

    def class_percent(self) -> list[np.ndarray]:
        """Percent of images, or of pixels, of each class, float64 (C,): of these images, then of the real ones."""
        sets = [(self.predicted_class, self.shares), (self.real_class, self.real_shares)]
        return [
            class_shares(classes, len(self.class_names)) if shares is None else 100.0 * shares.mean(axis=0)
            for classes, shares in sets
            if classes is not None
        ]

    def surest_first(self, index: int) -> np.ndarray:
        """Positions of the images of a class, by falling confidence, int64 (members,)."""
        members = np.flatnonzero(self.predicted_class == index)
        return members[np.argsort(-self.confidence[members], kind="stable")]

    def sample_of_class(self, index: int, count: int) -> np.ndarray:
        """Positions of at most `count` images of a class, evenly spaced from the surest to the least sure."""
        ranked = self.surest_first(index)
        return ranked[evenly_spaced(len(ranked), count)]

    def shown_classes(self, count: int) -> list[int]:
        """At most `count` classes, evenly spaced by index."""
        return evenly_spaced(len(self.class_names), count).tolist()


def evenly_spaced(length: int, count: int) -> np.ndarray:
    """At most `count` positions in a sequence of `length`, the first and the last among them, int64."""
    return np.linspace(0, length - 1, min(count, length)).round().astype(np.int64)


def read_summary(workdir: pathlib.Path) -> dict:
    """Reads summary.json, with today's field names.

    Raises:
      UserError: it is missing or damaged.
    """
    path = _existing(pathlib.Path(workdir), SUMMARY)
    return with_current_names(read_object(path))


def read_metrics(workdir: pathlib.Path) -> list[dict]:
    """Reads metrics.jsonl: one record an epoch, in order; of an epoch that a resumed run repeated, the last.

    Raises:
      UserError: it is missing or damaged, or another run's.
    """
    path = _existing(pathlib.Path(workdir), METRICS_FILE)
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    records = {}
    for position, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            if position == len(lines) and line.startswith("{"):  # a run that was killed may leave half a line
                break
            message = f"{path}, line {position} is not JSON: expected one object a line; {_fix(path)}"
            raise UserError(message) from error
        if not isinstance(record, dict) or number(record.get("epoch")) is None:
            raise UserError(f"{path}, line {position} has no epoch: expected an object with one; {_fix(path)}")
        records[number(record["epoch"])] = record
    check_own(path)
    return [{**records[epoch], "epoch": epoch} for epoch in sorted(records)]


def read_buffer(workdir: pathlib.Path) -> Buffer | None:
    """Reads buffer.npz; None where the run left none.

    Raises:
      UserError: it is damaged, or another run's.
    """
    path = pathlib.Path(workdir) / BUFFER
    buffer = read_arrays(path, _buffer, "is not a buffer", _fix(path))
    if buffer is None:
        return None
    _check_buffer(buffer, path)
    check_own(path)
    return _with_all_classes_named(buffer)


def read_arrays(path: pathlib.Path, make: Callable[[Mapping[str, np.ndarray]], Any], problem: str, fix: str) -> Any:
    """Makes something of an .npz file's arrays; None where there is no file.

    Args:
      path: of the file.
      make: ({name: array}) -> what is returned; fails where arrays are missing or of another kind.
      problem: what a damaged file is, such as "is not a buffer".
      fix: what to do then.

    Raises:
      UserError: it is damaged.
    """
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return make(arrays)
    except DAMAGES as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} {problem} ({reason}); {fix}") from error


def _buffer(arrays) -> Buffer:
    names = [str(name) for name in arrays["class_names"]]
    predicted_class, shares = _classes(arrays["predicted_class"], len(names))
    real_class, real_shares = _classes(arrays.get("real_class"), len(names))
    return Buffer(
        images=arrays["images"],
        predicted_class=predicted_class,
        confidence=arrays["confidence"].astype(np.float64),
        class_names=names,
        real_class=real_class,
        real_confidence=arrays["real_confidence"].astype(np.float64) if "real_confidence" in arrays else None,
        collected=_collected(arrays) if "collected_images" in arrays else None,
        shares=shares,
        real_shares=real_shares,
        draws=arrays["draws"].astype(np.int64) if "draws" in arrays else None,
    )


def _collected(arrays) -> Collected:
    images, classes, counts = (arrays[f"collected_{name}"] for name in ("images", "class", "counts"))
    sizes = images.shape[:1], arrays["class_names"].shape
    if images.dtype != np.uint8 or images.shape[1:] != arrays["images"].shape[1:]:
        raise ValueError(f"its collected images are {images.dtype} {images.shape}")
    if (classes.shape, counts.shape) != sizes:
        raise ValueError(f"there are {len(images)} collected images, {classes.shape} classes and {counts.shape} counts")
    return Collected(images, classes.astype(np.int64), counts.astype(np.int64))


def _classes(stored: np.ndarray | None, count: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """(class of each image, shares of its classes or None) of classes (n,) or shares (n, count); of None twice None."""
    if stored is None:
        return None, None
    if stored.ndim != 2 or stored.shape[1] != count:
        return stored.astype(np.int64), None
    return stored.argmax(axis=1), stored.astype(np.float64)


def _check_buffer(buffer: Buffer, path: pathlib.Path) -> None:
    shape, fix = buffer.images.shape, _fix(path)
    if buffer.images.dtype != np.uint8 or len(shape) != 4 or 0 in shape[1:]:
        raise UserError(f"{path}: images are {buffer.images.dtype} {shape}, expected uint8 (n, h, w, c); {fix}")
    beside = {name: getattr(buffer, name) for name in ("predicted_class", "confidence", "draws")}
    lengths = {name: array.shape for name, array in beside.items() if array is not None}
    if any(length != shape[:1] for length in lengths.values()):
        raise UserError(f"{path}: images, {', '.join(lengths)} differ in length; {fix}")
    classes = [array for array in (buffer.predicted_class, buffer.real_class) if array is not None]
    if any(array.size and array.min() < 0 for array in classes):
        raise UserError(f"{path} has classes below 0: expected filled entries only; {fix}")


def _with_all_classes_named(buffer: Buffer) -> Buffer:
    indices = [array.max() for array in (buffer.predicted_class, buffer.real_class) if array is not None and array.size]
    unnamed = range(len(buffer.class_names), max(indices, default=-1) + 1)
    return buffer._replace(class_names=[*buffer.class_names, *(f"class {index}" for index in unnamed)])


def _existing(workdir: pathlib.Path, name: str) -> pathlib.Path:
    path = workdir / name
    if not path.is_file():
        raise UserError(f"{path} is missing: expected the folder of a finished run; {_fix(path)}")
    return path


def _fix(path: pathlib.Path) -> str:
    if path.name != SUMMARY and (path.parent / SUMMARY).exists():
        return unneeded(path)
    return f"make one with `python -m experiments.main --config=FILE --workdir={shlex.quote(str(path.parent))}`"


def unneeded(path: pathlib.Path) -> str:
    """What to do about a finished run's file that is damaged or gone, and that only its report needs."""
    return (
        f"the student beside it is as it was; put the run's own back, or move {path} elsewhere and run the same "
        "command again, which makes report.html without it"
    )


def digests(workdir: pathlib.Path) -> dict[str, str]:
    """The sha256 of each of the files that a run's report is made from, by name; without those that are not there."""
    paths = (pathlib.Path(workdir) / name for name in (METRICS_FILE, BUFFER, MAPS))
    return {path.name: file_sha256(path) for path in paths if path.exists()}


def check_own(path: pathlib.Path) -> None:
    """Raises UserError where a run's file is another than its summary was written beside; one that is gone is none.

    Summaries of earlier versions do not say.
    """
    summary = path.with_name(SUMMARY)
    noted = subobject(read_object(summary), "files_sha256").get(path.name) if summary.exists() else None
    if noted is not None and path.exists() and file_sha256(path) != noted:
        raise UserError(f"{path} is not the file that this run wrote (by its sha256 in {SUMMARY}); {_fix(path)}")


def number(value: object) -> float | None:
    """Returns the value as a float, or None where it is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer beyond the range of floats
        return None


def subobject(summary: dict, key: str) -> dict:
    """Returns the object under a key, or an empty one."""
    value = summary.get(key)
    return value if isinstance(value, dict) else {}


def metric_of(fields: dict) -> Metric:
    """Returns what a summary's or a comparison's percents are; older versions only knew accuracies."""
    return metric_named(fields.get("metric"))


def score(summary: dict, whose: str) -> float | None:
    """Returns percent on real test images of "teacher", "student" or "best_student", or None."""
    return number(summary.get(f"{whose}_{metric_of(summary).name}"))


def baselines_of(summary: dict) -> list[tuple[str, float]]:
    """Returns (name, percent) of the networks that the student is compared with."""
    numbers = ((name, number(value)) for name, value in subobject(summary, "baselines").items())
    return [(name, value) for name, value in numbers if value is not None]


def image_source(fields: dict) -> str:
    """Says what the images of buffer.npz are.

    Args:
      fields: a summary or a row of a comparison.

    Returns:
      "kept" for what a method keeps in memory, "generated" for a sample of a method that keeps nothing, "given" for a
      sample of what a baseline was given.
    """
    kept, made = (number(fields.get(name)) for name in ("images_kept", "images_made"))
    if kept or made is None:
        return "kept"
    return "generated" if made else "given"


def curve(metrics: list[dict], x_key: str, y_key: str) -> tuple[list[float], list[float]]:
    """Returns two columns of the metrics, without the epochs that lack either."""
    points = ((number(record.get(x_key)), number(record.get(y_key))) for record in metrics)
    points = [(x, y) for x, y in points if x is not None and y is not None]
    return [x for x, _ in points], [y for _, y in points]

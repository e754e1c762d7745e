"""Reading what a run left in its work directory, for the report."""

import json
import math
import pathlib
import shlex
import zipfile
from typing import NamedTuple

import numpy as np

from ssdkd_jax.errors import UserError


class Buffer(NamedTuple):
    """What buffer.npz holds; the last two are None when there are no real test images."""

    images: np.ndarray
    predicted_class: np.ndarray
    confidence: np.ndarray
    class_names: list[str]
    real_class: np.ndarray | None
    real_confidence: np.ndarray | None


def read_summary(workdir: pathlib.Path) -> dict:
    """summary.json."""
    path = _existing(workdir, "summary.json")
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}): expected a run's summary; {_mend(workdir)}") from error
    if not isinstance(summary, dict):
        raise UserError(f"{path} holds a {type(summary).__name__}: expected a JSON object; {_mend(workdir)}")
    return with_current_names(summary)


def read_metrics(workdir: pathlib.Path) -> list[dict]:
    """One record an epoch, in order; of an epoch that a resumed run repeated, the last."""
    path = _existing(workdir, "metrics.jsonl")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    records = {}
    for position, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            if position == len(lines):  # a run that was killed may leave half a line
                break
            message = f"{path}, line {position} is not JSON: expected one object a line; {_mend(workdir)}"
            raise UserError(message) from error
        if isinstance(record, dict):
            epoch = number(record.get("epoch"))
            records[position if epoch is None else epoch] = record
    return [{**records[epoch], "epoch": epoch} for epoch in sorted(records)]


def read_buffer(workdir: pathlib.Path) -> Buffer | None:
    """buffer.npz, or None if the run left none."""
    path = workdir / "buffer.npz"
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            buffer = Buffer(
                images=arrays["images"],
                predicted_class=arrays["predicted_class"].astype(np.int64),
                confidence=arrays["confidence"].astype(np.float64),
                class_names=[str(name) for name in arrays["class_names"]],
                real_class=arrays["real_class"].astype(np.int64) if "real_class" in arrays else None,
                real_confidence=arrays["real_confidence"].astype(np.float64) if "real_confidence" in arrays else None,
            )
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is not a buffer ({reason}): delete it, or {_mend(workdir)}") from error
    shape = buffer.images.shape
    if buffer.images.dtype != np.uint8 or len(shape) != 4 or shape[-1] not in (1, 3):
        raise UserError(f"{path}: images are {buffer.images.dtype} {shape}, expected uint8 (n, h, w, 1 or 3)")
    if not len(buffer.images) == len(buffer.predicted_class) == len(buffer.confidence):
        raise UserError(f"{path}: images, predicted_class and confidence differ in length; {_mend(workdir)}")
    if any(
        array is not None and array.size and array.min() < 0 for array in (buffer.predicted_class, buffer.real_class)
    ):
        raise UserError(f"{path} has classes below 0: expected filled entries only; {_mend(workdir)}")
    return _with_all_classes_named(buffer)


def _with_all_classes_named(buffer: Buffer) -> Buffer:
    indices = [array.max() for array in (buffer.predicted_class, buffer.real_class) if array is not None and array.size]
    unnamed = range(len(buffer.class_names), max(indices, default=-1) + 1)
    return buffer._replace(class_names=[*buffer.class_names, *(f"class {index}" for index in unnamed)])


def _existing(workdir: pathlib.Path, name: str) -> pathlib.Path:
    path = workdir / name
    if not path.is_file():
        raise UserError(f"{path} is missing: expected the work directory of a finished run; {_mend(workdir)}")
    return path


def _mend(workdir: pathlib.Path) -> str:
    if (workdir / "summary.json").exists():
        return f"delete the folder {workdir} and run the command that made it again"
    return f"make one with `python -m experiments.main --config=FILE --workdir={shlex.quote(str(workdir))}`"


def number(value: object) -> float | None:
    """The value as a float, or None if it is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def subobject(summary: dict, key: str) -> dict:
    """The object under a key, or an empty one."""
    value = summary.get(key)
    return value if isinstance(value, dict) else {}


def baselines_of(summary: dict) -> list[tuple[str, float]]:
    """(name, accuracy in percent) of the networks that the student is compared with."""
    numbers = ((name, number(value)) for name, value in subobject(summary, "baselines").items())
    return [(name, value) for name, value in numbers if value is not None]


def curve(metrics: list[dict], x_key: str, y_key: str) -> tuple[list[float], list[float]]:
    """Two columns of the metrics, without the epochs that lack either."""
    points = ((number(record.get(x_key)), number(record.get(y_key))) for record in metrics)
    points = [(x, y) for x, y in points if x is not None and y is not None]
    return [x for x, _ in points], [y for _, y in points]


def with_current_names(content):
    """A summary, or a file of results, with the names of today."""
    names = {
        "synthetic_images": "images_kept", "synthesised_images": "images_made", "references": "baselines",
        "inversion": "synthesis", "distillation": "student",
    }  # fmt: skip
    if isinstance(content, dict):
        return {names.get(name, name): with_current_names(value) for name, value in content.items()}
    return content

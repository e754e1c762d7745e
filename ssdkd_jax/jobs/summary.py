"""The summary of a run, as in its summary.json."""

import dataclasses
import math
from typing import Any

from ssdkd_jax.metrics import ACCURACY, METRICS


@dataclasses.dataclass
class Summary:
    """What came out of a run.  Accuracies and agreements are percent; None is what does not apply, or is not known.

    method, dataset, teacher, student: names, the latter two of architectures.
    epochs, seed, devices: of the run; devices is a number.
    hardware, command, date, versions: what made it.
    student_network: what was trained, where that is the student and more (HiDFD's has the teacher's classifier).
    student_parameters, teacher_parameters: their numbers; the student's are those of what was trained.
    teacher_sha256, student_sha256: digests of the networks' variables.
    files_sha256: digests of the files that the report is made from, by name.
    teacher_recipe: how the teacher was trained, or where it came from.
    metric: "accuracy" or "miou": what baselines, agreement and the result are in.
    teacher_accuracy, student_accuracy: on real test images; the student's is the final one's.
    teacher_miou, student_miou: the same for segmentation: mean intersection over union of the classes.
    teacher_pixel_accuracy, student_pixel_accuracy, teacher_iou, student_iou: more of the same; iou by class.
    student_agreement: with the teacher on held-out synthetic images, where there are no real ones.
    best_student_accuracy, best_student_miou, best_student_agreement, best_student_epoch: of all evaluations, so picked
      with the test set.
    images_made, images_kept: synthetic images, of the whole run and in the final buffer of `buffer_capacity` places.
    given_images: whose images the method was given; None for a data-free method.
    student_steps: of the whole run.
    baselines: {what: percent} of the same student trained otherwise.
    concerns: what the method found wrong on the way, with the epoch.
    differs: how the method differs from the published one.
    memory_bytes: that the compiler plans on one device for the larger of the epoch's programs.
    seconds: by purpose, see `training.clock`.
    """

    method: str
    dataset: str
    teacher: str
    student: str
    epochs: int
    seed: int
    devices: int
    hardware: str
    command: str
    date: str
    versions: dict[str, str]
    teacher_sha256: str
    teacher_recipe: str = ""
    student_sha256: str | None = None
    files_sha256: dict[str, str] = dataclasses.field(default_factory=dict)
    student_network: str | None = None
    student_parameters: int | None = None
    teacher_parameters: int | None = None
    metric: str = ACCURACY.name
    teacher_accuracy: float | None = None
    student_accuracy: float | None = None
    teacher_miou: float | None = None
    student_miou: float | None = None
    teacher_pixel_accuracy: float | None = None
    student_pixel_accuracy: float | None = None
    teacher_iou: dict[str, float] = dataclasses.field(default_factory=dict)
    student_iou: dict[str, float] = dataclasses.field(default_factory=dict)
    student_agreement: float | None = None
    best_student_accuracy: float | None = None
    best_student_miou: float | None = None
    best_student_agreement: float | None = None
    best_student_epoch: int | None = None
    images_made: int = 0
    images_kept: int = 0
    buffer_capacity: int = 0
    given_images: str | None = None
    student_steps: int = 0
    baselines: dict[str, float] = dataclasses.field(default_factory=dict)
    concerns: list[str] = dataclasses.field(default_factory=list)
    differs: str = ""
    memory_bytes: int | None = None
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The object of summary.json."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "Summary":
        """The Summary of an object with today's names.

        Raises:
          ValueError: a field is missing or of another type; names it.
        """
        values = {}
        for field in dataclasses.fields(cls):
            has_default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
            if field.name not in content and not has_default:
                raise ValueError(f"{field.name} is missing")
            if field.name in content:
                values[field.name] = _checked(field, content[field.name])
        summary = cls(**values)
        if summary.metric not in METRICS:
            raise ValueError(f"metric is {summary.metric!r}, expected one of {', '.join(METRICS)}")
        scores = summary.score("teacher"), summary.score("student")
        if summary.epochs and summary.student_agreement is None and None in scores:
            raise ValueError(f"it has neither the networks' {summary.metric} nor a student_agreement")
        return summary

    def score(self, whose: str) -> float | None:
        """Percent of the run's metric on real test images; `whose` is teacher, student or best_student."""
        return getattr(self, f"{whose}_{self.metric}")

    def note(self, whose: str, values: dict[str, Any]) -> None:
        """Sets {name: value} of the metric and its details; `whose` as in `score`."""
        for name, value in values.items():
            setattr(self, f"{whose}_{name}", value)

    def in_one_line(self) -> str:
        """The result in words."""
        unit, teacher, student = METRICS[self.metric].unit, self.score("teacher"), self.score("student")
        if self.epochs == 0:
            return "teacher not measured" if teacher is None else f"teacher {teacher:.2f} {unit}"
        if student is None:
            score = METRICS[self.metric].agreement.format(self.student_agreement)
        else:
            score = f"teacher {teacher:.2f} {unit}, student {student:.2f} {unit}"
        baselines = "".join(f", {name} {value:.2f} {unit}" for name, value in self.baselines.items())
        return f"{score} from {self._images_in_words()}{baselines}"

    def _images_in_words(self):
        if self.images_kept:
            given = f" and {self.given_images}" if self.given_images else ""
            return f"{self.images_kept} synthetic images{given}"
        if self.images_made:
            return f"{self.images_made} synthetic images, none of them kept"
        given = str(self.given_images)
        return given if " images" in given else f"images of {given}"


def _checked(field, value):
    """The value, whose type must be the field's."""
    expected = field.type if isinstance(field.type, type) else None
    kinds = {
        "str": (str,), "int": (int,), "float": (int, float), "None": (type(None),), "dict": (dict,),
        "list": (list,),
    }  # fmt: skip
    text = str(expected.__name__ if expected else field.type)
    names = [part.partition("[")[0].strip() for part in text.split("|")]
    allowed = tuple(kind for name in names for kind in kinds[name])
    if not isinstance(value, allowed) or isinstance(value, bool):
        raise ValueError(f"{field.name} is {value!r}, expected {' or '.join(names)}")
    number = field.name in ("seconds", "baselines", "teacher_iou", "student_iou")
    if number and not all(isinstance(x, int | float) and not isinstance(x, bool) for x in value.values()):
        raise ValueError(f"{field.name} is {value!r}, expected numbers by name")
    if field.name == "seconds" and value and "total" not in value:
        raise ValueError("seconds has no total")
    if field.name == "concerns" and not all(isinstance(x, str) for x in value):
        raise ValueError(f"{field.name} is {value!r}, expected texts")
    numbers = value.values() if number else [value] if isinstance(value, float) else []
    if not all(math.isfinite(x) for x in numbers):
        raise ValueError(f"{field.name} is {value!r}, expected finite numbers")
    return value

"""Checks that a results file has the fields and types that its table needs.

What is expected is written like the JSON itself: a dict of fields, a list of one entry, `Named(entry)` for an object
whose field names are data, `Maybe(entry)` for what may be null or missing, and a `Kind` for a plain value.  Further
fields are allowed.
"""

from collections.abc import Callable
from typing import NamedTuple

from ssdkd_jax.reports.run_files import metric_of, number


class Kind(NamedTuple):
    """A kind of plain value: what it is called, and whether a value is one."""

    words: str
    fits: Callable[[object], bool]


class Named(NamedTuple):
    """An object whose field names are data, and whose entries are all alike."""

    entry: object


class Maybe(NamedTuple):
    """What may be null or missing."""

    entry: object


TEXT = Kind("a string", lambda value: isinstance(value, str))
NUMBER = Kind("a number", lambda value: number(value) is not None)
INTEGER = Kind("an integer", lambda value: isinstance(value, int) and number(value) is not None)
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
POINT = Kind(
    "a pair of numbers",
    lambda value: isinstance(value, list) and len(value) == 2 and None not in map(number, value),
)

_SOURCE = {"command": TEXT, "hardware": TEXT, "date": TEXT, "versions": Maybe(Named(TEXT))}
_METHOD = {
    "accuracies": [NUMBER],
    "best_accuracies": Maybe([Maybe(NUMBER)]),
    "seeds": [INTEGER],
    "mean": Maybe(NUMBER),
    "std": Maybe(NUMBER),
    "student_network": Maybe(TEXT),
    "student_parameters": Maybe(INTEGER),
    "student_steps": Maybe(INTEGER),
    "images_made": Maybe(INTEGER),
    "images_kept": Maybe(INTEGER),
    "seconds": Maybe({"whole": NUMBER, "synthesis": NUMBER, "student": NUMBER}),
    "seconds_of_seeds": Maybe([INTEGER]),
    "memory_bytes": Maybe(NUMBER),
    "given_images": Maybe(TEXT),
    "differs": Maybe(TEXT),
    "diverged": [{"seed": INTEGER, "message": TEXT}],
    "curves": [[POINT]],
}
_PAIRED = {
    "mean": NUMBER,
    "low": Maybe(NUMBER),
    "high": Maybe(NUMBER),
    "beyond_noise": Maybe(FLAG),
}
_TIMES = Named({"median": NUMBER, "quartiles": POINT})
_POINT = {
    "refused": Maybe(TEXT),
    "milliseconds": Maybe(_TIMES),
    **dict.fromkeys(("compile_seconds", "memory_bytes"), Maybe(NUMBER)),
}
_COMPILED = {
    **dict.fromkeys(("config", "topology", "dtype"), TEXT),
    **dict.fromkeys(("memory_bytes", "chip_memory_bytes", "flops", "padded_flops", "bytes", "host_transfers"), NUMBER),
    **dict.fromkeys(("arithmetic_seconds", "memory_seconds"), NUMBER),
    "collectives": Named(POINT),
    "quick": FLAG,
    "retraces": [TEXT],
}
_EXPECTED = {
    "run": _SOURCE
    | {
        **dict.fromkeys(("dataset", "teacher", "student", "teacher_sha256"), TEXT),
        **dict.fromkeys(("epochs", "seed", "images_kept"), INTEGER),
        **dict.fromkeys(("teacher_accuracy", "student_accuracy", "best_student_accuracy"), Maybe(NUMBER)),
        "student_agreement": Maybe(NUMBER),
        "images_made": Maybe(INTEGER),
        "given_images": Maybe(TEXT),
        "student_network": Maybe(TEXT),
        "student_parameters": Maybe(INTEGER),
        "baselines": Maybe(Named(NUMBER)),
        "seconds": Named(NUMBER),
    },
    "comparison": _SOURCE
    | {
        **dict.fromkeys(("dataset", "teacher", "student", "teacher_sha256"), TEXT),
        "teacher_accuracy": NUMBER,
        "epochs": INTEGER,
        "seeds": [INTEGER],
        "versions": Named(TEXT),
        "methods": Named(_METHOD),
    },
    "ablation": _SOURCE
    | {
        "dataset": TEXT,
        "teacher": TEXT,
        "teacher_accuracy": NUMBER,
        "seconds": Named(NUMBER),
        "variants": Named(
            {"accuracies": [NUMBER], "mean": NUMBER, "std": NUMBER, "difference": NUMBER, "exceeds_noise": FLAG}
        ),
    },
    "study": _SOURCE
    | {
        **dict.fromkeys(("dataset", "teacher", "student", "teacher_sha256"), TEXT),
        "teacher_accuracy": NUMBER,
        "seeds": [INTEGER],
        "runs_at_once": INTEGER,
        "versions": Named(TEXT),
        "variants": Named(
            {**_METHOD, "paired": Maybe(_PAIRED), "images": Maybe([Maybe({"class_entropy": Maybe(NUMBER)})])}
        ),
    },
    "exactness": _SOURCE
    | {
        "networks": Named({"parameters": INTEGER, "in": NUMBER, "out": NUMBER, "round_trip_exact": FLAG}),
        "checkpoints": Named({"architecture": TEXT, "here": NUMBER, "exported": NUMBER}),
    },
    "accelerator_report": _SOURCE | {"stages": Named({"state": TEXT, "seconds": NUMBER, "says": TEXT})},
    "buffer_benchmark": _SOURCE | {"milliseconds": Named(NUMBER)},
    "facts": _SOURCE | {"facts": Named(TEXT)},
    "growth": _SOURCE | {**dict.fromkeys(("teacher", "student", "dtype"), TEXT), "points": Named(Named(_POINT))},
    "compile_check": _SOURCE | {"rows": Named(_COMPILED)},
    "speed": _SOURCE
    | {
        **dict.fromkeys(("teacher", "student", "dtype", "matmul_precision"), TEXT),
        "milliseconds": _TIMES,
        "host": Maybe({"load_average": NUMBER}),
        "ratios": Maybe(Named({"variant": TEXT, "milliseconds": NUMBER, "ratio": NUMBER})),
        **dict.fromkeys(("compile_seconds", "memory_bytes", "share_of_matrix_product"), Maybe(Named(NUMBER))),
    },
}


def problem(content: dict) -> str | None:
    """Says what is wrong with the content of a results file.

    Args:
      content: under today's names (`run_files.with_current_names`), with its "kind".

    Returns:
      For example "seconds.total is '3', expected a number"; None where nothing is wrong, or the kind is unknown.
    """
    kind = content.get("kind")
    found = _mismatch(content, {"kind": TEXT}, "") or _mismatch(content, _EXPECTED.get(kind, {}), "")
    if found is None and kind in _FURTHER:
        found = _FURTHER[kind](content)
    return found


def _mismatch(value: object, expected: object, where: str) -> str | None:
    if isinstance(expected, Maybe):
        return None if value is None else _mismatch(value, expected.entry, where)
    if isinstance(expected, Kind):
        return None if expected.fits(value) else f"{where} is {_quoted(value)}, expected {expected.words}"
    if isinstance(expected, list):
        if not isinstance(value, list):
            return f"{where} is {_quoted(value)}, expected a list"
        entries = {f"{where}[{index}]": (entry, expected[0]) for index, entry in enumerate(value)}
    else:
        if not isinstance(value, dict):
            return f"{where} is {_quoted(value)}, expected an object"
        fields = dict.fromkeys(value, expected.entry) if isinstance(expected, Named) else expected
        missing = [name for name in fields if name not in value and not isinstance(fields[name], Maybe)]
        if missing:
            return f"{'.'.join(filter(None, (where, missing[0])))} is missing"
        entries = {f"{where}.{name}".lstrip("."): (value.get(name), entry) for name, entry in fields.items()}
    return next(filter(None, (_mismatch(entry, kind, name) for name, (entry, kind) in entries.items())), None)


def _quoted(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 40 else f"{text[:39]}…"


def _run_problem(content: dict) -> str | None:
    needed = {"seconds": {"total": NUMBER}}
    metric = metric_of(content).name
    if content.get(f"student_{metric}") is None:
        needed["student_agreement"] = NUMBER
    else:
        needed |= {f"teacher_{metric}": NUMBER, f"student_{metric}": NUMBER, f"best_student_{metric}": NUMBER}
    return _mismatch(content, needed, "")


def _comparison_problem(content: dict) -> str | None:
    return _rows_problem(content, "methods")


def _study_problem(content: dict) -> str | None:
    if not content["variants"]:
        return "variants is {}, expected at least one"
    for name, row in content["variants"].items():
        bounds = [(row.get("paired") or {}).get(bound) for bound in ("low", "high", "beyond_noise")]
        if 0 < bounds.count(None) < len(bounds):
            return f"variants.{name}.paired has some of low, high and beyond_noise, expected all or none"
    return _rows_problem(content, "variants")


def _rows_problem(content: dict, rows: str) -> str | None:
    if not content["seeds"]:
        return "seeds is [], expected at least one"
    for name, row in content[rows].items():
        counts = {len(row["accuracies"]), len(row["seeds"]), len(row["curves"])}
        if len(counts) > 1:
            return f"{rows}.{name} has accuracies, seeds and curves of different lengths"
        needed = {"mean": NUMBER, "std": NUMBER, "seconds": _METHOD["seconds"].entry} if row["seeds"] else {}
        if found := _mismatch(row, needed, f"{rows}.{name}"):
            return found
    return None


def _ablation_problem(content: dict) -> str | None:
    return None if "default" in content["variants"] else "variants.default is missing"


_FURTHER = {
    "run": _run_problem,
    "comparison": _comparison_problem,
    "ablation": _ablation_problem,
    "study": _study_problem,
}

"""The table of a comparison's methods, and the words for a row's numbers that other tables share."""

from collections.abc import Sequence

from ssdkd_jax.methods import METHODS
from ssdkd_jax.reports.run_files import image_source, metric_of
from ssdkd_jax.reports.seed_statistics import mean_and_std

_MOST_POINTS = 40

# Columns that a study's table has too; they are what `costs` writes.
COSTS = ("images made", "images kept", "total (s)", "synthesis (s)", "student (s)", "planned memory (MB)")
_BEST = "best (picked on the test set)"
NOTHING = "–"


def header(result: dict) -> tuple[str, ...]:
    """Returns the names of a comparison's columns; results of older versions have no best accuracies."""
    return ("method", score_column(result), *([_BEST] if _has_best(result) else []), *COSTS)


def score_column(result: dict) -> str:
    """Returns the name of the column with what was measured, a study's too."""
    return f"{metric_of(result).words} (%)"


def rows(result: dict) -> list[tuple[str, ...]]:
    """Returns one row of text per method of a comparison, under `header`."""
    seeds, has_best = len(result["seeds"]), _has_best(result)
    return [
        (_name(method, row), accuracy(row, seeds), *([_best(row)] if has_best else []), *costs(row))
        for method, row in result["methods"].items()
    ]


def _has_best(result: dict) -> bool:
    known = [row.get("best_accuracies") for row in result["methods"].values()]
    return any(values and None not in values for values in known)


def _best(row: dict) -> str:
    values = row.get("best_accuracies") or []
    return NOTHING if None in values else _mean_and_std(*mean_and_std(values), len(values))


def _mean_and_std(mean: float | None, std: float | None, count: int) -> str:
    if not count:
        return NOTHING
    return f"{mean:.2f}" if count == 1 else f"{mean:.2f} ± {std:.2f}"


def _name(method: str, row: dict) -> str:
    return f"{method} (given {row['given_images']})" if row.get("given_images") else method


def accuracy(row: dict, seeds: int) -> str:
    """Writes mean ± standard deviation, with what is missing of `seeds` runs: "88.10 ± 0.30 (1 diverged)"."""
    done, diverged = len(row["seeds"]), len(row["diverged"])
    text = _mean_and_std(row["mean"], row["std"], done)
    missing = {"diverged": diverged, "to come": seeds - done - diverged}
    missing = ", ".join(f"{count} {what}" for what, count in missing.items() if count)
    return f"{text} ({missing})" if missing else text


def costs(row: dict) -> list[str]:
    """Writes the numbers of the columns COSTS, a dash for what is unknown."""
    seconds = row.get("seconds") or {}
    memory = None if row.get("memory_bytes") is None else row["memory_bytes"] / 1e6
    given = row.get("given_images") and image_source(row) == "given"  # what a baseline keeps in memory is not synthetic
    numbers = [(None if given else row.get(field), ",.0f") for field in ("images_made", "images_kept")]
    numbers += [(seconds.get(part), _digits(seconds.get(part))) for part in ("whole", "synthesis", "student")]
    numbers += [(memory, _digits(memory))]
    return [NOTHING if number is None else format(number, digits) for number, digits in numbers]


def _digits(number: float | None) -> str:
    return ",.0f" if number is None or number >= 100 else ",.1f"


def notes(result: dict) -> list[str]:
    """Returns the sentences that belong under the table of a comparison."""
    seeds, epochs = result["seeds"], result["epochs"]
    metric = metric_of(result)
    spread = f"{len(seeds)} seeds ({listed(seeds)}): {metric.words} is mean ± standard deviation, time the mean."
    return [
        spread if len(seeds) > 1 else f"One seed ({seeds[0]}), so the spread is unknown.",
        *_timed_seeds(result["methods"]),
        f"Teacher {result['teacher']}, {result['teacher_accuracy']:.2f} {metric.unit}; student {result['student']}, "
        f"{result['dataset']}; {epochs} epoch{'s' if epochs > 1 else ''} including the warm-up, with "
        f"{_student_steps(result['methods'])}.",
        "Total time covers the whole training, including synthesis, but not setup, the teacher's training, "
        "compilation and the evaluation on real test images; besides synthesis and student steps it includes "
        "checkpoints and the host's work.",
        "Planned memory is what XLA's compiler plans for an epoch on one device: arguments, results and temporaries.",
        *networks(result["methods"], result["student"]),
        *_differences(result["methods"]),
        *failures(result["methods"]),
    ]


def _student_steps(methods: dict) -> str:
    """Says how many student steps the methods took."""
    # Results of older versions do not say it; all of theirs are of as many.
    counts = {method: row["student_steps"] for method, row in methods.items() if row.get("student_steps")}
    if len(set(counts.values())) <= 1:
        return "the same number of student steps for every method"
    return "student steps: " + ", ".join(f"{method} {count:,}" for method, count in counts.items())


def _timed_seeds(methods: dict) -> list[str]:
    """Says where times were measured with fewer seeds than accuracies."""
    by_seeds = {}
    for method, row in methods.items():
        if row.get("seconds_of_seeds"):
            by_seeds.setdefault(tuple(row["seconds_of_seeds"]), []).append(method)
    sentences = []
    for seeds, names in by_seeds.items():
        times = f"Times of {', '.join(names)}" if len(names) < len(methods) else "Times"
        sentences.append(f"{times} are from seed{'s' if len(seeds) > 1 else ''} {listed(seeds)} only.")
    return sentences


def _differences(methods: dict) -> list[str]:
    """Says how methods differ from the published ones, each sentence once."""
    by_sentence = {}
    for method, row in methods.items():
        # Results of older versions do not say it themselves.
        sentence = row["differs"] if "differs" in row else _difference(method)
        if sentence:
            by_sentence.setdefault(sentence, []).append(method)
    return [f"{', '.join(names)}: {sentence}" for sentence, names in by_sentence.items()]


def _difference(method: str) -> str:
    return METHODS[method].method.differs if method in METHODS else ""


def networks(rows: dict, student: str) -> list[str]:
    """Returns sentences on rows whose network is more than the student, each network once; rows as in `failures`."""
    plain = {row.get("student_parameters") for row in rows.values() if not row.get("student_network")} - {None}
    beside = f"; {student} alone has {plain.pop():,}" if len(plain) == 1 else ""
    by_network = {}
    for name, row in rows.items():
        if row.get("student_network") and row.get("student_parameters"):
            by_network.setdefault((row["student_network"], row["student_parameters"]), []).append(name)
    return [
        f"What {', '.join(names)} trained is larger than the student: {network} has {parameters:,} parameters{beside}."
        for (network, parameters), names in by_network.items()
    ]


def failures(rows: dict) -> list[str]:
    """Returns a sentence for each run that diverged; `rows` are a comparison's methods or a study's variants."""
    return [
        # The rest of the message says how to fix that one run.
        f"Diverged: {name}, seed {failure['seed']}: {failure['message'].partition('; ')[0]}."
        for name, row in rows.items()
        for failure in row["diverged"]
    ]


def listed(seeds: Sequence[int]) -> str:
    """Writes [0, 1, 2] as "0 to 2" and [0, 4, 7] as "0, 4, 7"."""
    seeds = sorted(seeds)
    gapless = len(seeds) > 1 and seeds == list(range(seeds[0], seeds[-1] + 1))
    return f"{seeds[0]} to {seeds[-1]}" if gapless else ", ".join(map(str, seeds))


def thinned(result: dict) -> dict:
    """Returns a comparison with at most 40 points in each curve, the first and the last among them."""
    methods = {
        name: {**row, "curves": [thin(curve) for curve in row["curves"]]} for name, row in result["methods"].items()
    }
    return {**result, "methods": methods}


def thin(curve: list) -> list:
    """Returns at most 40 points of a curve, the first and the last among them."""
    if len(curve) <= _MOST_POINTS:
        return curve
    step = (len(curve) - 1) / (_MOST_POINTS - 1)
    return [curve[round(position * step)] for position in range(_MOST_POINTS)]

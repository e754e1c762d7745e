"""Results as Markdown tables, the same for a comparison's page and file, the README and docs/."""

from collections.abc import Iterable, Sequence

from ssdkd_jax.errors import UserError
from ssdkd_jax.methods import METHODS
from ssdkd_jax.reports import speed_figures
from ssdkd_jax.reports.run_files import image_source
from ssdkd_jax.reports.seed_statistics import mean_and_std

_MOST_POINTS = 40

_HEADER = (
    "method",
    "accuracy (%)",
    "images made",
    "images kept",
    "total (s)",
    "synthesis (s)",
    "student (s)",
    "planned memory (MB)",
)
_BEST = "best (picked on the test set)"
_TIME_PARTS = ("synthesis", "student", "evaluation", "checkpoint", "host")
_NOTHING = "–"


def markdown(result: dict) -> str:
    """Writes the table of a result and what belongs under it, with the command, the hardware and the date.

    Args:
      result: content of a results file, or of comparison.json.

    Raises:
      UserError: there is no table for a result of its kind.
    """
    makers = {
        "comparison": _comparison,
        "run": _run,
        "ablation": _ablation,
        "study": _study,
        "exactness": _exactness,
        "buffer_benchmark": _benchmark,
        "speed": _speed,
    }
    if result["kind"] not in makers:
        raise UserError(f"there is no table for a result of kind {result['kind']!r}; known are: {', '.join(makers)}")
    lines = makers[result["kind"]](result)
    return "\n".join([*lines, "", f"`{result['command']}`, {result['hardware']}, {result['date']}."])


def time_table(results: Iterable[dict]) -> str:
    """Writes where the time of runs and ablations went, in percent of their distillation."""
    rows = []
    for result in results:
        seconds = [result["seconds"].get(part, 0.0) for part in _TIME_PARTS]
        whole = sum(seconds)
        shares = [f"{100 * value / whole:.1f} %" if whole else _NOTHING for value in seconds]
        rows.append([f"{result['dataset']} ({whole:.0f} s)", *shares])
    return "\n".join(_table(["run", *_TIME_PARTS], rows))


def header(result: dict) -> tuple[str, ...]:
    """Returns the names of a comparison's columns; results of older versions have no best accuracies."""
    return (*_HEADER[:2], *([_BEST] if _has_best(result) else []), *_HEADER[2:])


def rows(result: dict) -> list[tuple[str, ...]]:
    """Returns one row of text per method of a comparison, under `header`."""
    seeds, has_best = len(result["seeds"]), _has_best(result)
    return [
        (_name(method, row), accuracy(row, seeds), *([_best(row)] if has_best else []), *_costs(row))
        for method, row in result["methods"].items()
    ]


def _has_best(result: dict) -> bool:
    known = [row.get("best_accuracies") for row in result["methods"].values()]
    return any(values and None not in values for values in known)


def _best(row: dict) -> str:
    values = row.get("best_accuracies") or []
    return _NOTHING if None in values else _mean_and_std(*mean_and_std(values), len(values))


def _mean_and_std(mean: float | None, std: float | None, count: int) -> str:
    if not count:
        return _NOTHING
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


def _costs(row: dict) -> list[str]:
    seconds = row.get("seconds") or {}
    memory = None if row.get("memory_bytes") is None else row["memory_bytes"] / 1e6
    given = bool(row.get("given_images"))  # what a baseline keeps in memory is not synthetic
    numbers = [(None if given else row.get(field), ",.0f") for field in ("images_made", "images_kept")]
    numbers += [(seconds.get(part), _digits(seconds.get(part))) for part in ("whole", "synthesis", "student")]
    numbers += [(memory, _digits(memory))]
    return [_NOTHING if number is None else format(number, digits) for number, digits in numbers]


def _digits(number: float | None) -> str:
    return ",.0f" if number is None or number >= 100 else ",.1f"


def notes(result: dict) -> list[str]:
    """Returns the sentences that belong under the table of a comparison."""
    seeds, epochs = result["seeds"], result["epochs"]
    spread = f"{len(seeds)} seeds ({_listed(seeds)}): accuracy is mean ± standard deviation, time the mean."
    return [
        spread if len(seeds) > 1 else f"One seed ({seeds[0]}), so the spread is unknown.",
        *_timed_seeds(result["methods"]),
        f"Teacher {result['teacher']}, {result['teacher_accuracy']:.2f} %; student {result['student']}, "
        f"{result['dataset']}; {epochs} epoch{'s' if epochs > 1 else ''} including the warm-up, with the same number "
        "of student steps for every method.",
        "Total time covers the whole training, including synthesis, but not setup, the teacher's training, "
        "compilation and the evaluation on real test images; besides synthesis and student steps it includes "
        "checkpoints and the host's work.",
        "Planned memory is what XLA's compiler plans for an epoch on one device: arguments, results and temporaries.",
        *_differences(result["methods"]),
        *_failures(result["methods"]),
    ]


def _timed_seeds(methods: dict) -> list[str]:
    """Says where times were measured with fewer seeds than accuracies."""
    by_seeds = {}
    for method, row in methods.items():
        if row.get("seconds_of_seeds"):
            by_seeds.setdefault(tuple(row["seconds_of_seeds"]), []).append(method)
    sentences = []
    for seeds, names in by_seeds.items():
        times = f"Times of {', '.join(names)}" if len(names) < len(methods) else "Times"
        sentences.append(f"{times} are from seed{'s' if len(seeds) > 1 else ''} {_listed(seeds)} only.")
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


def _failures(methods: dict) -> list[str]:
    failures = [(method, failure) for method, row in methods.items() for failure in row["diverged"]]
    return [
        # The rest of the message says how to fix that one run.
        f"Diverged: {method}, seed {failure['seed']}: {failure['message'].partition('; ')[0]}."
        for method, failure in failures
    ]


def _listed(seeds: Sequence[int]) -> str:
    """[0, 1, 2] -> "0 to 2"; [0, 4, 7] -> "0, 4, 7"."""
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


def _comparison(result: dict) -> list[str]:
    return [*_table(header(result), rows(result), numbers=True), "", " ".join(notes(result))]


def _run(result: dict) -> list[str]:
    if result.get("student_accuracy") is None:
        scores = [
            ("teacher", result["teacher"]),
            ("student", f"{result['student']}, agrees with the teacher on {result['student_agreement']:.2f} %"),
        ]
    else:
        scores = [
            ("teacher", f"{result['teacher']}, {result['teacher_accuracy']:.2f} %"),
            ("student", f"{result['student']}, {result['student_accuracy']:.2f} %"),
            ("best student on the test set (not the result)", f"{result['best_student_accuracy']:.2f} %"),
        ]
    seconds = result["seconds"]
    parts = ", ".join(f"{part} {seconds[part]:.0f}" for part in _TIME_PARTS if part in seconds)
    lines = [
        *scores,
        *((name, f"{value:.2f} %") for name, value in (result.get("baselines") or {}).items()),
        ("images", _images(result)),
        ("epochs, seed", f"{result['epochs']}, {result['seed']}"),
        ("seconds", f"{seconds['total']:.0f} ({parts})"),
    ]
    return _table(["", ""], lines)


def _images(result: dict) -> str:
    return {
        "kept": f"{result['images_kept']:,} synthetic ones",
        "generated": f"{result.get('images_made') or 0:,} synthetic ones, none of them kept",
        "given": f"given: {result.get('given_images')}",
    }[image_source(result)]


def _ablation(result: dict) -> list[str]:
    lines = []
    for name, row in result["variants"].items():
        if name == "default":
            difference, verdict = "", ""
        else:
            difference, verdict = f"{row['difference']:+.2f}", "**yes**" if row["exceeds_noise"] else "no"
        lines.append([name, f"{row['mean']:.2f} ± {row['std']:.2f}", difference, verdict])
    count = len(result["variants"]["default"]["accuracies"])
    note = f"{count} seeds; teacher {result['teacher']} {result['teacher_accuracy']:.2f} %."
    return [*_table(["variant", "accuracy", "difference", "more than noise"], lines), "", note]


def _study(result: dict) -> list[str]:
    seeds = result["seeds"]
    lines = []
    for name, row in result["variants"].items():
        costs = dict(zip(_HEADER[2:], _costs(row), strict=True))
        shown = [costs[column] for column in _HEADER[2:7]]
        lines.append([name, accuracy(row, len(seeds)), _difference_in_words(row["paired"]), *shown])
    header = ["variant", _HEADER[1], "difference (95 % interval)", *_HEADER[2:7]]
    return [*_table(header, lines, numbers=True), "", " ".join(_study_notes(result))]


def _difference_in_words(paired: dict | None) -> str:
    """For example "**+1.20 (0.40 to 2.00)**", bold where zero is outside of the interval."""
    if paired is None:
        return ""
    mean = f"{paired['mean']:+.2f}"
    if paired["low"] is None:
        return mean
    text = f"{mean} ({paired['low']:.2f} to {paired['high']:.2f})"
    return f"**{text}**" if paired["beyond_noise"] else text


def _study_notes(result: dict) -> list[str]:
    seeds, first = result["seeds"], next(iter(result["variants"]))
    at_once = f", {result['runs_at_once']} runs at once" if result["runs_at_once"] > 1 else ""
    return [
        f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''} ({_listed(seeds)}): accuracy is mean ± standard deviation, "
        f"time the mean{at_once}.",
        f"Differences are from {first}, seed by seed, with Student's interval; bold where zero lies outside, as it "
        "does by chance for one in twenty.",
        f"Teacher {result['teacher']}, {result['teacher_accuracy']:.2f} %; student {result['student']}, "
        f"{result['dataset']}.",
        *_failures(result["variants"]),
    ]


def _exactness(result: dict) -> list[str]:
    networks = [
        [
            name,
            f"{row['parameters']:,}",
            f"{row['in']:.0e}",
            f"{row['out']:.0e}",
            "yes" if row["round_trip_exact"] else "**no**",
        ]
        for name, row in result["networks"].items()
    ]
    checkpoints = [
        [f"{name} ({row['architecture']})", f"{row['here']:.2f} %", f"{row['exported']:.2f} %"]
        for name, row in result["checkpoints"].items()
    ]
    return [
        *_table(["network", "parameters", "PyTorch → ours", "ours → PyTorch", "round trip exact"], networks),
        "",
        *_table(["public checkpoint, CIFAR-10 test images", "here", "exported, in PyTorch"], checkpoints),
    ]


def _benchmark(result: dict) -> list[str]:
    return _table(["", "milliseconds"], [[name, f"{value:.2f}"] for name, value in result["milliseconds"].items()])


def _speed(result: dict) -> list[str]:
    return [
        *_table(speed_figures.header(result), speed_figures.rows(result)),
        "",
        " ".join(speed_figures.notes(result)),
    ]


def _table(header: Sequence[str], lines: Iterable[Sequence[str]], *, numbers: bool = False) -> list[str]:
    """Lines of a Markdown table; `numbers` aligns all columns but the first at the right."""
    rule = ["---"] + ["---:" if numbers else "---"] * (len(header) - 1)
    return [_line(cells) for cells in (header, rule, *lines)]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(' '.join(str(cell).split()).replace('|', chr(92) + '|') for cell in cells)} |"

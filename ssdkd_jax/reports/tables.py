"""A comparison's numbers as text, the same for its page, its Markdown file and the README."""

_MOST_POINTS = 40

HEADER = (
    "method",
    "accuracy (%)",
    "images synthesized",
    "images in memory",
    "seconds, whole",
    "of it synthesis",
    "of it student",
    "planned memory (MB)",
)
_NOTHING = "–"


def rows(result: dict) -> list[tuple[str, ...]]:
    """One row of text a method, under HEADER."""
    seeds = len(result["seeds"])
    return [(_name(method, row), accuracy(row, seeds), *_costs(row)) for method, row in result["methods"].items()]


def _name(method, row):
    return f"{method} (given {row['given_images']})" if row["given_images"] else method


def accuracy(row: dict, seeds: int) -> str:
    """Mean ± standard deviation, with what is missing of `seeds` runs: "88.10 ± 0.30 (1 diverged)"."""
    done, diverged = len(row["seeds"]), len(row["diverged"])
    text = _NOTHING if not done else f"{row['mean']:.2f}" if done == 1 else f"{row['mean']:.2f} ± {row['std']:.2f}"
    missing = {"diverged": diverged, "to come": seeds - done - diverged}
    missing = ", ".join(f"{count} {what}" for what, count in missing.items() if count)
    return f"{text} ({missing})" if missing else text


def _costs(row):
    seconds = row["seconds"] or {}
    memory = None if row["memory_bytes"] is None else row["memory_bytes"] / 1e6
    given = bool(row["given_images"])  # what a baseline keeps in memory is not synthetic
    numbers = [(None if given else row[field], ",.0f") for field in ("images_made", "images_kept")]
    numbers += [(seconds.get(part), _digits(seconds.get(part))) for part in ("whole", "synthesis", "student")]
    numbers += [(memory, _digits(memory))]
    return [_NOTHING if number is None else format(number, digits) for number, digits in numbers]


def _digits(number):
    return ",.0f" if number is None or number >= 100 else ",.1f"


def notes(result: dict) -> list[str]:
    """The sentences that belong under the table."""
    seeds, methods = result["seeds"], result["methods"]
    spread = f"{len(seeds)} seeds ({seeds[0]} to {seeds[-1]}): accuracy is mean ± standard deviation, time the mean."
    lines = [
        spread if len(seeds) > 1 else f"One seed ({seeds[0]}): nothing is known about the spread.",
        f"Teacher {result['teacher']}, {result['teacher_accuracy']:.2f} %; student {result['student']}, "
        f"{result['dataset']}; {result['epochs']} epoch{'s' if result['epochs'] > 1 else ''} with the warm-up, and as "
        "many student steps for every method.",
        "Time is that of the whole training with the synthesis in it, without set-up, the teacher's training, "
        "compilation and the evaluation on real test images; beside synthesis and student's steps it holds checkpoints "
        "and the host's work.",
        "Planned memory is what XLA's compiler plans for the epoch's program on one device: arguments, results and "
        "temporaries.",
    ]
    failures = [(method, failure) for method, row in methods.items() for failure in row["diverged"]]
    return lines + [
        # The rest of the message says how to mend that one run.
        f"Diverged: {method}, seed {failure['seed']}: {failure['message'].partition('; ')[0]}."
        for method, failure in failures
    ]


def markdown(result: dict) -> str:
    """The table and what belongs under it, with the command, the hardware and the date."""
    lines = [_line(HEADER), _line(["---"] + ["---:"] * (len(HEADER) - 1)), *map(_line, rows(result)), ""]
    lines += [" ".join(notes(result)), "", f"`{result['command']}`, {result['hardware']}, {result['date']}."]
    return "\n".join(lines)


def _line(cells):
    return f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |"


def thinned(result: dict) -> dict:
    """The comparison with at most 40 points in each curve, the first and the last among them."""
    methods = {
        name: {**row, "curves": [_thin(curve) for curve in row["curves"]]} for name, row in result["methods"].items()
    }
    return {**result, "methods": methods}


def _thin(curve):
    if len(curve) <= _MOST_POINTS:
        return curve
    step = (len(curve) - 1) / (_MOST_POINTS - 1)
    return [curve[round(position * step)] for position in range(_MOST_POINTS)]

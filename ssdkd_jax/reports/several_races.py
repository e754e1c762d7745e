"""Races on several data sets in one table and one picture: where one method ends, and the others."""

import statistics
from typing import NamedTuple

from ssdkd_jax.errors import UserError
from ssdkd_jax.reports import charts, race_table
from ssdkd_jax.reports.comparison_table import NOTHING, accuracy
from ssdkd_jax.reports.png_figure import png_figure
from ssdkd_jax.reports.run_files import metric_of
from ssdkd_jax.reports.seed_statistics import paired_by_seed
from ssdkd_jax.reports.study_plot import draw_mean
from ssdkd_jax.reports.study_table import difference, entropies

HEADER = (
    "race",
    "who",
    "accuracy (%)",
    "class entropy",
    "total (s)",
    "lead over it (95 % interval)",
    "share of its time until there",
    "seed by seed",
)
_PANEL = (3.6, 3.4)


class Race(NamedTuple):
    """A study's results, and which of its variants races.

    file: name of the results file without its suffix.
    result: its content.
    name: of the variant.
    """

    file: str
    result: dict
    name: str


def rows(races: list[Race], others: list[str]) -> list[tuple[str, ...]]:
    """One row of text for whoever races, and one for each of the others, race by race, under HEADER.

    Args:
      races: of studies that have finished.
      others: names of variants; of a race that has not one of them, `notes` say so.

    Raises:
      UserError: as of `race_table.rows`, or a result is no study's.
    """
    return [row for race in races for row in _rows(race, others)]


def _rows(race, others):
    compared, variants = _compared(race), race.result["variants"]
    racer, seeds = variants[race.name], len(race.result["seeds"])
    yield (race.file, race.name, *_measured(racer, seeds), "", "", "")
    for other in filter(compared.__contains__, others):
        row, found = variants[other], compared[other]
        yield (race.file, other, *_measured(row, seeds), _lead(racer, row), found.share, found.share_of_seeds)


def _compared(race):
    """{name: race_table.Row} of the variants that a race has results of."""
    if race.result["kind"] != "study":
        raise UserError(f"{race.file}.json holds {race.result['kind']}, expected a study")
    try:
        return {row.name: row for row in race_table.rows(race.result, race.name)}
    except UserError as error:
        raise UserError(f"{race.file}.json: {error}") from error


def _measured(row, seeds):
    """Texts of what one variant reaches, how balanced its images are, and how long it takes."""
    found = entropies(row)
    entropy = f"{statistics.mean(found):.3f}" if found else NOTHING
    return accuracy(row, seeds), entropy, f"{row['seconds']['whole']:,.0f}"


def _lead(racer, row):
    """Paired differences of the racer's accuracies and another's in words."""
    first, second = (dict(zip(one["seeds"], one["accuracies"], strict=True)) for one in (racer, row))
    return difference(paired_by_seed(first, second)) or NOTHING


def notes(races: list[Race], others: list[str]) -> list[str]:
    """Sentences that belong under the table; arguments as of `rows`."""
    missing = {race.file: [other for other in others if other not in _compared(race)] for race in races}
    missing = [f"in {file} {', '.join(names)}" for file, names in missing.items() if names]
    settings = [
        f"{race.file}: {race.result['dataset']}, {race.result['teacher']} ({race.result['teacher_accuracy']:.2f} "
        f"{metric_of(race.result).unit}) to {race.result['student']}, {len(race.result['seeds'])} seeds, "
        f"{race.result['hardware']}, {race.result['date']}"
        for race in races
    ]
    return [
        f"{'; '.join(settings)}.",
        "A lead is seed by seed, with Student's interval; bold where zero lies outside, as it does by chance for one "
        "in twenty. The shares are of the mean curves, and of each seed's own curve, end and time.",
        *([f"No result {'; '.join(missing)}."] if missing else []),
    ]


def picture(races: list[Race], others: list[str]) -> bytes:
    """Draws one panel a race, with the same color for the same name, as a PNG file.

    Args:
      races, others: as of `rows`.
    """

    def draw(figure):
        shown = {}
        for axes, race in zip(figure.subplots(1, len(races), squeeze=False)[0], races, strict=True):
            variants = race.result["variants"]
            level = axes.axhline(race.result["teacher_accuracy"], color="0.3", linestyle="--", linewidth=0.9)
            shown.setdefault("teacher", level)
            for index, name in enumerate((race.name, *others)):
                if any(variants.get(name, {}).get("curves", ())):
                    label = variants[name]["method"] if name == race.name else name
                    draw_mean(axes, charts.pen(index), label, variants[name]["curves"])
                    shown.setdefault(axes.lines[-1].get_label(), axes.lines[-1])
            axes.set_title(race.file, parse_math=False)
            axes.set(xlabel="seconds of training", ylabel=f"{metric_of(race.result).words} (%)")
        figure.legend(shown.values(), shown, loc="outside lower center", ncols=4, fontsize=8, frameon=False)

    width, height = _PANEL
    return png_figure((width * len(races), height), draw)

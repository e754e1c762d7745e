"""Documents whose tables are made from results files.

A document holds a table between `<!-- results:NAME -->` and `<!-- end -->`, of results/NAME.json; where time went
between `<!-- results:time NAME NAME ... -->` and `<!-- end -->`; a run's evaluations between
`<!-- results:curve NAME -->` and `<!-- end -->`; how soon one method or variant is where the others end between
`<!-- results:race NAME METHOD -->` and `<!-- end -->`; or several such races, in one table and a picture beside the
document, between `<!-- results:races PICTURE.png; OTHER, OTHER; NAME METHOD; NAME METHOD -->` and `<!-- end -->`.
"""

import pathlib
from collections.abc import Iterable

from ssdkd_jax.errors import UserError
from ssdkd_jax.files import expand, write_at_once
from ssdkd_jax.reports import several_races, tables
from ssdkd_jax.reports.several_races import Race

_MARKER, _END = "<!-- results:", "<!-- end -->"


def fill(text: str, results: dict[str, dict]) -> str:
    """Replaces what stands between a document's markers by the tables of the results, with the document's line ends.

    Args:
      text: the document.
      results: as `results_files.read_results` returns.

    Raises:
      UserError: a marker names no result, or is not closed.
    """
    parts = text.split(_MARKER)
    windows = text.count("\r\n")
    line_end = "\r\n" if windows > text.count("\n") - windows else "\n"
    for i, part in enumerate(parts[1:], start=1):
        name, _, rest = part.partition(" -->")
        _, end, after = rest.partition(_END)
        if not end:
            raise UserError(f"there is no {_END} after {_MARKER}{name} -->; close it")
        table = f"\n{_table(name, results)}\n".replace("\n", line_end)
        parts[i] = f"{name} -->{table}{_END}{after}"
    return _MARKER.join(parts)


def pictures(text: str, results: dict[str, dict]) -> dict[str, bytes]:
    """Returns {file name: PNG file} of the races that a document shows; arguments and errors as of `fill`."""
    found = [part.partition(" -->")[0].partition(" ") for part in text.split(_MARKER)[1:]]
    shown = [_races(rest, results) for what, _, rest in found if what == "races" and rest]
    names = [name for name, _, _ in shown]
    if len({*names}) < len(names):
        raise UserError(f"two of its tables of races have the same picture, expected one each: {', '.join(names)}")
    return {name: several_races.picture(races, others) for name, others, races in shown}


def listed(readme: str, docs: str) -> list[pathlib.Path]:
    """Lists the documents to refresh: a file, and every *.md of a folder; either may be empty.

    Raises:
      UserError: there is no such file or folder, no *.md in it, or no marker of a table in the file or the folder.
    """
    first = [expand(readme)] if readme else []
    if readme and not first[0].is_file():
        raise UserError(f"there is no file {readme}; give an existing one with --readme=FILE")
    found = sorted(expand(docs).glob("*.md")) if docs else []
    if docs and not found:
        raise UserError(f"there is no folder {docs} with *.md files; give an existing one with --docs=DIR")
    for named, paths in ((readme, first), (docs, found)):
        if named and not any(_MARKER.encode() in path.read_bytes() for path in paths):
            raise UserError(
                f"{named} has no table to renew; put {_MARKER}NAME -->{_END} where that of results/NAME.json belongs"
            )
    return [*first, *found]


def refresh(paths: Iterable[pathlib.Path], results: dict[str, dict]) -> list[pathlib.Path]:
    """Renews the tables and pictures of all documents, or of none where one of them cannot be filled.

    Returns:
      The files that changed.

    Raises:
      UserError: as `fill`, naming the document.
    """
    changed = {}
    for path in paths:
        try:
            text = path.read_bytes().decode("utf-8")  # with the line ends that it has
            filled = fill(text, results)
            drawn = pictures(text, results)
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path} is not UTF-8 ({error.reason}): expected a Markdown file; save it as one"
            ) from error
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        if filled != text:
            changed[path] = filled
        for name, content in drawn.items():
            picture = path.with_name(name)
            if not picture.exists() or picture.read_bytes() != content:
                changed[picture] = content
    for path, filled in changed.items():
        write_at_once(path, filled)
    return list(changed)


def _table(marker: str, results: dict[str, dict]) -> str:
    what, _, rest = marker.partition(" ")
    if what == "race" and rest:
        name, _, racer = rest.partition(" ")
        return _made(name, tables.race, _known(name, results), racer)
    if what == "races" and rest:
        name, others, races = _races(rest, results)
        return f"![Accuracy over seconds of training]({name})\n\n{tables.races(races, others)}"
    if what == "curve" and rest:
        return _made(rest, tables.curve, _known(rest, results))
    if what == "time" and rest:
        return tables.time_table(_timed(name, results) for name in rest.split())
    return _made(marker, tables.markdown, _known(marker, results))


def _races(text: str, results: dict[str, dict]) -> tuple[str, list[str], list[Race]]:
    """(the picture's name, names of the others, the races) of what stands in a marker of several races."""
    picture, *parts = (part.strip() for part in text.split(";"))
    split = [race.partition(" ") for race in parts[1:]]
    others = [other.strip() for other in parts[0].split(",")] if parts else []
    is_name = pathlib.PurePath(picture).name == picture and picture.endswith(".png")
    if not (is_name and all(others) and split and all(map(all, split))):
        expected = f"{_MARKER}races PICTURE.png; OTHER, OTHER; NAME METHOD -->"
        raise UserError(f"{_MARKER}races {text} --> has not the form {expected}")
    races = [Race(name, _known(name, results), racer) for name, _, racer in split]
    known = {name for race in races for name in race.result.get("variants", ())}
    if unknown := [other for other in others if other not in known]:
        raise UserError(f"none of these races has {', '.join(unknown)}; known are: {', '.join(sorted(known))}")
    return picture, others, races


def _made(name, make, *arguments):
    """What `make` returns, whose errors are about results/NAME.json."""
    try:
        return make(*arguments)
    except UserError as error:
        raise UserError(f"{name}.json: {error}") from error


def _known(name, results):
    if name not in results:
        raise UserError(f"there is no results file {name}.json; known are: {', '.join(sorted(results))}")
    return results[name]


def _timed(name, results):
    if _known(name, results)["kind"] not in ("run", "ablation"):
        raise UserError(f"{name}.json is neither a run nor an ablation, the only results with a table of times")
    return results[name]

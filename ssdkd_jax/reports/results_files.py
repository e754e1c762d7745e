"""Results of runs as JSON files under results/: recorded, merged and read."""

import pathlib

from ssdkd_jax.errors import UserError
from ssdkd_jax.files import expand, read_object, write_at_once
from ssdkd_jax.metrics import METRICS
from ssdkd_jax.outputs import check_replaces, make_folder
from ssdkd_jax.reports import comparison_table, run_files
from ssdkd_jax.reports.result_checks import problem
from ssdkd_jax.reports.seed_statistics import mean_and_std

_SCORES = (*(f"student_{name}" for name in METRICS), "student_agreement")
# What the synthetic images are like, where a method measures it.
_OF_IMAGES = ("class_entropy", "class_agreement", "discriminator_loss")
_CURVE_FIELDS = ("epoch", "seconds", "training_seconds", *_SCORES, "buffer_size", *_OF_IMAGES)
# What two comparisons must share for their seeds to be merged.
_SAME_SETTING = ("teacher_sha256", "dataset", "teacher", "student", "epochs")
_RECORD_AGAIN = "move it elsewhere and record it again: python -m experiments.results --record=WORKDIR --name=NAME"


def folder_to_record(path: str) -> pathlib.Path:
    """The folder of a run or a comparison.

    Raises:
      UserError: there is none.
    """
    folder = expand(path)
    if folder.is_dir():
        return folder
    what = f"{folder} is a file" if folder.exists() else f"there is no folder {folder}"
    beside = any((folder.parent / name).is_file() for name in (run_files.SUMMARY, run_files.COMPARISON))
    meant = folder.parent if beside else "DIR"
    raise UserError(f"{what}; expected the folder of a finished run or of a comparison: --record={meant}")


def path_of(folder: pathlib.Path, name: str) -> pathlib.Path:
    """The JSON file of a result in a folder.

    Raises:
      UserError: the name is none of a file, without its suffix.
    """
    plain = name == name.strip() == pathlib.PurePath(name).name != ""
    if not plain or name.startswith(".") or name.endswith(".json"):
        raise UserError(f"--name={name!r} is no plain name of a file without .json; choose another: --name=NAME")
    return pathlib.Path(folder) / f"{name}.json"


def record(workdir: pathlib.Path, path: pathlib.Path, *, overwrite: bool = False) -> None:
    """Keeps a finished run, with its curve of evaluated epochs, or a comparison with short curves.

    Args:
      workdir: the folder of the run or of the comparison.
      path: the JSON file to write.
      overwrite: whether another run or comparison that it holds may be replaced.

    Raises:
      UserError: the folder holds neither, or is damaged; the file holds a result of another kind or of another run or
        comparison, or cannot be written.
    """
    workdir, path = pathlib.Path(workdir), pathlib.Path(path)
    content = _comparison(workdir) if (workdir / run_files.COMPARISON).exists() else _run(workdir)
    _check_place(path, content["kind"])
    if path.exists() and not overwrite:
        kept = run_files.with_current_names(read_object(path, _RECORD_AGAIN))
        if not _is_same(kept, content):
            raise UserError(
                f"{path} holds another {content['kind']}, of {kept.get('command') or 'an unknown command'}; keep this "
                "one under another --name=NAME, or replace that one with --overwrite"
            )
    write_at_once(path, content)


def _is_same(kept: dict, new: dict) -> bool:
    """Whether two results of one kind are of the same command, or nothing of the first is missing in the second."""
    if kept.get("command") == new["command"]:
        return True
    if problem(kept):
        return False
    if kept["kind"] == "run":
        return kept.get("student_sha256") is not None and kept["student_sha256"] == new.get("student_sha256")
    return all(kept[field] == new[field] for field in _SAME_SETTING) and _accuracies(kept) <= _accuracies(new)


def _accuracies(comparison: dict) -> set[tuple]:
    """(method, seed, accuracy) of every run."""
    return {
        (name, *run)
        for name, row in comparison["methods"].items()
        for run in zip(row["seeds"], row["accuracies"], strict=True)
    }


def _check_place(path: pathlib.Path, kind: str) -> None:
    """Raises UserError unless a result of this kind can be written there, in place of one of its own kind only."""
    make_folder(path.parent, "--results")
    check_replaces(path, kind, "choose another: --name=NAME")


def merge(workdir: pathlib.Path, path: pathlib.Path) -> None:
    """Adds the seeds of a comparison to those of the same comparison that are kept already.

    Times stay those of the seeds that were measured first, which each row then names in `seconds_of_seeds`.

    Args:
      workdir: the folder of the comparison.
      path: the JSON file of the comparison that is kept.

    Raises:
      UserError: either is no comparison, they differ in their setting, or a seed is in both.
    """
    workdir, path = pathlib.Path(workdir), pathlib.Path(path)
    if not path.is_file():
        raise UserError(f"there is no {path} to merge with; record without --merge")
    if not (workdir / run_files.COMPARISON).exists():
        raise UserError(f"{workdir} holds no comparison to merge; name the folder of one: --record=DIR")
    kept, new = read_result(path), _comparison(workdir)
    if kept["kind"] != "comparison":
        raise UserError(
            f"{path} holds a result of kind {kept['kind']!r}, not a comparison; choose another: --name=NAME"
        )
    _check_can_merge(kept, new, path, workdir)
    make_folder(path.parent, "--results")
    names = dict.fromkeys([*kept["methods"], *new["methods"]])
    write_at_once(
        path,
        {
            **kept,
            **{field: _joined(kept[field], new[field]) for field in ("command", "hardware", "date")},
            "versions": {
                name: _joined(kept["versions"].get(name, "unknown"), new["versions"].get(name, "unknown"))
                for name in {**kept["versions"], **new["versions"]}
            },
            "seeds": sorted([*kept["seeds"], *new["seeds"]]),
            "methods": {name: _merged_row(kept["methods"].get(name), new["methods"].get(name)) for name in names},
        },
    )


def read_result(path: pathlib.Path, fix: str = _RECORD_AGAIN) -> dict:
    """Reads a results file, with today's field names; `fix` ends the message where it cannot be.

    Raises:
      UserError: it is damaged, or lacks what its table needs.
    """
    return _checked(run_files.with_current_names(read_object(path, fix)), path, fix)


def read_results(folder: pathlib.Path) -> dict[str, dict]:
    """Reads every JSON file in a folder: {name without .json: content}.

    Raises:
      UserError: there is no such folder, or one of them is damaged.
    """
    if not pathlib.Path(folder).is_dir():
        raise UserError(f"there is no folder {folder} with results; give that in which they are kept: --results=DIR")
    return {path.stem: read_result(path) for path in sorted(pathlib.Path(folder).glob("*.json"))}


def _comparison(workdir: pathlib.Path) -> dict:
    path, fix = workdir / run_files.COMPARISON, "move it elsewhere and run the comparison's command again"
    content = run_files.with_current_names(read_object(path, fix))
    return comparison_table.thinned(_checked({**content, "kind": "comparison"}, path, fix))


def _run(workdir: pathlib.Path) -> dict:
    path = workdir / run_files.SUMMARY
    summary = _read(run_files.read_summary, workdir) if path.is_file() else {}
    if not summary.get("epochs"):
        raise UserError(
            f"{workdir} holds neither a finished run nor a comparison; finish it, or name another workdir: --record=DIR"
        )
    numbers = [
        {field: line[field] for field in _CURVE_FIELDS if run_files.number(line.get(field)) is not None}
        for line in _read(run_files.read_metrics, workdir)
    ]
    curve = [line for line in numbers if any(score in line for score in _SCORES)]
    fix = f"move {path} elsewhere and run the command that made it again, which goes on from its last checkpoint"
    return {**_checked({"kind": "run", **summary}, path, fix), "curve": curve}


def _read(reader, workdir: pathlib.Path):
    """What a reader of `run_files` returns; where it refuses, its advice would be for the program of the run."""
    try:
        return reader(workdir)
    except UserError as error:
        wrong = str(error).split("; ")[0]
        raise UserError(
            f"{wrong}; run its python -m experiments.main again in another folder, and record that: --record=DIR"
        ) from error


def _checked(content: dict, path: pathlib.Path, fix: str) -> dict:
    found = problem(content)
    if found:
        raise UserError(f"{path}: {found}; {fix}")
    return content


def _check_can_merge(kept: dict, new: dict, path: pathlib.Path, workdir: pathlib.Path) -> None:
    for field in _SAME_SETTING:
        if kept[field] != new[field]:
            raise UserError(
                f"{workdir} and {path} are different comparisons: {field} is {new[field]} and {kept[field]}; keep it "
                "under another --name=NAME, without --merge"
            )
    for name in kept["methods"].keys() & new["methods"].keys():
        there, here = (result["methods"][name].get("given_images") or "nothing" for result in (kept, new))
        if there != here:
            raise UserError(
                f"{workdir} and {path} are different comparisons: {name} was given {here} and {there}; keep it under "
                "another --name=NAME, without --merge"
            )
    both = sorted({*kept["seeds"]} & {*new["seeds"]})
    if both:
        raise UserError(
            f"{path} has seed {', '.join(map(str, both))} of {workdir} already; run other seeds: --config.seed=N"
        )


def _joined(kept: str, new: str) -> str:
    return kept if new in kept.split("; ") else f"{kept}; {new}"


def _merged_row(kept: dict | None, new: dict | None) -> dict:
    """One method's row with the seeds of both; either may be missing."""
    if kept is None or new is None:
        return kept or new
    row = {**new, **{field: value for field, value in kept.items() if value is not None}}
    row |= {field: [*kept[field], *new[field]] for field in ("accuracies", "seeds", "diverged", "curves")}
    # Known for the seeds of one of them only, they would look like those of all.
    best = [one.get("best_accuracies") for one in (kept, new) if one["seeds"]]
    row["best_accuracies"] = None if None in best else [value for values in best for value in values]
    row["mean"], row["std"] = mean_and_std(row["accuracies"])
    for field in ("images_made", "images_kept", "memory_bytes"):
        row[field] = max((one[field] for one in (kept, new) if one.get(field) is not None), default=None)
    if kept["seeds"] and new["seeds"]:
        row["seconds_of_seeds"] = kept.get("seconds_of_seeds") or kept["seeds"]
    return row

"""A borrowed accelerator's minutes, stage by stage: does it work, how fast is it, what do the published pairs reach.

Every stage is noted as soon as it ends, and one that the minutes did not suffice for goes on with the next call.
"""

import copy
import pathlib
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import jax

from ssdkd_jax import data
from ssdkd_jax.errors import UserError, did_you_mean
from ssdkd_jax.files import digest_of, expand, write_together
from ssdkd_jax.jobs import provenance
from ssdkd_jax.jobs.config_checks import check_once
from ssdkd_jax.jobs.experiment import identity, in_full
from ssdkd_jax.jobs.image_spec import shape_and_classes
from ssdkd_jax.jobs.run import run_job
from ssdkd_jax.jobs.run_folder import REPORTED, alone, check_kind
from ssdkd_jax.jobs.schedule import with_fitting_warmup
from ssdkd_jax.jobs.teacher import check_fits, load_teacher
from ssdkd_jax.outputs import check_replaces, check_written_by_us, make_folder
from ssdkd_jax.reports.results_files import read_result
from ssdkd_jax.reports.run_files import ACCELERATOR_REPORT
from ssdkd_jax.speed.benchmark import benchmark
from ssdkd_jax.speed.timing import Budget
from ssdkd_jax.training.devices import local_devices
from ssdkd_jax.training.interruption import Interrupted

KIND = "accelerator_report"
TO_COME = {"state": "to come", "says": "", "seconds": 0, "date": ""}
# Characters of what is said about a failure.
MOST_WORDS = 500
DONE, STOPPED, FAILED = "done", "goes on with the next call", "failed"


class Stage(NamedTuple):
    """A part of the report.

    name: of it, and of its folder or file.
    config: ConfigDict of the run.
    work: (config, place, interruption) -> what came out, in words.
    """

    name: str
    config: Any
    work: Callable


class Deadline:
    """Becomes true when the minutes are over, or the program is asked to stop."""

    def __init__(self, seconds, interruption):
        self._end, self._interruption = time.monotonic() + seconds, interruption

    def __bool__(self):
        return self.over() or bool(self._interruption)

    def over(self):
        """Whether it was the time."""
        return time.monotonic() >= self._end


def distilling(config, place, interruption) -> str:
    """A whole run."""
    return run_job(config, place, command=KIND, interruption=interruption).in_one_line()


def timing(against: str, budget: Budget) -> Callable:
    """The work of a stage that times a config's programs; `against` as for `benchmark`."""

    def work(config, place, interruption):
        del interruption
        out = place.with_suffix(".json")
        out.unlink(missing_ok=True)  # what was begun, perhaps on another machine, whose results are not replaced
        found = benchmark(config, out, budget=budget, against=against, command=KIND)
        figures = (
            f"{name} {found['milliseconds'][name]['median']:.2f} ms" + _ratio(found, name)
            for name in ("inversion step", "student step", "epoch")
            if name in found["milliseconds"]
        )
        return ", ".join(figures)

    return work


def _ratio(found, name):
    ratio = found.get("ratios", {}).get(name)
    return f" (PyTorch takes {ratio['ratio']:.2f} times as long)" if ratio else ""


def check_pairs(pairs: Sequence[str]) -> None:
    """Raises UserError unless these are pairs of networks as TEACHER-STUDENT, each once."""
    for pair in pairs:
        if "-" not in pair:
            raise UserError(
                f"--pairs: {pair!r} is no pair of networks, expected TEACHER-STUDENT such as wrn40_2-wrn16_1"
            )
    check_once("--pairs", list(pairs), "pair")


def given_teachers(entries: Sequence[str]) -> dict[str, str]:
    """architecture -> file or folder, of entries ARCHITECTURE=FILE_OR_FOLDER."""
    named = [entry.partition("=")[::2] for entry in entries]
    for name, path in named:
        if not path:
            raise UserError(f"--teachers holds {name!r}, expected ARCHITECTURE=FILE such as wrn40_2=teacher.pth")
    check_once("--teachers", [name for name, _ in named], "architecture")
    return dict(named)


def make_stages(smoke, published: dict, teachers: dict, folder) -> list[Stage]:
    """The stages: a smoke test, then the benchmarks of all pairs of networks, then their runs.

    Args:
      smoke: ConfigDict of a run of seconds.
      published: pair of networks -> ConfigDict of its run.
      teachers: architecture -> file or folder, of those that need not be trained.
      folder: takes those that are.
    """
    devices = local_devices()
    # What PyTorch is compared with, where it can be.
    against = "torch" if len(devices) == 1 and devices[0].platform != "tpu" and find_spec("torch") else ""
    _check_teachers(published, teachers)
    timed, runs = [], []
    smoke.teacher.cache_dir = str(pathlib.Path(folder) / "teachers")
    for pair, config in published.items():
        config.teacher.cache_dir = smoke.teacher.cache_dir
        timed.append(Stage(f"benchmark_{pair}", copy.deepcopy(config), timing(against, Budget(20, 2.0))))
        _give_teacher(config, teachers)
        runs.append(Stage(pair, config, distilling))
    return [Stage("smoke_test", smoke, distilling), *timed, *runs]


def _check_teachers(published, teachers):
    """Raises UserError before any minute is spent where a given teacher cannot be that of its pair."""
    names = [config.teacher.name for config in published.values()]
    for name in teachers:
        if name not in names:
            meant = did_you_mean(name, names)
            raise UserError(f"--teachers names {name!r}, {meant}expected teachers of the pairs: {', '.join(names)}")
    for config in published.values():
        if path := teachers.get(config.teacher.name):
            _check_teacher(config, path)


def _check_teacher(config, path):
    """Raises UserError where a given teacher is none for the config, with advice for this program."""
    name, (shape, class_names) = config.teacher.name, shape_and_classes(config)
    try:
        check_fits(load_teacher(path, name, image_shape=shape), len(class_names), shape, path)
    except UserError as error:
        # The fields of a config, of which a run's advice tells, are no flags here.
        wrong = "; ".join(part for part in str(error).split("; ") if "--config." not in part)
        raise UserError(f"{wrong}; give another: --teachers={name}=FILE_OR_FOLDER") from error


def _give_teacher(config, teachers):
    path = teachers.get(config.teacher.name)
    if path is None:
        return
    config.teacher.path = path
    try:
        data.dataset_info(config.dataset, config.data_dir or None, prepared_here=True)
    except UserError:  # no test images, so agreement with the teacher is what can be measured
        config.evaluate_on = "none"


def accelerator_report(stages: Sequence[Stage], folder, minutes: float, *, command="", interruption=False) -> dict:
    """Works through the stages until the minutes are over, and writes accelerator_report.json and .md after each.

    Args:
      stages: in their order; those that are done already are left as they are, and so are others that the folder has.
      folder: takes the report, and what each stage leaves.
      minutes: after which no stage begins and a run saves and stops.
      command: the command line, for the report.
      interruption: becomes true when the work should be saved and stopped.

    Returns:
      the report, as in accelerator_report.json.

    Raises:
      UserError: the folder cannot be used, or has stages of another machine or of other settings; what is wrong with a
        stage is only noted.
      Interrupted: on request, after saving.
    """
    folder = make_folder(expand(folder))
    check_kind(folder, REPORTED)
    path = folder / ACCELERATOR_REPORT
    check_replaces(path, KIND, "choose another --workdir=DIR")
    check_written_by_us(folder, {path.with_suffix(".md").name: r"\| stage \|"})
    with alone(folder):
        report = {"kind": KIND, "command": command, **provenance.made_with(local_devices())}
        report["stages"] = _begun(path, stages, report["hardware"])
        deadline = Deadline(60 * minutes, interruption)
        for stage in stages:
            if report["stages"][stage.name]["state"] != DONE and not deadline:
                print(f"== {stage.name}", flush=True)
                _note(report, stage, folder, deadline)
            write_together({path: report, path.with_suffix(".md"): in_markdown(report)})
    if interruption:
        raise Interrupted("stopped; what is done is noted")
    print(f"{in_markdown(report)}\nsee {path.with_suffix('.md')}", flush=True)
    return report


def _begun(path, stages, hardware):
    """{stage: what is noted of it}: those of the folder, and those to come."""
    before = read_result(path, "move it elsewhere and run the same command again") if path.exists() else {}
    noted, fix = before.get("stages", {}), "choose another folder: --workdir=DIR"
    if noted and before["hardware"] != hardware:
        raise UserError(f"{path} was measured on {before['hardware']}, and this is {hardware}; {fix}")
    for stage in stages:
        there = noted.setdefault(stage.name, {**TO_COME})
        if there["state"] == DONE and there.get("settings") not in (None, _settings_of(stage)):
            raise UserError(f"{path}: {stage.name} was done with other settings, such as another --dtype; {fix}")
    return noted


def _settings_of(stage):
    """A digest of what decides a stage's outcome."""
    return digest_of(stage.config and in_full(identity(with_fitting_warmup(stage.config)[0])))


def _note(report, stage, folder, deadline):
    noted, start = report["stages"][stage.name], time.monotonic()
    try:
        noted["says"] = stage.work(stage.config, pathlib.Path(folder) / stage.name, deadline)
        noted["state"] = DONE
    except Interrupted as stop:
        noted.update(state=STOPPED, says=str(stop))
    except (UserError, jax.errors.JaxRuntimeError) as error:  # such as too little memory for one of the pairs
        noted.update(state=FAILED, says=" ".join(str(error).split())[:MOST_WORDS])
        print(f"{stage.name} failed: {error}", flush=True)
    noted["seconds"] += time.monotonic() - start
    noted.update(settings=_settings_of(stage), date=report["date"])


def in_markdown(report: dict) -> str:
    """The report as a table."""
    rows = [
        f"| {name} | {noted['state']} | {noted['seconds']:.0f} | {noted.get('date', '')} | "
        f"{' '.join(noted['says'].split()).replace('|', '/')} |"
        for name, noted in report["stages"].items()
    ]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    head = ["| stage | state | seconds | date | what came out |", "| --- | --- | ---: | --- | --- |"]
    return "\n".join([*head, *rows, "", f"`{report['command']}`, {report['hardware']}, {report['date']}; {versions}."])

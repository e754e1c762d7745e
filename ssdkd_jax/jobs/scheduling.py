"""Many runs, one after another or several at once: checked before the first begins, resumed, counted."""

import contextlib
import copy
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

from ssdkd_jax.errors import Diverged, UserError
from ssdkd_jax.files import in_place_of_a_file
from ssdkd_jax.jobs import baselines, config_checks, run_folder
from ssdkd_jax.jobs.context import Context
from ssdkd_jax.jobs.image_spec import describe_images, shape_and_classes
from ssdkd_jax.jobs.network_checks import check_job, teacher_architecture
from ssdkd_jax.jobs.plausibility import check_all_work
from ssdkd_jax.jobs.processes import Child, Share, call, shares, stopped_at_the_end, wait
from ssdkd_jax.jobs.run import check_folder, run_job
from ssdkd_jax.jobs.schedule import with_fitting_warmup
from ssdkd_jax.jobs.summary import Summary
from ssdkd_jax.jobs.teacher import train_teacher
from ssdkd_jax.outputs import make_folder, removed_if_refused
from ssdkd_jax.training.clock import Clock
from ssdkd_jax.training.compilation import matmul_precision
from ssdkd_jax.training.devices import check_divisible, local_devices
from ssdkd_jax.training.interruption import Interrupted, epochs_under_way
from ssdkd_jax.training.progress import RunCounter

# Of a run that has a process of its own: what it printed.
LOG = "run.log"
# The flag that says which groups of runs there are.
GROUPS = {run_folder.COMPARED: "--methods=NAMES", run_folder.STUDIED: "--only=NAMES"}
# An interruption is noticed after so many seconds at most.
_PATIENCE = 0.2


class Planned(NamedTuple):
    """A run that is to be made.

    group: what it shares with runs of other seeds: a method, or a variant.
    config: ConfigDict, checked (`config_checks.check_values`).
    folder: the run's.
    """

    group: str
    seed: int
    config: Any
    folder: pathlib.Path

    @property
    def name(self):
        return f"{self.group}, seed {self.seed}"


class Prepared(NamedTuple):
    """summaries of the runs that are finished; shares of the machine for runs at once, [] for one after another."""

    summaries: list[Summary]
    shares: list[Share]


def run_all(
    planned: Sequence[Planned],
    folder: pathlib.Path,
    kind: str,
    at_once: int,
    on_end: Callable[[list], None],
    *,
    command: str = "",
    interruption: Any = False,
) -> None:
    """Runs what is not finished, in the order given.

    Args:
      planned: the runs.
      folder: of all of them; made where there is none.
      kind: of the work that the folder is of, see `run_folder.KINDS`.
      at_once: how many runs at once; more than one have each a process of its own, and one teacher that is trained
        before.
      on_end: ([(Planned, Summary or Diverged), ...]) -> None; called with all runs that were finished before, then
        after each that ends.
      command: the command line, for the summaries.
      interruption: becomes true when the work should be saved and stopped.

    Raises:
      UserError: anything that the user can fix, but for a run that diverges.
      Interrupted: on request, after saving.
    """
    with removed_if_refused(folder):
        _run_all(planned, folder, kind, at_once, on_end, command, interruption)


def _run_all(planned, folder, kind, at_once, on_end, command, interruption):
    finished = [run for run in planned if _is_finished(run)]
    waiting = [run for run in planned if not _is_finished(run)]
    arguments = (planned, finished, folder, kind, at_once, command)
    if at_once > 1:  # in a process of its own, since one that has used an accelerator keeps it
        prepared = call("the preparation", prepare, arguments, interruption)
    else:
        prepared = prepare(*arguments, interruption=interruption)
    counter = RunCounter(len(planned), len(finished), at_once)
    with run_folder.alone(folder):
        if finished:
            on_end(list(zip(finished, prepared.summaries, strict=True)))
        if at_once > 1:
            _side_by_side(waiting, prepared.shares, on_end, counter, command, interruption)
        else:
            _one_by_one(waiting, on_end, counter, command, interruption)


def _is_finished(run):
    return run_folder.read_summary(run.folder) is not None and (run.folder / "student").exists()


def prepare(planned, finished, folder, kind, at_once, command, *, interruption):
    """Finds mistakes in any of the runs, and trains the teacher that runs at once share; arguments as of `run_all`.

    Returns:
      Prepared.
    """
    devices, summaries = local_devices(), []
    pieces = shares(at_once, devices) if at_once > 1 else []
    runs = _on_one_device(planned) if pieces and pieces[0].environment else planned
    for run in runs:
        with _named(run):
            config_checks.check_batches(run.config, local_devices(run.config.devices))
    architecture = teacher_architecture(planned[0].config)
    make_folder(folder)
    run_folder.check_apart(folder, planned[0].config)
    run_folder.check_kind(folder, kind)
    work = {}
    for run in {run.group: run for run in runs}.values():  # any seed will do
        _stop_early(interruption)
        with _named(run):
            work[run.group] = check_job(with_fitting_warmup(run.config)[0], folder, architecture)
    check_all_work(sum(work[run.group] for run in runs), len(runs), at_once, GROUPS[kind])
    done = {run.folder for run in finished}
    with run_folder.alone(folder):
        _check_waiting([run for run in planned if run.folder not in done])
        _stop_early(interruption)
        for number, run in enumerate(finished, start=1):  # no work, but folders of other experiments are refused
            print(f"== {run.name}: run {number} of {len(planned)}", flush=True)
            with _named(run, seed=True):
                summaries.append(run_job(run.config, run.folder, command=command, interruption=interruption))
        if at_once > 1 and len(finished) < len(planned):
            _keep_teacher(planned[0].config, folder, interruption)
    return Prepared(summaries, pieces)


def _stop_early(interruption):
    """Between the checks of many runs, which take minutes."""
    if interruption:
        raise Interrupted("stopped before the first run")


def _check_waiting(runs):
    """Finds what a run would find only when its turn comes, which can be hours later: its folder, images for it."""
    for run in runs:
        with _named(run, seed=True):
            check_folder(run.config, run.folder)
            if found := in_place_of_a_file(run.folder / LOG):
                raise UserError(f"{run.folder / LOG} is {found}, expected a file or nothing: move it elsewhere")
    read = set()
    for run in {run.group: run for run in runs}.values():  # any seed will do
        source = baselines.source_of(run.config)
        if source not in read:
            with _named(run):
                baselines.check_readable(run.config)
        read.add(source)


@contextlib.contextmanager
def _named(run, seed=False):
    """Says of which runs a mistake is: all of a method or variant, or that of one seed."""
    try:
        yield
    except Diverged:
        raise
    except UserError as error:
        known = not seed and re.match(rf"{re.escape(run.group)}\b", str(error))
        raise UserError(str(error) if known else f"{run.name if seed else run.group}: {error}") from error


def _on_one_device(planned):
    """The runs as each will be with an accelerator of its own."""
    runs = [run._replace(config=copy.deepcopy(run.config)) for run in planned]
    for run in runs:
        if run.config.devices > 1:
            raise UserError(
                f"devices is {run.config.devices}, but each of several runs at once has one: --config.devices=0"
            )
        run.config.devices = 1
    return runs


def _keep_teacher(config, folder, interruption):
    """Trains the teacher of all runs with the whole machine, unless it is kept already or given.

    Each run would round it differently with a share of the machine of another size.
    """
    if config.teacher.path:
        return
    devices = local_devices(config.devices)
    check_divisible(devices, **{"teacher.batch_size": config.teacher.batch_size})
    baselines.real_images(config)  # or it would show after the teacher's training that they cannot be read
    images = describe_images(config, *shape_and_classes(config), {})
    with matmul_precision(config.matmul_precision):
        train_teacher(Context(config, devices, Clock(), interruption, folder), images)


def _one_by_one(waiting, on_end, counter, command, interruption):
    for run in waiting:
        print(f"== {run.name}: {counter.next()}", flush=True)
        try:
            with _named(run, seed=True):
                outcome = run_job(run.config, run.folder, command=command, interruption=interruption)
        except Diverged as error:
            outcome = error
        # Some forty runs' compiled programs are more memory maps than Linux gives to one process.
        jax.clear_caches()
        _tell_if_diverged(run, outcome)
        on_end([(run, outcome)])


def _tell_if_diverged(run, outcome):
    if isinstance(outcome, Diverged):
        print(f"{run.name} diverged: {outcome}", flush=True)


def _side_by_side(waiting, pieces, on_end, counter, command, interruption):
    waiting, free, running = list(waiting), list(pieces), {}
    # The others' epochs, which only the others know of.
    with stopped_at_the_end(running), epochs_under_way():
        while running or (waiting and not interruption):
            while waiting and free and not interruption:
                run, share = waiting.pop(0), free.pop(0)
                child = _start(run, share, command)
                print(f"== {run.name}: {counter.next()}; its output: {child.log}", flush=True)
                running[child] = run, share
            wait(running, _PATIENCE)
            if interruption:
                for child in running:
                    child.stop()
            for child in [child for child in running if child.ended()]:
                run, share = running.pop(child)
                free.append(share)
                _note_end(run, child, on_end)
    if interruption:
        raise Interrupted("all runs stopped; their progress is saved")


def _start(run, share, command):
    run.folder.mkdir(parents=True, exist_ok=True)
    return Child(run.name, _run, (run.config, run.folder, command), share=share, log=run.folder / LOG)


def _run(config, folder, command, *, interruption):
    return run_job(config, folder, command=command, interruption=interruption)


def _note_end(run, child, on_end):
    outcome = child.outcome()
    if isinstance(outcome, Interrupted):
        return
    if isinstance(outcome, UserError) and not isinstance(outcome, Diverged):
        raise UserError(f"{run.name}: {outcome}; its output: {child.log}")
    _tell_if_diverged(run, outcome)
    if isinstance(outcome, Summary):
        print(f"{run.name}: {outcome.in_one_line()}", flush=True)
    on_end([(run, outcome)])

"""The training loop: epochs, evaluation, checkpoints, interruption."""

import math
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssdkd_jax.errors import Diverged, UserError
from ssdkd_jax.methods.base import PIXELS_OUTSIDE, Method
from ssdkd_jax.training.checkpoints import Checkpoints, sha256
from ssdkd_jax.training.clock import Clock, training_seconds
from ssdkd_jax.training.compilation import CompileOnce, fits, jit_for_one_call
from ssdkd_jax.training.devices import gather, pmap, spread, spread_shapes
from ssdkd_jax.training.host_bank import HostBank
from ssdkd_jax.training.interruption import Interrupted, epochs_under_way
from ssdkd_jax.training.kept_programs import KeptPrograms
from ssdkd_jax.training.metrics_log import MetricsLog
from ssdkd_jax.training.multiprocess import anywhere, count
from ssdkd_jax.training.progress import Progress

# What makes an epoch's programs take less memory, where nothing more is known.
SMALLER = "choose smaller batches"


class Plan(NamedTuple):
    """Parameters of the training loop.

    epochs: how many.
    evaluate_every, checkpoint_every: in epochs; the last epoch is always evaluated and saved.
    seed: of everything random.
    experiment: what says whether a checkpoint is of the same run: a digest, or "" for any.
    score: (student's variables, state, teacher), all pmapped -> percent.
    score_name: "student_accuracy" or "student_agreement".
    of_student_alone: whether the score depends on the student alone, so that it is not taken again where it rests.
    smaller: what makes an epoch's programs take less memory, in words.
    kept: KeptPrograms, where the run's programs are found and kept, or None.
    """

    epochs: int
    evaluate_every: int
    checkpoint_every: int
    seed: int
    score: Callable
    score_name: str
    of_student_alone: bool = False
    experiment: str = ""
    smaller: str = SMALLER
    kept: KeptPrograms | None = None


class Result(NamedTuple):
    """What the loop returns.

    state: the final state on the host, as one device would hold it.
    score, best_score, best_epoch: percent, and when it was best.
    memory_bytes: of one device, the largest that the compiler plans for one of the epoch's programs; or None.
    concerns: what the method has found wrong, with the epoch, in words.
    """

    state: Any
    score: float
    best_score: float
    best_epoch: int
    memory_bytes: int | None
    concerns: list[str]


def distill(method: Method, teacher, plan: Plan, *, folder, devices, clock: Clock, interruption) -> Result:
    """Runs a method to its end, from its newest checkpoint if there is one.

    Args:
      method: Method.
      teacher: what the method is handed as the teacher, on the host; never changed.
      plan: Plan.
      folder: takes metrics.jsonl, tensorboard/, checkpoints/latest and checkpoints/best (the student alone).
      devices: list of devices.
      clock: Clock; takes over the checkpoint's seconds when a run resumes.
      interruption: becomes true when the work should be saved and stopped.

    Raises:
      Interrupted: on request, after saving.
      Diverged: a loss or a parameter is not finite; the last good checkpoint stays.
      UserError: an epoch's programs take more memory than a device has.
    """
    with clock.measure("setup"):
        run = _Run(method, teacher, plan, pathlib.Path(folder), devices, clock)
    first = run.info["epoch"]
    if first:
        print(f"resuming after epoch {first} of {plan.epochs}", flush=True)
    with run, Progress(f"{'/'.join(run.folder.absolute().parts[-2:])}: epoch", plan.epochs, first) as progress:
        run.finish_compiling()
        if anywhere(interruption) and first < plan.epochs:
            raise Interrupted(f"stopped before epoch {first + 1} of {plan.epochs}")
        with epochs_under_way():
            _run_epochs(run, method, plan, progress, interruption)
    info = run.info
    best = info["best_score"], info["best_epoch"]
    return Result(run.canonical(), info["score"], *best, run.memory_bytes(), info["concerns"])


def _run_epochs(run, method, plan, progress, interruption):
    for epoch in range(run.info["epoch"] + 1, plan.epochs + 1):
        metrics = run.epoch(epoch)
        progress.update(epoch, _headline(metrics, plan.score_name, run.info["score"]))
        if concern := method.concern(epoch - 1, metrics):
            run.info["concerns"].append(f"epoch {epoch}: {concern}")
            print(run.info["concerns"][-1], flush=True)
        last, stop = epoch == plan.epochs, anywhere(interruption)
        if last or stop or epoch % plan.checkpoint_every == 0:
            run.save()
        if stop and not last:
            raise Interrupted(f"stopped after epoch {epoch} of {plan.epochs}; progress saved")


class _Run:
    """A distillation under way: the pmapped state, and everything that follows it from epoch to epoch.

    info: what a checkpoint remembers next to the state: epoch, scores, concerns, the sha256 of the teacher and of
      the images that the method is given, the experiment; saved with the seconds and the log's sha256.
    """

    def __init__(self, method, teacher, plan, folder, devices, clock):
        self.method, self.plan, self.folder, self._clock = method, plan, folder, clock
        self._key = jax.random.key(plan.seed)
        first_state = (jax.random.fold_in(self._key, plan.epochs), teacher)
        first = jit_for_one_call(method.init)
        self._shapes = first.eval_shape(*first_state)
        self._sharded = method.sharded(self._shapes)
        # Of the latest two, so that a damaged one costs a few epochs only.
        self.latest = Checkpoints(folder / "checkpoints" / "latest", keep=2)
        self.best = Checkpoints(folder / "checkpoints" / "best")
        self.info = {"epoch": 0, "score": None, "best_score": -1.0, "best_epoch": 0, "concerns": []}
        given = teacher.get("given")
        variables = {name: part for name, part in teacher.items() if name != "given"}
        self.info |= {"teacher_sha256": sha256(variables), "experiment": plan.experiment}
        self.info |= {"given_sha256": sha256(given)} if given is not None else {}
        self._host_bank = HostBank(method, self._shapes, self._sharded, devices, clock) if method.window else None
        canonical = self._restore(folder)
        self._teacher = spread(teacher, devices)
        init = CompileOnce(first, clock, name="init", kept=plan.kept and plan.kept._replace(devices=devices[:1]))
        self._synthesize, self._train_student = epoch_programs(method, devices, clock, plan.smaller, plan.kept)
        if canonical is None:
            init.start(*first_state)
        # Of arrays that belong to several processes, shapes are not enough to compile for.
        early = self.info["epoch"] < plan.epochs and count() == 1
        self._compiling = self._start_compiling(devices) if early else []
        if canonical is None:
            canonical = self._with_whole_bank(init(*first_state))
        self._state = self._spread(canonical, devices)
        self._log = MetricsLog(folder, self.info["epoch"], self.info.pop("log_sha256", None))

    def _restore(self, folder):
        """The newest checkpoint's state, whose `info` becomes the run's, or None."""
        restored = self.latest.restore(self._with_whole_bank(self._shapes))
        if not restored:
            return None
        _check_same_run(restored[1], self.info, folder)
        canonical, self.info = restored[0], {**self.info, **restored[1]}
        self._clock.add_earlier(self.info.pop("seconds"))
        return canonical

    def _start_compiling(self, devices):
        """The epoch's programs, which begin to compile at the same time, rather than each when it is first needed."""
        state = spread_shapes(self._shapes, devices, self._sharded)
        synthesizes = any(map(self.method.synthesizes, range(self.info["epoch"], self.plan.epochs)))
        programs = [self._synthesize, self._train_student][0 if synthesizes else 1 :]
        for program in programs:
            program.start(state, self._teacher, self._key, np.int32(0))
        return programs

    def finish_compiling(self):
        """Waits for the programs that began to compile, so that one without room ends the run at once."""
        for program in self._compiling:
            program.finish()

    def _with_whole_bank(self, state):
        return self._host_bank.attach(state) if self._host_bank else state

    def epoch(self, epoch):
        """Runs the epoch of this number, counted from 1, and returns its metrics."""
        before = self._seconds_of_steps()
        if self._host_bank:
            self._state = self._host_bank.fill(self._state, np.random.default_rng((self.plan.seed, epoch)))
        metrics = self._rounds(epoch)
        _check_pixels(metrics.pop(PIXELS_OUTSIDE, 0.0), epoch, self.latest)
        _check_metrics(metrics, epoch, self.latest)
        if self._host_bank:
            self._host_bank.collect(self._state)
        self.info["epoch"] = epoch
        if epoch == self.plan.epochs or epoch % self.plan.evaluate_every == 0:
            if not self._score_still_holds(epoch):
                self._evaluate()
            metrics[self.plan.score_name] = self.info["score"]
            metrics["student_steps"] = sum(map(self.method.student_steps, range(epoch)))
        seconds = self._seconds_of_steps() - before
        metrics["images_per_second"] = self.method.images_processed(epoch - 1) / max(seconds, 1e-9)
        metrics["seconds"] = self._clock.total()
        metrics["training_seconds"] = training_seconds(self._clock.report())
        self._log.write(epoch, metrics)
        return metrics

    def _seconds_of_steps(self):
        return sum(self._clock.seconds.get(purpose, 0.0) for purpose in ("synthesis", "student"))

    def _rounds(self, epoch):
        """An epoch's syntheses and student steps: metrics averaged over the rounds, as floats."""
        key, found = jax.random.fold_in(self._key, epoch - 1), []
        for number in np.arange(self.method.rounds, dtype=np.int32):
            made = self._timed("synthesis", self._synthesize, key, number) if self.method.synthesizes(epoch - 1) else {}
            learned = self._timed("student", self._train_student, key, number)
            # A warm-up has no student step, so these are metrics of nothing.
            found.append({**made, **(learned if self.method.student_steps(epoch - 1) else {})})
        return {name: float(np.mean([metrics[name] for metrics in found])) for name in found[0]}

    def _timed(self, purpose, program, key, number):
        with self._clock.measure(purpose):
            self._state, metrics = program(self._state, self._teacher, key, number)
            here = jax.device_get({name: value.addressable_data(0) for name, value in metrics.items()})
            return {name: float(value[0]) for name, value in here.items()}

    def _score_still_holds(self, epoch):
        """Whether nothing that the last score depends on has changed since."""
        last = (epoch - 1) // self.plan.evaluate_every * self.plan.evaluate_every
        rests = not any(map(self.method.student_steps, range(last, epoch)))
        return last > 0 and self.plan.of_student_alone and rests

    def _evaluate(self):
        with self._clock.measure("evaluation"):
            score = self.plan.score(self._state.student.variables, self._state, self._teacher)
        self.info["score"] = score
        if score > self.info["best_score"]:
            self.info |= {"best_score": score, "best_epoch": self.info["epoch"]}
            # Without images and optimizers: nothing resumes from it, and each new best costs a transfer of all of it.
            self._save(self.best, lambda: gather(self._state.student.variables))

    def save(self):
        """Saves the state, unless something in it is not finite."""
        self._save(self.latest, self.canonical)

    def _save(self, checkpoints, on_host):
        with self._clock.measure("checkpoint"):
            host = on_host()
            _check_finite(host, self.info["epoch"], self.latest)
            now = {"seconds": self._clock.report(), "log_sha256": self._log.sha256()}
            checkpoints.save(self.info["epoch"], host, {**self.info, **now})

    def canonical(self):
        """The state as one device with room for all images would hold it, on the host."""
        if not self._host_bank:
            return gather(self._state, self._shapes, self._sharded)
        bare = map(self._host_bank.detach, (self._state, self._shapes, self._sharded))
        return self._host_bank.attach(gather(*bare))

    def _spread(self, canonical, devices):
        sharded = self._sharded
        if self._host_bank:
            self._host_bank.bank = self.method.buffer(canonical)
            canonical, sharded = map(self._host_bank.detach, (canonical, sharded))
        return spread(canonical, devices, sharded)

    def memory_bytes(self):
        """The larger of the two programs, or None where no compiler says."""
        programs = (self._synthesize, self._train_student)
        return max(filter(None, (program.memory_bytes() for program in programs)), default=None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with self._clock.measure("checkpoint"):
            self.latest.close()
            self.best.close()
        self._log.close()


def epoch_programs(method, devices, clock, smaller=SMALLER, kept=None):
    """An epoch's two programs, the synthesis and the student's training, as CompileOnce.

    Each is (pmapped state, pmapped teacher, key of the epoch, number of the round) -> (state, metrics); the state is
    donated.  Where one takes more memory than there is, its first call raises UserError; `smaller` says what to do.
    They are found and kept as `kept`, KeptPrograms or None, says.
    """

    def synthesize(state, teacher, key, number):
        return method.synthesize(state, teacher, method.round_keys(key, number)[0])

    def train_student(state, teacher, key, number):
        return method.train_student(state, teacher, method.round_keys(key, number)[1])

    def program(function, what):
        pmapped = pmap(function, devices, in_axes=(0, 0, None, None), donate_argnums=0)
        return CompileOnce(pmapped, clock, fits(devices, what, smaller), name=function.__name__, kept=kept)

    return program(synthesize, "a synthesis"), program(train_student, "the student's training")


def _check_same_run(restored, info, folder):
    # Checkpoints of earlier versions do not say.
    if restored.get("experiment", info["experiment"]) != info["experiment"]:
        raise UserError(
            f"the checkpoint in {folder} is of a run with other settings than {folder}/experiment.json says, such as "
            f"another seed; empty {folder}/checkpoints/latest to start from scratch, or choose another --workdir=DIR"
        )
    there, here = (of.get("given_sha256", "none") for of in (restored, info))
    if there != here:
        raise UserError(
            f"the checkpoint in {folder} was made with other given images (sha256 {there[:12]}) than those here "
            f"({here[:12]}); give the same images, or another --workdir=DIR"
        )
    there, here = restored["teacher_sha256"], info["teacher_sha256"]
    if there != here:
        raise UserError(
            f"the checkpoint in {folder} was made with another teacher (sha256 {there[:12]}) than the one here "
            f"({here[:12]}); give the same teacher, or another --workdir=DIR"
        )


def _check_pixels(outside, epoch, checkpoints):
    if outside:
        raise UserError(
            f"{outside:.1%} of the pixels that were made in epoch {epoch} are not numbers in [0, 1]: "
            f"stopped{_what_stays(checkpoints)}; return such images from make_images, for instance by jax.nn.sigmoid, "
            "and start from scratch in another workdir"
        )


def _check_metrics(metrics, epoch, checkpoints):
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise Diverged(
                f"{name} is {value} in epoch {epoch}: stopped{_what_stays(checkpoints)}; start from scratch in another "
                "workdir with a lower learning rate, or a lower weight of that term"
            )


def _what_stays(checkpoints):
    """The newest checkpoint in words, or "" where there is none."""
    step = checkpoints.latest_step()
    return "" if step is None else f"; the checkpoint of epoch {step} stays in {checkpoints.folder}"


def _check_finite(state, epoch, checkpoints):
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        # Integers are always finite, and a bank of them in host memory may have no room next to it as floats.
        if jnp.issubdtype(leaf.dtype, jnp.inexact) and not np.all(np.isfinite(np.asarray(leaf, np.float32))):
            raise Diverged(
                f"{jax.tree_util.keystr(path)} is not finite after epoch {epoch}: "
                f"stopped{_what_stays(checkpoints)}; start from scratch in another workdir with a lower learning rate"
            )


def _headline(metrics, score_name, score):
    losses = ("inversion_loss", "discriminator_loss", "student_loss")
    shown = {name: metrics[name] for name in losses if name in metrics} | {"images/s": metrics["images_per_second"]}
    return shown if score is None else {**shown, score_name.removeprefix("student_"): score}

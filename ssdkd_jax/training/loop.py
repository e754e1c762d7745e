"""The loop of a data-free distillation: epochs, evaluation, checkpoints, interruption."""

import math
import pathlib
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssdkd_jax.errors import Diverged, UserError
from ssdkd_jax.methods.base import Method, scanned_epoch, stepwise_epoch
from ssdkd_jax.training.checkpoints import Checkpoints, sha256
from ssdkd_jax.training.clock import Clock, CompileOnce, training_seconds
from ssdkd_jax.training.devices import gather, pmap, spread
from ssdkd_jax.training.host_bank import HostBank
from ssdkd_jax.training.interruption import Interrupted
from ssdkd_jax.training.progress import MetricsLog, Progress


class Plan(NamedTuple):
    """Everything the loop is told.

    epochs: how many.
    evaluate_every, checkpoint_every: in epochs; the last epoch is always evaluated and saved.
    seed: of everything random.
    loop: "scan", an epoch is one program, or "steps", single calls.
    score: (student variables, pmapped; state, pmapped) -> percent.
    score_name: "student_accuracy" or "student_agreement".
    images_per_epoch: (epoch) -> images that the student sees and that are made in it, for images/s.
    """

    epochs: int
    evaluate_every: int
    checkpoint_every: int
    seed: int
    loop: str
    score: Callable
    score_name: str
    images_per_epoch: Callable


class Result(NamedTuple):
    """What the loop gives back.

    state: the canonical final state on the host.
    score, best_score, best_epoch: percent, and when it was best.
    memory_bytes: of one device, the largest that the compiler plans for one of the epoch's programs; or None.
    """

    state: Any
    score: float
    best_score: float
    best_epoch: int
    memory_bytes: int | None


def distill(method: Method, teacher, plan: Plan, *, workdir, devices, clock: Clock, interruption):
    """Runs a method to its end, from its newest checkpoint if there is one.

    Args:
      method: Method.
      teacher: variables, on the host.
      plan: Plan.
      workdir: takes metrics.jsonl, tensorboard/, checkpoints/latest and checkpoints/best.
      devices: list of devices.
      clock: Clock; takes over the checkpoint's seconds when a run goes on.
      interruption: becomes true when the work should be saved and stopped.

    Returns:
      Result.

    Raises:
      Interrupted: on request, after saving.
      Diverged: a loss or a parameter is not finite; the last good checkpoint stays.
    """
    with clock.measure("setup"):
        run = _Run(method, teacher, plan, pathlib.Path(workdir), devices, clock)
    first = run.info["epoch"]
    if first:
        print(f"going on after epoch {first} of {plan.epochs}", flush=True)
    if interruption and first < plan.epochs:
        raise Interrupted(f"stopped before epoch {first + 1} of {plan.epochs}")
    with run, Progress(f"{'/'.join(run.workdir.parts[-2:])}: epoch", plan.epochs, first) as progress:
        for epoch in range(first + 1, plan.epochs + 1):
            metrics = run.epoch(epoch)
            progress.update(epoch, _headline(metrics, plan.score_name, run.info["score"]))
            last = epoch == plan.epochs
            if last or interruption or epoch % plan.checkpoint_every == 0:
                run.save(run.latest)
            if interruption and not last:
                raise Interrupted(f"stopped after epoch {epoch} of {plan.epochs}, everything is saved")
    info = run.info
    return Result(run.canonical(), info["score"], info["best_score"], info["best_epoch"], run.memory_bytes())


class _Run:
    """A distillation under way: the pmapped state, and everything that follows it from epoch to epoch.

    info: what a checkpoint remembers beside the state: epoch, scores, and how long syntheses took.
    """

    def __init__(self, method, teacher, plan, workdir, devices, clock):
        self.method, self.plan, self.workdir, self._clock = method, plan, workdir, clock
        self._key = jax.random.key(plan.seed)
        with clock.measure("compile"):
            canonical = jax.jit(method.init)(jax.random.fold_in(self._key, plan.epochs), teacher)
        self._sharded, self._shapes = method.sharded(canonical), jax.eval_shape(lambda: canonical)
        self.latest, self.best = (Checkpoints(workdir / "checkpoints" / name) for name in ("latest", "best"))
        self.info = {"epoch": 0, "score": None, "best_score": -1.0, "best_epoch": 0, "synthesis_seconds": []}
        self.info["teacher_sha256"] = sha256(teacher)
        self._host_bank = None
        if method.window:
            self._host_bank = HostBank(method, self._shapes, self._sharded, devices, clock)
            canonical = self._host_bank.attach(canonical)
        restored = self.latest.restore(canonical._replace(teacher={}))
        if restored:
            _check_same_teacher(restored[1], self.info, workdir)
            canonical, self.info = restored[0]._replace(teacher=teacher), restored[1]
            clock.add_earlier(self.info.pop("seconds"))
        self._state = self._spread(canonical, devices)
        run_epoch, self._programs = _compiled_epoch(method, plan.loop, devices, clock)
        self._timed = _TimedEpochs(run_epoch, method, clock, self.info["synthesis_seconds"])
        self._log = MetricsLog(workdir, self.info["epoch"])

    def epoch(self, epoch):
        """Runs the epoch of this number, counted from 1, and returns its metrics."""
        key = jax.random.fold_in(self._key, epoch - 1)
        if self._host_bank:
            self._state = self._host_bank.fill(self._state, np.random.default_rng((self.plan.seed, epoch)))
        self._state, metrics, seconds = self._timed.run(self._state, key, epoch - 1)
        _check_metrics(metrics, epoch, self.workdir)
        if self._host_bank:
            self._host_bank.collect(self._state)
        self.info["epoch"] = epoch
        if epoch == self.plan.epochs or epoch % self.plan.evaluate_every == 0:
            metrics[self.plan.score_name] = self._evaluate()
        metrics["images_per_second"] = self.plan.images_per_epoch(epoch - 1) / seconds
        metrics["seconds"] = self._clock.total()
        metrics["training_seconds"] = training_seconds(self._clock.report())
        self._log.write(epoch, metrics)
        return metrics

    def _evaluate(self):
        with self._clock.measure("evaluation"):
            score = self.plan.score(self.method.student(self._state).variables, self._state)
        self.info["score"] = score
        if score > self.info["best_score"]:
            self.info |= {"best_score": score, "best_epoch": self.info["epoch"]}
            self.save(self.best)
        return score

    def save(self, checkpoints):
        """Saves the state without the teacher, unless something in it is not finite."""
        with self._clock.measure("checkpoint"):
            host = self.canonical()._replace(teacher={})
            _check_finite(host, self.info["epoch"], self.workdir)
            checkpoints.save(self.info["epoch"], host, {**self.info, "seconds": self._clock.report()})

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
        """The largest of the epoch's programs, or None where no compiler says."""
        return max(filter(None, (program.memory_bytes() for program in self._programs)), default=None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with self._clock.measure("checkpoint"):
            self.latest.close()
            self.best.close()
        self._log.close()


def _check_same_teacher(restored, info, workdir):
    there, here = restored["teacher_sha256"], info["teacher_sha256"]
    if there != here:
        raise UserError(
            f"the checkpoint in {workdir} was made with another teacher (sha256 {there[:12]}) than the one here "
            f"({here[:12]}); give the same teacher, or another --workdir=DIR"
        )


def _compiled_epoch(method, loop, devices, clock):
    """((pmapped state, key, distillation steps) -> (state, metrics), its programs); the state is donated."""
    programs = []

    def compiled(function, in_axes):
        pmapped = pmap(function, devices, in_axes=in_axes, donate_argnums=0)
        programs.append(CompileOnce(pmapped, clock))
        return programs[-1]

    if loop == "steps":
        return stepwise_epoch(method, lambda function: compiled(function, (0, None))), programs
    return compiled(scanned_epoch(method), (0, None, None)), programs


class _TimedEpochs:
    """Runs epochs and tells synthesis from distillation on the clock.

    An epoch is one program, so the clock cannot look inside.  An epoch without student steps takes as long as its
    synthesis: that is what warm-up epochs are, and where there are too few, discarded calls on a copy are, whose time
    is no part of the training and goes under "probe".
    """

    def __init__(self, run_epoch, method, clock, synthesis_seconds):
        self._run_epoch, self._method, self._clock = run_epoch, method, clock
        self.synthesis_seconds = synthesis_seconds
        self._makes_images = method.synthesis.steps > 0

    def run(self, state, key, epoch):
        """(state, metrics as floats, seconds of the epoch)."""
        steps = self._method.distillation_steps(epoch)
        # Before the first epoch, since copying compiles.
        for _ in range(self._missing_samples(epoch)):
            *_, seconds = self._timed(jax.tree.map(jnp.copy, state), key, 0)
            self._clock.add("probe", seconds)
        state, metrics, seconds = self._timed(state, key, steps)
        synthesis = (
            min(seconds, statistics.median(self.synthesis_seconds[1:] or [seconds])) if self._makes_images else 0.0
        )
        self._clock.add("inversion", synthesis)
        self._clock.add("distillation", seconds - synthesis)
        if not steps:
            metrics = {name: value for name, value in metrics.items() if name not in self._method.distillation.metrics}
        return state, metrics, seconds

    def _missing_samples(self, epoch):
        """How many of two samples no warm-up epoch gives; the first pays for what happens once, so it alone is none."""
        if not self._makes_images:
            return 0
        coming = sum(not self._method.distillation_steps(epoch + i) for i in range(2))
        return max(0, 2 - len(self.synthesis_seconds) - coming)

    def _timed(self, state, key, steps):
        compiled_before = self._clock.seconds.get("compile", 0.0)
        start = time.perf_counter()
        state, metrics = self._run_epoch(state, key, np.int32(steps))
        metrics = {name: float(value[0]) for name, value in metrics.items()}
        seconds = time.perf_counter() - start - (self._clock.seconds.get("compile", 0.0) - compiled_before)
        if not steps:
            self.synthesis_seconds.append(seconds)
        return state, metrics, seconds


def _check_metrics(metrics, epoch, workdir):
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise Diverged(
                f"{name} is {value} in epoch {epoch}: stopped; the last checkpoint before stays in "
                f"{workdir}/checkpoints/latest; start anew in another workdir with a lower learning rate, "
                "or a lower weight of that term"
            )


def _check_finite(state, epoch, workdir):
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        # Integers are always finite, and a bank of them in host memory may have no room beside it as floats.
        if jnp.issubdtype(leaf.dtype, jnp.inexact) and not np.all(np.isfinite(np.asarray(leaf, np.float32))):
            raise Diverged(
                f"{jax.tree_util.keystr(path)} is not finite after epoch {epoch}: stopped; the last checkpoint before "
                f"stays in {workdir}/checkpoints/latest; start anew in another workdir with a lower learning rate"
            )


def _headline(metrics, score_name, score):
    names = {"inversion_loss": "inversion_loss", "student_loss": "student_loss", "images_per_second": "images/s"}
    shown = {short: metrics[name] for name, short in names.items() if name in metrics}
    return shown if score is None else {**shown, score_name.removeprefix("student_"): score}

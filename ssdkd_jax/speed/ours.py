"""Times a method's programs: those that a run compiles, called as its training loop calls them."""

import time

import jax
import jax.numpy as jnp
import numpy as np

from ssdkd_jax.jobs.networks import make_predictor_of
from ssdkd_jax.methods.ssdkd import SSDKD
from ssdkd_jax.speed import buffer, flops
from ssdkd_jax.speed.timing import measure, repeat, summary
from ssdkd_jax.speed.workload import keeps_views, other_views
from ssdkd_jax.training.clock import Clock
from ssdkd_jax.training.devices import spread
from ssdkd_jax.training.loop import epoch_programs

EVALUATED = 1000


class Epochs:
    """Epochs of a workload, one after the other.

    compile_seconds: {"synthesis", "student"} of the programs that were called; empty before.
    """

    def __init__(self, work):
        self.work, self.devices = work, work.context.devices
        self.clock, self.compile_seconds = Clock(), {}
        method = work.method
        self.teacher = spread(work.teacher, self.devices)
        self.state = spread(work.state, self.devices, method.sharded(work.state))
        synthesis, student = epoch_programs(method, self.devices, self.clock)
        self.programs = {"synthesis": synthesis, "student": student}
        self._number = 0

    def call(self, name, number=0):
        """Seconds of one call of a program, up to its metrics on the host, as in the training loop."""
        key = jax.random.fold_in(jax.random.key(0), self._number)
        before, start = self.clock.seconds.get("compile", 0.0), time.perf_counter()
        self.state, metrics = self.programs[name](self.state, self.teacher, key, np.int32(number))
        jax.device_get(metrics)
        seconds = time.perf_counter() - start
        compiling = self.clock.seconds.get("compile", 0.0) - before
        if compiling:
            self.compile_seconds[name] = compiling
        return seconds - compiling

    def epoch(self):
        """(seconds of the epoch, of its syntheses, of its student steps)."""
        start, parts = time.perf_counter(), {"synthesis": 0.0, "student": 0.0}
        self._number += 1
        for number in range(self.work.method.rounds):
            for name in parts:
                parts[name] += self.call(name, number)
        return time.perf_counter() - start, *parts.values()

    def memory_bytes(self):
        """{"planned for PROGRAM", "peak"}: bytes of one device, where the compiler or the device says."""
        planned = {f"planned for {name}": program.memory_bytes() for name, program in self.programs.items()}
        stats = self.devices[0].memory_stats() or {}
        known = {**planned, "peak": stats.get("peak_bytes_in_use")}
        return {name: size for name, size in known.items() if size is not None}


def epoch_figures(epochs, budget):
    """{figure: summary} of whole epochs and of what they consist of."""
    method = epochs.work.method
    whole, synthesis, student = zip(*repeat(epochs.epoch, budget), strict=True)
    steps = method.student_steps(method.epochs - 1)
    figures = {"epoch": summary(whole), "synthesis": summary(synthesis, method.rounds)}
    return {**figures, **_inversion_step(method, synthesis), _student_step(method): summary(student, steps)}


def _student_step(method):
    return "student step without teacher" if keeps_views(method) else "student step"


def _inversion_step(method, synthesis):
    """{figure: summary} of seconds of syntheses; {} where the teacher's pass over kept views is a part of them."""
    if keeps_views(method) or not hasattr(method, "inversion_steps"):
        return {}
    return {"inversion step": summary(synthesis, method.rounds * method.inversion_steps)}


def figures_with_other_views(work, budget):
    """{figure: summary} of the student step without the teacher, or with it where the work has it without; or {}.

    In the second case also of the synthesis without views, and so of an inversion step.
    """
    other = other_views(work)
    if other is None:
        return {}
    epochs, steps = Epochs(other), other.method.student_steps(other.method.epochs - 1)
    figures = {_student_step(other.method): summary(repeat(lambda: epochs.call("student"), budget), steps)}
    if keeps_views(work.method):
        seconds = repeat(lambda: sum(epochs.call("synthesis", i) for i in range(other.method.rounds)), budget)
        figures["synthesis without views"] = summary(seconds, other.method.rounds)
        figures |= _inversion_step(other.method, seconds)
    return figures


def buffer_figures(work, budget):
    """{figure: summary} of the buffer's operations, each as a program of its own; {} of methods other than SSD-KD."""
    if not isinstance(work.method, SSDKD):
        return {}
    # On one device, whatever the run's number of them.
    entries = jax.tree.map(jnp.asarray, work.method.buffer(work.state))
    times = buffer.buffer_times(work.method, entries, budget)
    return {f"buffer: {name}": time for name, time in times.items()}


def evaluation_figure(work, budget):
    """{figure: summary} of the student's classes for EVALUATED images on the host."""
    context, images = work.context, work.images
    predict, variables = make_predictor_of(context, context.config.student.name, images, work.state.student.variables)
    pixels = np.random.default_rng(0).integers(0, 256, (EVALUATED, *images.shape), np.uint8)
    return {f"evaluation of {EVALUATED:,} images": measure(lambda: predict(variables, pixels), budget)}


def arithmetic(work, epochs, budget):
    """(floating-point operations of each step on one device, the matrix product's summary)."""
    method, devices = work.method, epochs.devices
    count = {
        "inversion step": flops.inversion_step_flops(method, epochs.state, epochs.teacher, devices),
        _student_step(method): flops.student_step_flops(method, epochs.state, epochs.teacher, devices),
    }
    product = flops.matrix_product(devices[0], work.context.config.dtype, budget)
    return {name: number for name, number in count.items() if number}, product

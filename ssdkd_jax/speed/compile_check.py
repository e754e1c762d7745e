"""What an epoch costs on a TPU that is not there: a config's own programs, compiled ahead of time for a topology.

Nothing is run.  The operations and bytes are those of the compiled text (`speed.hlo`), on one device; the seconds are
what its chip needs at least for the arithmetic alone, and for the memory traffic alone.
"""

import datetime
import importlib.metadata

import jax
import jax.numpy as jnp

from ssdkd_jax.errors import UserError
from ssdkd_jax.files import write_at_once
from ssdkd_jax.jobs import config_checks, provenance
from ssdkd_jax.jobs.context import Context
from ssdkd_jax.jobs.image_spec import describe_images, shape_and_classes
from ssdkd_jax.jobs.network_checks import check_statistics, network_shapes
from ssdkd_jax.jobs.networks import make_method
from ssdkd_jax.jobs.plausibility import check_task
from ssdkd_jax.jobs.schedule import with_fitting_warmup
from ssdkd_jax.outputs import check_results_file
from ssdkd_jax.reports.results_files import read_result
from ssdkd_jax.speed import hlo
from ssdkd_jax.speed.tpus import chip_of, devices_of
from ssdkd_jax.speed.workload import check_makes_images
from ssdkd_jax.training.clock import Clock
from ssdkd_jax.training.compilation import matmul_precision, planned_bytes
from ssdkd_jax.training.devices import spread_shapes
from ssdkd_jax.training.loop import epoch_programs

KIND = "compile_check"
# Share of the matrix unit's tiles below which it is said that they are hardly filled, and of the memory that is left.
HARDLY_FILLED, ALMOST_FULL = 0.25, 0.9
# An effort of XLA's, from -1 to 1, with which it assigns nothing to the memory next to the arithmetic.  That takes most
# of a compilation.
QUICK = {"exec_time_optimization_effort": -0.7}


def compile_check(config, name: str, topologies, out: str = "", command: str = "", quick: bool = False) -> dict:
    """Compiles a config's programs for TPUs and says what they cost; the results file grows by one row a topology.

    Args:
      config: ConfigDict with the fields of configs/common.py; no data set is read.
      name: what the config is called in the results.
      topologies: such as ["v5e:2x4"].
      out: JSON file that keeps the rows of earlier calls and takes these; "" writes none.
      command: the command line, for the file.
      quick: compile with less effort, large networks several times faster; memory and bytes moved are upper bounds.

    Returns:
      what the file holds, or would hold.

    Raises:
      UserError: anything that the user can fix.
    """
    if out:
        out = check_results_file(out, KIND)
    config_checks.check_values(config)
    check_task(config)
    check_makes_images(config)
    config, _ = with_fitting_warmup(config)
    # All of them, before the first is compiled for.
    for find in (chip_of, devices_of):
        for topology in topologies:
            find(topology)
    content = _content(out, command)
    if quick:
        _check_replaces_no_better(content["rows"], [f"{name} {topology}" for topology in topologies], out)
    for topology in topologies:
        row = check_topology(config, topology, quick)
        content["rows"][f"{name} {topology}"] = {"config": name, "topology": topology, **row}
        for line in report(name, topology, row):
            print(line, flush=True)
        if out:
            write_at_once(out, content)
    return content


def _content(out, command):
    rows = read_result(out, "choose another file: --out=FILE.json")["rows"] if out and out.exists() else {}
    compiler = f"libtpu {importlib.metadata.version('libtpu')}" if _has_libtpu() else "no libtpu"
    return {
        "kind": KIND,
        "command": command,
        "hardware": f"compiled without a TPU, by {compiler}",
        "date": datetime.date.today().isoformat(),
        "versions": provenance.versions(),
        "rows": rows,
    }


def _check_replaces_no_better(rows, names, out):
    for name in names:
        if name in rows and not rows[name]["quick"]:
            raise UserError(
                f"{out} has {name} compiled with full effort, of which --quick knows upper bounds only; leave --quick "
                "out, or choose another file: --out=FILE.json"
            )


def _has_libtpu():
    try:
        return bool(importlib.metadata.version("libtpu"))
    except importlib.metadata.PackageNotFoundError:
        return False


def check_topology(config, topology: str, quick: bool = False) -> dict:
    """One row of the results: what an epoch costs one device of a topology; `quick` as of `compile_check`."""
    devices, chip = devices_of(topology), chip_of(topology)
    config_checks.check_batches(config, devices)
    with matmul_precision(config.matmul_precision):
        method, state, teacher = _shapes(config, devices)
        programs = dict(zip(("synthesis", "student"), epoch_programs(method, devices, Clock()), strict=True))
        found = {
            name: _figures(program, _steps(method, name), state, teacher, quick)
            for name, program in programs.items()
            if name == "student" or method.synthesizes(0)
        }
    together = {
        field: method.rounds * sum(one[field] for one in found.values())
        for field in ("flops", "padded_flops", "float32_flops", "bytes", "host_transfers")
    }
    return {
        "dtype": config.dtype,
        "devices": len(devices),
        "quick": quick,
        "programs": found,
        "memory_bytes": max(one["memory_bytes"] for one in found.values()),
        "chip_memory_bytes": chip.memory,
        **together,
        "collectives": _added([one["collectives"] for one in found.values()], method.rounds),
        "arithmetic_seconds": together["flops"] / chip.flops,
        "padded_arithmetic_seconds": together["padded_flops"] / chip.flops,
        "memory_seconds": together["bytes"] / chip.bandwidth,
        "retraces": [name for name, one in found.items() if one.pop("retraced")],
    }


def _shapes(config, devices):
    """(Method, its pmapped state, the pmapped teacher) as a run has them, the latter two as shapes."""
    context = Context(config, devices, Clock(), False, None)
    shape, class_names = shape_and_classes(config)
    images = describe_images(config, shape, class_names, {})
    method = make_method(context, config.teacher.name, images)
    teacher = network_shapes(context, config.teacher.name, images)
    check_statistics(method, config.method, config.teacher.name, teacher)
    state = jax.eval_shape(method.init, jax.random.key(0), teacher)
    everywhere = jax.tree.map(lambda _: False, teacher)
    return method, spread_shapes(state, devices, method.sharded(state)), spread_shapes(teacher, devices, everywhere)


def _steps(method, program):
    """Steps of a program's loop, whose number the compiled text does not say."""
    if program == "student":
        return method.student_steps(method.epochs - 1) // method.rounds
    return getattr(method, "inversion_steps", None) or getattr(method, "generator_steps", 1)


def _figures(program, steps, state, teacher, quick):
    """A program's costs on one device, as plain values."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    lowered = program.lower(state, teacher, key, jax.ShapeDtypeStruct((), jnp.int32))
    compiled = lowered.compile(QUICK if quick else None)
    text = compiled.as_text()
    found = hlo.figures(text, steps)
    after = jax.tree.map(lambda x: (x.shape, x.dtype), compiled.out_info[0])
    before = jax.tree.map(lambda x: (x.shape, x.dtype), state)
    return {**found._asdict(), "memory_bytes": planned_bytes(compiled), "retraced": after != before}


def _added(collectives, rounds):
    kinds = sorted({kind for one in collectives for kind in one})
    return {kind: [rounds * sum(one.get(kind, (0, 0))[i] for one in collectives) for i in (0, 1)] for kind in kinds}


def report(name: str, topology: str, row: dict) -> list[str]:
    """Lines about a row: its figures, and what runs badly there."""
    memory, chip = row["memory_bytes"], row["chip_memory_bytes"]
    collectives = ", ".join(
        f"{count:,.0f} {kind} of {size / 1e6:,.1f} MB" for kind, (count, size) in row["collectives"].items()
    )
    traffic, moved = f", {row['memory_seconds']:.3g} s of memory traffic", f"{row['bytes'] / 1e9:.3g} GB moved"
    if row["quick"]:
        traffic, moved = "", f"up to {moved}"
    lines = [
        f"{name} on {topology}, {row['devices']} devices, {row['dtype']}; of one device:",
        f"  memory {memory / 1e6:,.0f} MB of {chip / 1e6:,.0f} MB ({100 * memory / chip:.1f} %)",
        f"  an epoch: {row['flops'] / 1e12:.3g} TFLOP, {moved}, {collectives or 'alone'}",
        f"  at least {row['arithmetic_seconds']:.3g} s of arithmetic{traffic}",
    ]
    return lines + [f"  warning: {text}" for text in warnings(row)]


def warnings(row: dict) -> list[str]:
    """What runs badly on the chip."""
    found, filled = [], row["flops"] / max(row["padded_flops"], 1)
    if row["memory_bytes"] > ALMOST_FULL * row["chip_memory_bytes"]:
        found.append("the memory is full: smaller batches, or more devices")
    if row["dtype"] == "float32":
        share = 100 * row["float32_flops"] / max(row["flops"], 1)
        found.append(
            f"activations are float32 ({share:.0f} % of the products read them so): --config.dtype=bfloat16 moves half"
        )
    if filled < HARDLY_FILLED:
        found.append(
            f"channels padded to {hlo.TILE} fill {100 * filled:.1f} % of the matrix unit, which then needs up to "
            f"{row['padded_arithmetic_seconds']:.3g} s: wider networks would cost about the same"
        )
    if row["host_transfers"]:
        found.append(f"{row['host_transfers']:.0f} transfers to or from the host within an epoch")
    if row["retraces"]:
        found.append(f"{' and '.join(row['retraces'])} returns a state of other shapes: compiled again in every epoch")
    return found

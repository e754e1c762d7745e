"""How a method's cost grows: seconds and memory against buffer size, batch size, image size and number of devices.

One thing is changed at a time; everything else is as the config says.  Times are those of `speed.benchmark`; memory is
what XLA's compiler plans for the larger of an epoch's two programs, on one device.  Where the config keeps views, the
teacher's pass over them is a part of the synthesis, and there is no time of an inversion step.
"""

import copy

import jax

from ssdkd_jax.errors import UserError, did_you_mean
from ssdkd_jax.files import write_at_once
from ssdkd_jax.jobs import provenance
from ssdkd_jax.jobs.networks import method_settings
from ssdkd_jax.methods import section_of
from ssdkd_jax.outputs import check_results_file
from ssdkd_jax.reports.results_files import read_result
from ssdkd_jax.speed import ours
from ssdkd_jax.speed.timing import Budget
from ssdkd_jax.speed.workload import check_makes_images, make_workload
from ssdkd_jax.training.compilation import matmul_precision

KIND = "growth"
# What is changed -> its values.
VALUES = {
    "buffer size": (500, 5_000, 50_000, 500_000),
    "batch size": (8, 16, 32, 64, 128, 256),
    "image size": (8, 16, 32, 64, 112, 224),
    "devices": (1, 2, 4, 8),
}
_FIELDS = {
    "buffer size": ("{method}.buffer_size",),
    "batch size": ("{method}.synthesis_batch_size", "{method}.kd_batch_size"),
    "image size": ("image_size",),
    "devices": ("devices",),
}


def growth(config, out, *, budget: Budget, values: dict = VALUES, command: str = "") -> dict:
    """Times every point, and writes the results after each; points that the file has already are not timed again.

    Args:
      config: ConfigDict with the fields of configs/common.py; no data set is read, and weights are random.
      out: JSON file of the results.
      budget: of each figure.
      values: name of `VALUES` -> the values that it takes.
      command: the command line, for the file.

    Returns:
      what the file holds: "points" are {name: {value: point}}, and a point is {"milliseconds": {figure: summary},
      "compile_seconds", "memory_bytes"}, or {"refused"} with the reason, as where batches do not fit the devices.

    Raises:
      UserError: a field that the method does not have, a file that holds other results.
    """
    out = check_results_file(out, KIND)
    _check(config, values)
    content = _start(config, out, command)
    for name, of_name in values.items():
        points = content["points"].setdefault(name, {})
        for value in of_name:
            # What was refused may fit now, as on more devices.
            if "milliseconds" not in points.get(str(value), {}):
                points[str(value)] = _point(_changed(config, name, value), budget)
                write_at_once(out, content)
            print(f"{name} {value:,}: {_in_words(points[str(value)])}", flush=True)
    return content


def fields_of(config, name: str) -> list[str]:
    """Fields of the config that stand for a name of `VALUES`, such as "ssdkd.buffer_size"."""
    return [field.format(method=section_of(config.method)) for field in _FIELDS[name]]


def _check(config, values):
    check_makes_images(config)
    section = section_of(config.method)
    known = {*config, *(f"{section}.{name}" for name in method_settings(config, config.method))}
    for name in values:
        if name not in VALUES:
            raise UserError(f"--only has {name!r}, {did_you_mean(name, VALUES)}expected some of {', '.join(VALUES)}")
        missing = [field for field in fields_of(config, name) if field not in known]
        if missing:
            others = ",".join(other for other in VALUES if other != name)
            raise UserError(f"{config.method} has no {missing[0]}; leave that out: --only={others!r}")


def _changed(config, name, value):
    changed = copy.deepcopy(config)
    changed.update_from_flattened_dict(dict.fromkeys(fields_of(config, name), value))
    return changed


def _start(config, out, command):
    """What the file has, if it is of the same work on the same machine; else nothing but who measures."""
    content = {
        "kind": KIND,
        "command": command,
        **provenance.made_with(jax.local_devices()[:1]),
        "config": config.to_json_best_effort(sort_keys=True),
        **{name: config[name] for name in ("method", "dtype")},
        "teacher": config.teacher.name,
        "student": config.student.name,
        "points": {},
    }
    if not out.exists():
        return content
    before = read_result(out, "choose another file: --out=FILE.json")
    for name in ("config", "hardware", "versions"):
        if _beside_the_code(before.get(name)) != _beside_the_code(content[name]):
            raise UserError(
                f"{out} was measured with another {name}, and would be mixed; choose another file: --out=FILE.json"
            )
    codes = [*before["versions"].get("ssdkd_jax", "unknown").split("; "), content["versions"]["ssdkd_jax"]]
    versions = {**content["versions"], "ssdkd_jax": "; ".join(dict.fromkeys(codes))}
    return content | {"versions": versions, "points": before["points"]}


def _beside_the_code(entry):
    """Versions without this package's, whose commits mostly change no program that is timed."""
    return {name: value for name, value in entry.items() if name != "ssdkd_jax"} if isinstance(entry, dict) else entry


def _point(config, budget):
    try:
        work = make_workload(config)
    except UserError as error:
        return {"refused": str(error)}
    with matmul_precision(config.matmul_precision):
        epochs = ours.Epochs(work)
        times = ours.epoch_figures(epochs, budget) | ours.buffer_figures(work, budget)
    memory = epochs.memory_bytes()
    planned = [memory[name] for name in ("planned for synthesis", "planned for student") if name in memory]
    # Or the programs of all points add up.
    jax.clear_caches()
    return {
        "milliseconds": times,
        "compile_seconds": sum(epochs.compile_seconds.values()),
        "memory_bytes": max(planned, default=None),
    }


def _in_words(point):
    if "refused" in point:
        return f"left out, since {point['refused']}"
    times = ", ".join(f"{name} {found['median']:.4g} ms" for name, found in point["milliseconds"].items())
    return f"{times}, compiling {point['compile_seconds']:.1f} s"

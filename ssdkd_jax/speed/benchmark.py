"""How fast a method's programs are on this device, by themselves or side by side with PyTorch.

Times are medians and quartiles in milliseconds, of calls that wait for the device, after calls that do not count.
A step's time is that of the program that takes all steps of an epoch, over their number.  Memory is the largest that
the device had in use where it says so, and what XLA's compiler plans for each program; a GPU's compiler tries out
algorithms, which counts as use.  The floating-point operations of a step are counted as `speed.flops` says; their share
is that of what a matrix product in the same dtype does in the same run.
"""

import math
import os

from ssdkd_jax import settings
from ssdkd_jax.errors import UserError
from ssdkd_jax.files import write_at_once
from ssdkd_jax.jobs import provenance
from ssdkd_jax.outputs import check_measures_the_same, check_results_file
from ssdkd_jax.speed import ours, peer
from ssdkd_jax.speed.timing import Budget
from ssdkd_jax.speed.workload import Workload, make_workload
from ssdkd_jax.training.compilation import matmul_precision

KIND = "speed"
# Load average from which a machine is no place for timing on its CPU.
BUSY = 0.5
_SETTINGS = ("synthesis_batch_size", "inversion_steps", "kd_batch_size", "kd_steps", "buffer_size", "views")


def benchmark(config, out, *, budget: Budget, against: str = "", variants=(), command: str = "") -> dict:
    """Times everything, and writes the results after every figure, so that a run that is stopped leaves what it has.

    Args:
      config: ConfigDict with the fields of configs/common.py; no data set is read, and weights are random.
      out: JSON file of the results.
      budget: of each figure.
      against: "torch" times the same work in PyTorch on the same device, in a process of its own; "" does not.
      variants: names of `peer.VARIANTS`; () is those that fit the device.
      command: the command line, for the file.

    Returns:
      what the file holds.

    Raises:
      UserError: anything that the user can fix.
    """
    out = check_results_file(out, KIND)
    if not math.isfinite(budget.seconds):
        raise UserError(f"--seconds={budget.seconds}, expected a finite number of seconds")
    work = make_workload(config)
    spec = peer.make_spec(work, budget, variants) if against else None
    results = _Results(out, work, command)
    if work.context.devices[0].platform == "cpu":
        results.note("host", {"load_average": _load()})
    with matmul_precision(config.matmul_precision):
        _time_ours(work, budget, results)
    if spec:
        peer.run(spec, results.note_peer)
        results.note("ratios", results.content["ratios"])
    return results.content


def _load():
    """Processes that wanted a core in the last minute, on average: other work, which slows both sides unequally."""
    load = os.getloadavg()[0]
    if load > BUSY:
        print(
            f"other work keeps {load:.1f} cores busy: what is timed now, and ratios above all, means little", flush=True
        )
    return load


class _Results:
    """The file of the results as it grows."""

    def __init__(self, path, work: Workload, command):
        config, fields = work.context.config, settings.fields(type(work.method))
        about = {
            **{name: config[name] for name in ("method", "dtype", "matmul_precision")},
            "image_shape": work.images.shape,
            "teacher": config.teacher.name,
            "student": config.student.name,
            "settings": {name: getattr(work.method, name) for name in _SETTINGS if name in fields},
        }
        made_with = provenance.made_with(work.context.devices)
        check_measures_the_same(path, {"hardware": made_with["hardware"], **about})
        self._path, self.content = path, {"kind": KIND, "command": command, **made_with, **about}

    def note(self, section, values):
        """Adds {name: value} to a section, and prints them."""
        self.content.setdefault(section, {}).update(values)
        write_at_once(self._path, self.content)
        for name, value in values.items():
            print(f"{section.replace('_', ' ')}: {name}: {_in_words(value)}", flush=True)

    def note_peer(self, line):
        """Adds what `torch_peer` wrote."""
        if "refused" in line:
            raise UserError(line["refused"])
        if "about" in line:
            self.note("torch_settings", line["about"])
            return
        variant = self.content.setdefault("torch", {}).setdefault(line["variant"], {})
        if "figure" in line:
            variant.setdefault("milliseconds", {})[line["figure"]] = line["found"]
            content = self.content
            content["ratios"] = peer.ratios(content["milliseconds"], content["torch"], content["settings"])
            said = f"{line['figure']}: {_in_words(line['found'])}"
        else:
            found = {name: value for name, value in line.items() if name != "variant"}
            variant.update(found)
            said = ", ".join(f"{name} {value}" for name, value in found.items())
        write_at_once(self._path, self.content)
        print(f"torch {line['variant']}: {said}", flush=True)


def _in_words(value):
    if not isinstance(value, dict):
        return f"{value:,.4g}" if isinstance(value, float) else str(value)
    if "ratio" in value:
        return f"{value['ratio']:.2f} ({value['variant']}, {value['milliseconds']:.3f} ms)"
    lower, upper = value["quartiles"]
    return f"{value['median']:.3f} ms ({lower:.3f} to {upper:.3f}, {value['calls']} calls)"


def _time_ours(work, budget, results):
    """Everything of this project."""
    epochs = ours.Epochs(work)
    results.note("milliseconds", ours.epoch_figures(epochs, budget))
    results.note("compile_seconds", epochs.compile_seconds)
    results.note("memory_bytes", epochs.memory_bytes())
    results.note("milliseconds", ours.evaluation_figure(work, budget))
    results.note("milliseconds", ours.buffer_figures(work, budget))
    results.note("milliseconds", ours.figures_with_other_views(work, budget))
    flops, product = ours.arithmetic(work, epochs, budget)
    results.note("milliseconds", {"matrix product": product})
    results.note("flops", flops)
    per_second = {name: 1000 * flops[name] / results.content["milliseconds"][name]["median"] for name in flops}
    shares = {name: value / product["flops_per_second"] for name, value in per_second.items()}
    results.note("share_of_matrix_product", shares)

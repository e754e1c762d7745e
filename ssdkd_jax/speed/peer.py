"""PyTorch's side of the benchmark, seen from here: what it is told, how it is run, and how the two compare."""

import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import ssdkd_jax
from ssdkd_jax.errors import UserError, did_you_mean
from ssdkd_jax.jobs.provenance import usable_cores
from ssdkd_jax.methods import section_of
from ssdkd_jax.methods.ssdkd import SSDKD
from ssdkd_jax.methods.ssdkd_settings import PAPER
from ssdkd_jax.models import model_names
from ssdkd_jax.speed import flops, ours

# Of torch_peer.VARIANTS, which cannot be imported without torch: those timed on a CPU unless others are named, and all.
ON_CPU = ("eager", "eager_channels_last")
VARIANTS = (*ON_CPU, "compile", "compile_reduce_overhead")
# The networks of torch_networks.
_NETWORKS = re.compile(
    r"wrn\d+_\d+|resnet(18|34)|resnet(8|14|20|32|44|56|110)(_option_a)?|resnet(8|32)x4|(strided_)?convnet_\d+"
)
# Settings of the method that the other side needs.
_SETTINGS = (
    *("synthesis_batch_size", "inversion_steps", "generator_learning_rate", "latent_learning_rate", "bn", "oh", "adv"),
    *("bn_momentum", "augment_inversion", "gamma", "buffer_size", "buffer_dtype", "alpha", "priority_epsilon"),
    *("kd_steps", "kd_batch_size", "temperature", "student_learning_rate", "student_momentum", "student_weight_decay"),
)

# Further ones that change the work, of which the other side has only what the paper's preset says.
_OF_THE_PAPER = (
    *("synthesis", "meta_update", "modulated_term", "phi_scale", "gradient_through_phi", "modulate_student"),
    *("use_diversity", "use_difficulty", "adv_masked", "replacement"),
)
_FIXED = {name: PAPER[name] for name in _OF_THE_PAPER} | {"renewed_views": 0}


def is_there(network: str) -> bool:
    """Whether PyTorch's side has the network of this name."""
    return bool(_NETWORKS.fullmatch(network))


def make_spec(work, budget, variants=()) -> dict:
    """The work as plain values, for `torch_peer`.

    Args:
      work: Workload.
      budget: Budget of each figure.
      variants: names of VARIANTS; () is those that fit the device.

    Raises:
      UserError: torch is not installed, a network, method, device or variant that the other side does not have.
    """
    config, method, device = work.context.config, work.method, work.context.devices[0]
    if importlib.util.find_spec("torch") is None:
        raise UserError("--against=torch needs PyTorch; install it: pip install torch")
    if not isinstance(method, SSDKD):
        raise UserError(f"method is {config.method}, but --against=torch compares ssdkd: --config.method=ssdkd")
    for name, value in _FIXED.items():
        if getattr(method, name) != value:
            raise UserError(
                f"--against=torch compares ssdkd with {name}={value}, and the config has {getattr(method, name)}: "
                f"--config.{section_of(config.method)}.{name}={value}"
            )
    if len(work.context.devices) > 1 and device.platform != "cpu":
        raise UserError(
            f"--against=torch compares on one device, but there are {len(work.context.devices)}: --config.devices=1"
        )
    if device.platform not in ("cpu", "gpu", "cuda"):
        raise UserError(f"--against=torch compares on CPUs and NVIDIA GPUs, but the device is {device.device_kind}")
    for field in ("teacher", "student"):
        if not is_there(config[field].name):
            known = ", ".join(filter(is_there, model_names()))
            raise UserError(
                f"--against=torch has no {config[field].name}, expected one of {known}: --config.{field}.name=NAME"
            )
    unknown = [name for name in variants if name not in VARIANTS]
    if unknown:
        meant = did_you_mean(unknown[0], VARIANTS)
        raise UserError(f"--variants has {unknown[0]!r}, {meant}expected some of {','.join(VARIANTS)}")
    on_cpu = device.platform == "cpu"
    return {
        **{name: getattr(method, name) for name in _SETTINGS},
        "beta": method.beta_start,
        "views": method.views_kept,
        **{name: config[name] for name in ("dtype", "matmul_precision", "evaluation_batch_size")},
        **{name: getattr(method.problem, name) for name in ("mean", "std", "crop_padding", "flip")},
        "teacher": config.teacher.name,
        "student": config.student.name,
        "classes": method.problem.num_classes,
        "image_shape": work.images.shape,
        "latent_size": method.problem.generator.latent_size,
        "generator_features": method.problem.generator.features,
        "device": "cpu" if on_cpu else "cuda",
        "threads": len(usable_cores()),
        "variants": list(variants or (ON_CPU if on_cpu else VARIANTS)),
        "repeats": budget.repeats,
        "seconds": budget.seconds,
        "evaluated": ours.EVALUATED,
        "rows": flops.ROWS.get(device.platform, flops.ROWS_ON_ACCELERATORS),
    }


def run(spec: dict, note) -> None:
    """Runs `torch_peer` and hands each line that it writes to `note`, as a dict, as soon as it comes.

    Raises:
      UserError: it has no GPU, or ended in an error.
    """
    root = str(pathlib.Path(ssdkd_jax.__file__).parent.parent)
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "ssdkd_jax.speed.torch_peer"]
    with tempfile.TemporaryFile("w+") as work, tempfile.TemporaryFile("w+") as errors:
        json.dump(spec, work)
        work.seek(0)
        pipes = {"stdin": work, "stdout": subprocess.PIPE, "stderr": errors, "text": True}
        with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path}, **pipes) as process:
            try:
                for line in process.stdout:
                    note(json.loads(line))
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            errors.seek(0)
            last = (errors.read().strip().splitlines() or ["no message"])[-1]
            raise UserError(f"PyTorch's side ended with status {process.returncode}: {last}; see pip install torch")


def ratios(milliseconds: dict, variants: dict, settings: dict) -> dict:
    """How many times longer PyTorch's fastest variant takes: {figure: {"variant", "milliseconds", "ratio"}}.

    PyTorch's epoch is its fastest synthesis and `kd_steps` of its fastest student steps; its inversion step is its
    fastest synthesis without kept views over the number of steps.

    Args:
      milliseconds: {figure: summary} of this project.
      variants: {variant: {"milliseconds": {figure: summary}}} of PyTorch.
      settings: the method's "inversion_steps", "kd_steps" and "views".
    """
    best, steps = {}, settings["inversion_steps"]
    for name, variant in variants.items():
        for figure, found in variant.get("milliseconds", {}).items():
            if figure not in best or found["median"] < best[figure][0]:
                best[figure] = (found["median"], name)
    step = "student step without teacher" if settings["views"] else "student step"
    if (synthesis := "synthesis without views" if settings["views"] else "synthesis") in best:
        best["inversion step"] = (best[synthesis][0] / steps, best[synthesis][1])
    if {"synthesis", step} <= best.keys():
        whole = best["synthesis"][0] + settings["kd_steps"] * best[step][0]
        best["epoch"] = (whole, " + ".join(dict.fromkeys((best["synthesis"][1], best[step][1]))))
    return {
        figure: {"variant": name, "milliseconds": time, "ratio": time / milliseconds[figure]["median"]}
        for figure, (time, name) in best.items()
        if figure in milliseconds
    }

"""PyTorch's side of the benchmark: a process of its own, so that JAX and PyTorch never share a device's memory pool.

It reads the work as JSON from its standard input and writes a line of JSON for every figure: `python -m
ssdkd_jax.speed.torch_peer < spec.json`, see `peer`.  Needs torch and not JAX.
"""

import gc
import json
import sys
import types
import warnings

import torch

from ssdkd_jax.speed.timing import Budget, measure
from ssdkd_jax.speed.torch_work import Work

# name -> (channels_last, torch.compile's mode or "").
VARIANTS = {
    "eager": (False, ""),
    "eager_channels_last": (True, ""),
    "compile": (True, "default"),
    "compile_reduce_overhead": (True, "reduce-overhead"),
}
# Student steps between two synchronizations on a GPU, which a run has every epoch only.
STEPS_PER_CALL = 20
# Calls that do not count: CUDA graphs are recorded in the second and replayed from the third on.
WARMUPS = {"cpu": 1, "cuda": 3}


def say(**line):
    """A line for the other process."""
    print(json.dumps(line), flush=True)


def main():
    """Times every variant that the work names; one that fails says why, and the next one goes on."""
    warnings.filterwarnings("ignore")
    spec = types.SimpleNamespace(**json.load(sys.stdin))
    if spec.device == "cuda" and not torch.cuda.is_available():
        say(
            refused=f"PyTorch {torch.__version__} sees no GPU, but JAX uses one; install a PyTorch for it, or compare "
            "on the CPU: JAX_PLATFORMS=cpu"
        )
        return
    device = torch.device(spec.device)
    if spec.device == "cpu":
        torch.set_num_threads(spec.threads)
    say(about=_set_precision(spec, device))
    for name in spec.variants:
        try:
            _time_variant(name, spec, device)
        except Exception as error:  # a compiler that is missing, memory that is too small, ...
            say(variant=name, error=" ".join(f"{type(error).__name__}: {error}".split())[:300])
        gc.collect()
        if spec.device == "cuda":
            torch.cuda.empty_cache()


def _set_precision(spec, device):
    """As PyTorch comes, unless the other side computes in full float32; returns what holds."""
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
    if spec.matmul_precision == "highest":
        torch.backends.cudnn.allow_tf32 = False
    about = {
        "torch": torch.__version__,
        "dtype": spec.dtype,
        "float32 matrix products": torch.get_float32_matmul_precision(),
    }
    if device.type == "cuda":
        about |= {"device": torch.cuda.get_device_name(), "TF32 convolutions": torch.backends.cudnn.allow_tf32}
    else:
        about |= {"threads": torch.get_num_threads()}
    return about


def _time_variant(name, spec, device):
    channels_last, mode = VARIANTS[name]
    if mode:
        torch._dynamo.reset()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    work = Work(spec, device, channels_last=channels_last, compiled=mode)
    for figure, (call, units) in _calls(work, spec, device, mode).items():
        found = measure(call, Budget(spec.repeats, spec.seconds), units=units, warmups=WARMUPS[device.type])
        say(variant=name, figure=figure, found=found)
    if device.type == "cuda":
        say(variant=name, peak_bytes=torch.cuda.max_memory_allocated())


def _calls(work, spec, device, mode):
    """{figure: (call that waits for the device, units of work in it)}; those that the mode changes."""
    steps = 1 if device.type == "cpu" else min(STEPS_PER_CALL, spec.kd_steps)

    def waiting(call, times=1):
        def run():
            for _ in range(times):
                call()
            if device.type == "cuda":
                torch.cuda.synchronize()

        return run, times

    found = {
        "student step": waiting(work.student_step, steps),
        "student step without teacher": waiting(lambda: work.student_step(run_teacher=False), steps),
    }
    if mode != "reduce-overhead":
        found["synthesis"] = waiting(work.synthesize)
        if spec.views:
            found["synthesis without views"] = waiting(lambda: work.synthesize(keep_views=False))
    if not mode:
        found |= {name: waiting(call) for name, call in _eager_calls(work, spec, device).items()}
    return found


def _eager_calls(work, spec, device):
    buffer, shape = work.buffer, (spec.image_shape[2], *spec.image_shape[:2])
    indices, weights = buffer.sample()
    images = torch.rand(spec.synthesis_batch_size, *shape, device=device)
    predicted = torch.zeros(len(images), dtype=torch.int64, device=device)
    pixels = torch.randint(256, (spec.evaluated, *shape), dtype=torch.uint8)
    dtype = getattr(torch, spec.dtype)
    left, right = (torch.randn(spec.rows, spec.rows, dtype=dtype, device=device) for _ in range(2))
    return {
        f"evaluation of {spec.evaluated:,} images": lambda: work.evaluate(pixels),
        "buffer: insert": lambda: buffer.insert(images, predicted, torch.zeros(len(images), device=device)),
        "buffer: sample": buffer.sample,
        "buffer: read": lambda: buffer.decode(buffer.images[indices]),
        "buffer: update_priorities": lambda: buffer.update_priorities(indices, weights),
        "matrix product": lambda: left @ right,
    }


if __name__ == "__main__":
    main()

"""What single convolutions cost on a CPU: ours and XLA's own inside a loop, as steps run, and PyTorch's.

    python -m tests.conv_times --out=results/conv_times.json

Both sides have one core with one thread.  PyTorch's times are left out where it is not installed.
"""

import argparse
import os
import pathlib
from typing import NamedTuple

import jax
from jax import lax

from ssdkd_jax.models import loop_friendly_conv_general_dilated
from ssdkd_jax.speed.timing import Budget, measure
from tests import facts_file

# Convolutions in a loop; those of a loop of one would be outside of any.
STEPS = 2


class Layer(NamedTuple):
    """A 3x3 convolution of square images, padded by 1."""

    size: int
    inputs: int
    outputs: int
    stride: int = 1
    groups: int = 1


# Of the CIFAR ResNets and WRN-16-1, the last of the generator, and of MobileNetV2.
LAYERS = (
    Layer(32, 3, 16),
    Layer(32, 16, 16),
    Layer(32, 16, 32, stride=2),
    Layer(16, 32, 32),
    Layer(16, 32, 64, stride=2),
    Layer(8, 64, 64),
    Layer(32, 64, 3),
    Layer(16, 96, 96, groups=96),
)


def arrays(layer, batch):
    """(images, kernel, the output's gradient), NHWC and HWIO, each for STEPS convolutions."""
    keys, across = jax.random.split(jax.random.key(0), 3), layer.size // layer.stride
    return (
        jax.random.normal(keys[0], (STEPS, batch, layer.size, layer.size, layer.inputs)),
        jax.random.normal(keys[1], (STEPS, 3, 3, layer.inputs // layer.groups, layer.outputs)),
        jax.random.normal(keys[2], (STEPS, batch, across, across, layer.outputs)),
    )


def in_loops(convolution, layer, batch):
    """Calls of {"forward", "gradients"}, each of STEPS convolutions in a loop, which return all that they compute."""
    options = {"dimension_numbers": ("NHWC", "HWIO", "NHWC"), "feature_group_count": layer.groups}

    def values(images, kernel):
        return convolution(images, kernel, (layer.stride,) * 2, [(1, 1), (1, 1)], **options)

    def loop(work):
        program, given = jax.jit(lambda *given: lax.map(lambda step: work(*step), given)), arrays(layer, batch)
        return lambda: jax.block_until_ready(program(*given))

    return {
        "forward": loop(lambda images, kernel, gradient: values(images, kernel)),
        "gradients": loop(lambda images, kernel, gradient: jax.vjp(values, images, kernel)[1](gradient)),
    }


def in_pytorch(layer, batch):
    """The same calls in PyTorch, whose format is channels_last, or {} without it."""
    try:
        import torch
    except ImportError:
        return {}

    def values(images, kernel):
        return torch.nn.functional.conv2d(images, kernel, stride=layer.stride, padding=1, groups=layer.groups)

    steps = []
    for images, kernel, gradient in zip(*(torch.tensor(jax.device_get(x)) for x in arrays(layer, batch)), strict=True):
        images, gradient = (x.permute(0, 3, 1, 2) for x in (images, gradient))
        kernel = kernel.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
        inputs = images.requires_grad_(), kernel.requires_grad_()
        steps.append((inputs, values(*inputs), gradient))

    def forward():
        with torch.no_grad():
            return [values(*inputs) for inputs, _, _ in steps]

    def gradients():
        return [torch.autograd.grad(found, inputs, gradient, retain_graph=True) for inputs, found, gradient in steps]

    return {"forward": forward, "gradients": gradients}


def in_words(layer, batch, budget):
    """The milliseconds of one convolution: forward and both gradients, ours and in brackets the others'."""
    sides = {
        "": in_loops(loop_friendly_conv_general_dilated, layer, batch),
        "XLA's own ": in_loops(lax.conv_general_dilated, layer, batch),
        "PyTorch ": in_pytorch(layer, batch),
    }
    found = []
    for what in ("forward", "gradients"):
        times = {side: measure(calls[what], budget, units=STEPS)["median"] for side, calls in sides.items() if calls}
        ours, *others = (f"{side}{time:,.2f}" for side, time in times.items())
        found.append(f"{what} {ours} ms ({', '.join(others)})")
    return "; ".join(found)


def name_of(layer):
    """The layer in words."""
    kind = "depthwise" if layer.groups > 1 else f"to {layer.outputs} channels"
    return f"{layer.size}x{layer.size} pixels, {layer.inputs} channels, {kind}" + (", stride 2" * (layer.stride == 2))


def main():
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=1.0, help="after which no more calls of a figure begin")
    parser.add_argument("--out", type=pathlib.Path, help="JSON file for what was found")
    options = parser.parse_args()
    out = facts_file.check(options.out)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])  # before JAX and PyTorch count the cores
    facts = {}
    for layer in LAYERS:
        facts[name_of(layer)] = in_words(layer, options.batch, Budget(100, options.seconds))
        print(f"{name_of(layer)}: {facts[name_of(layer)]}", flush=True)
    if out:
        facts_file.write(out, "tests.conv_times", facts)


if __name__ == "__main__":
    main()

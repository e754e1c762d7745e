"""How much arithmetic a step takes, and how much of it a device can do.

Floating-point operations are counted by XLA's cost analysis of one step's gradient, lowered but not compiled and
outside of any loop: of a loop the analysis counts the body once, and of a compiled program on a GPU it does not see
into the library calls that convolutions become.  A multiplication and an addition count as two; of convolutions only
the products with pixels that are there, not those with the padding.

Counted are XLA's own convolutions, also on a CPU, where those of `models.convolution` run: their wide kernels are full
of zeros, and a loop adds up their gradients.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssdkd_jax.methods.base import Problem, generate
from ssdkd_jax.methods.generator_sources import MetaGenerator
from ssdkd_jax.models.layers import Layers
from ssdkd_jax.speed.timing import measure
from ssdkd_jax.speed.workload import keeps_views
from ssdkd_jax.training.devices import pmap

# Rows of the matrices of the matrix product that a device's arithmetic is measured by.
ROWS = {"cpu": 2048}
ROWS_ON_ACCELERATORS = 8192


def student_step_flops(method, state, teacher, devices) -> float | None:
    """Of one student step on a batch that is drawn, cropped and normalized already; on one device.

    Args:
      method: Method; with kept views the teacher is not run.
      state, teacher: pmapped.
      devices: list of devices.
    """
    method = _with_plain_convolutions(method)
    problem, batch = method.problem, method.kd_batch_size

    def step(state, teacher, _):
        images, weights = jnp.zeros((batch // len(devices), *problem.image_shape)), jnp.ones(batch)
        if keeps_views(method):
            output = jnp.zeros((len(images), problem.num_classes))
            return method.student_step_given(state.student, images, weights, output)
        return method.student_step(state.student, teacher, images, weights)

    return _flops(step, devices, state, teacher)


def inversion_step_flops(method, state, teacher, devices) -> float | None:
    """Of one optimization step of a synthesis, up to the optimizers; None without FastDFKD's meta generator."""
    if not isinstance(getattr(method, "source", None), MetaGenerator):
        return None
    method = _with_plain_convolutions(method)
    problem = method.problem

    def gradient(state, teacher, key):
        latents = jnp.zeros((method.synthesis_batch_size // len(devices), problem.generator.latent_size))
        targets = jnp.zeros(len(latents), jnp.int32)
        generator = state.synthesis.generator

        def loss(params, latents):
            images, _ = generate(problem.generator, {**generator, "params": params}, latents)
            return method.inversion_loss(state, teacher, images, targets, key)[0]

        return jax.grad(loss, (0, 1))(generator["params"], latents)

    return _flops(gradient, devices, state, teacher)


def _with_plain_convolutions(method):
    problem = method.problem._asdict()
    return dataclasses.replace(method, problem=Problem(**{name: _plain(value) for name, value in problem.items()}))


def _plain(value):
    """A network with XLA's own convolutions in all that it is made of; anything else as it is."""
    if isinstance(value, Layers):
        return dataclasses.replace(value, conv_general_dilated=None)
    if not isinstance(value, nn.Module):
        return value
    parts = (field.name for field in dataclasses.fields(value) if field.name not in ("parent", "name"))
    return value.clone(**{name: _plain(getattr(value, name)) for name in parts})


def _flops(function, devices, state, teacher):
    lowered = pmap(function, devices, in_axes=(0, 0, None)).lower(state, teacher, jax.random.key(0))
    try:
        return (lowered.cost_analysis() or {}).get("flops")
    except (NotImplementedError, RuntimeError):  # a backend that does not count
        return None


def matrix_product(device, dtype, budget) -> dict:
    """Times the product of two square matrices: a `timing.summary`, with "rows" and "flops_per_second"."""
    rows = ROWS.get(device.platform, ROWS_ON_ACCELERATORS)
    keys = jax.random.split(jax.random.key(0))
    left, right = (jax.device_put(jax.random.normal(key, (rows, rows), dtype), device) for key in keys)
    product = jax.jit(jnp.matmul)
    found = measure(lambda: jax.block_until_ready(product(left, right)), budget)
    return {**found, "rows": rows, "flops_per_second": 2 * rows**3 / (found["median"] / 1000)}

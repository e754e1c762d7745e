"""Student KD: against PyTorch's SGD, BatchNorm in training mode, and eight devices against one."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from ssdkd_jax import distillation, losses, train_state
from ssdkd_jax.training import devices

RNG = np.random.default_rng(0)
X = RNG.standard_normal((8, 5)).astype(np.float32)
TEACHER = 3 * RNG.standard_normal((8, 4)).astype(np.float32)
WEIGHTS = RNG.uniform(0.1, 1, 8).astype(np.float32)
KERNEL = RNG.standard_normal((5, 4)).astype(np.float32)


def linear(variables, x):
    return x @ variables["params"]["kernel"] + variables["params"]["bias"], {}


@pytest.mark.parametrize("nesterov", [False, True])
def test_steps_equal_pytorch_sgd(nesterov):
    """Weight decay, momentum over three steps, importance weights, T^2 KL, a falling learning rate."""
    temperature, settings = 4.0, {"momentum": 0.9, "weight_decay": 0.1, "nesterov": nesterov}
    rates = [0.2, 0.1, 0.05]
    optimizer = train_state.sgd(lambda step: jnp.array(rates)[step], **settings)
    state = train_state.init_train_state({"params": {"kernel": KERNEL, "bias": jnp.zeros(4)}}, optimizer)
    step = functools.partial(
        distillation.distill_step,
        apply_student=linear,
        kl=losses.kl_divergence,
        temperature=temperature,
        optimizer=optimizer,
    )

    theirs = torch.nn.Linear(5, 4)
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor(KERNEL.T))
        theirs.bias.zero_()
    their_optimizer = torch.optim.SGD(theirs.parameters(), lr=1.0, **settings)
    x, t, w = torch.tensor(X), torch.tensor(TEACHER), torch.tensor(WEIGHTS)

    def their_kl(s, temperature):
        kl = torch.nn.functional.kl_div(
            (s / temperature).log_softmax(1), (t / temperature).softmax(1), reduction="none"
        )
        return temperature**2 * kl.sum(1)

    for rate in rates:
        their_optimizer.param_groups[0]["lr"] = rate
        output = theirs(x)
        their_loss = (w * their_kl(output, temperature)).mean()
        their_optimizer.zero_grad()
        their_loss.backward()
        their_optimizer.step()

        state, loss, divergence = step(state, X, WEIGHTS, TEACHER)
        assert_allclose(loss, their_loss.item(), rtol=1e-5)
        assert_allclose(divergence, their_kl(output, 1.0).detach().numpy(), rtol=1e-4)
        assert_allclose(state.params["kernel"], theirs.weight.detach().numpy().T, rtol=1e-4, atol=1e-6)
        assert_allclose(state.params["bias"], theirs.bias.detach().numpy(), rtol=1e-4, atol=1e-6)


class Normalized(nn.Module):
    """A linear layer, BatchNorm and a linear layer."""

    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Dense(6, name="first")(x)
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9, axis_name=self.axis_name, name="bn")(x)
        return nn.Dense(4, name="last")(x)

    def training(self, variables, x):
        output, updated = self.apply(variables, x, train=True, mutable=["batch_stats"])
        return output, updated["batch_stats"]


VARIABLES = Normalized().init(jax.random.key(0), X)
OPTIMIZER = train_state.sgd(0.5, weight_decay=1e-2)


def distill(axis_name, state, x, weights, teacher):
    return distillation.distill_step(
        state, x, weights, teacher,
        apply_student=Normalized(axis_name).training, kl=losses.kl_divergence, temperature=20.0,
        optimizer=OPTIMIZER, axis_name=axis_name,
    )  # fmt: skip


def test_batch_norm_is_in_training_mode():
    state = train_state.init_train_state(VARIABLES, OPTIMIZER)
    new_state, _, divergence = distill(None, state, X, WEIGHTS, TEACHER)
    hidden = X @ VARIABLES["params"]["first"]["kernel"]
    assert_allclose(new_state.batch_stats["bn"]["mean"], 0.1 * hidden.mean(0), rtol=1e-4, atol=1e-6)
    assert_allclose(new_state.batch_stats["bn"]["var"], 0.9 + 0.1 * hidden.var(0), rtol=1e-4)
    # The output too is made with the batch's statistics.
    output, _ = Normalized().training(VARIABLES, X)
    assert_allclose(divergence, losses.kl_divergence(TEACHER, output), rtol=1e-5)


def test_eight_devices_are_one():
    """One image a device, so that BatchNorm could do nothing with the device's own part."""
    everywhere = devices.local_devices()
    assert len(everywhere) == 8
    state = train_state.init_train_state(VARIABLES, OPTIMIZER)
    spread = devices.spread(state, everywhere)
    on_one = jax.jit(functools.partial(distill, None))
    on_all = devices.pmap(functools.partial(distill, devices.AXIS), everywhere)
    for _ in range(3):
        state, loss, divergence = on_one(state, X, WEIGHTS, TEACHER)
        spread, losses_everywhere, parts = on_all(spread, X[:, None], WEIGHTS[:, None], TEACHER[:, None])
    assert_allclose(losses_everywhere, [loss] * 8, rtol=1e-4)
    assert_allclose(parts.ravel(), divergence, rtol=1e-3, atol=1e-5)
    for device in range(8):
        jax.tree.map(lambda a, b, i=device: assert_allclose(a[i], b, rtol=1e-3, atol=1e-5), spread, state)
    # The comparison means something: the parameters have moved.
    assert np.abs(state.params["last"]["kernel"] - VARIABLES["params"]["last"]["kernel"]).max() > 0.01

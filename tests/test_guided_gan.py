"""Stage 1 of HiDFD against public PyTorch code (`golden/hidfd_networks.npz`), and on tiny networks."""

import functools

import golden_hidfd
import golden_values
import numpy as np
import pytest
from numpy.testing import assert_allclose

from ssdkd_jax import guided_gan

VARIANTS = {
    "script": {"guided": False, "integrate": False},
    "guided_integrated": {},
}
# Zero but for rounding, since a BatchNorm with the batch's statistics follows.
UNDETERMINED = ("conv1.bias", "conv2.bias", "conv_sc.bias")


@functools.cache
def golden():
    return golden_values.load("hidfd_networks")


def fakes(name):
    return guided_gan.Fakes(golden()[f"in/z{name}"], golden()[f"in/y{name}"])


@functools.cache
def real():
    return golden()["in/x_uint8"].transpose(0, 2, 3, 1) / np.float32(255), golden()["in/y"]


def check_parameters(variables, start, expected, number):
    """Adam divides by the gradient's own size, so that rounding decides where a few entries go, more in each round."""
    ours, before = golden_hidfd.named(variables), golden_hidfd.named(start)
    for name, value in expected.items():
        if not name.endswith(UNDETERMINED):
            mine, old = (golden_hidfd.thinned(tensors[name]) for tensors in (ours, before))
            assert np.linalg.norm(mine - value) < (0.15, 0.4)[number - 1] * np.linalg.norm(value - old), name
            assert np.quantile(np.abs(mine - value), 0.8) < 0.05 * 2e-4, name


def entries(prefix):
    return {key.removeprefix(prefix): value for key, value in golden().items() if key.startswith(prefix)}


@pytest.mark.parametrize("variant", VARIANTS)
def test_two_rounds_equal_pytorch(variant):
    changes = VARIANTS[variant]
    gan = golden_hidfd.gan(**changes)
    see = functools.partial(golden_hidfd.see, guided=changes.get("guided", True))
    start = state = golden_hidfd.state(gan)
    for number in (1, 2):
        state, judged = guided_gan.discriminator_step(gan, state, see, fakes(f"{number}_d"), *real())
        state, made = guided_gan.generator_step(gan, state, see, fakes(f"{number}_g"))
        expected = dict(zip(golden()["loss_names"], golden()[f"{variant}/losses"][number - 1], strict=True))
        # One ReLU that rounding flips in the first round is seen in the second.
        close = functools.partial(assert_allclose, rtol=1e-4 if number == 1 else 2e-3, atol=1e-4)
        close(judged["discriminator_loss"], expected["D_real"] + expected["D_fake"])
        close(judged["discriminator_class_loss"], expected["D_adc_real"] + expected["D_adc_fake"])
        close(judged["integration_loss"], expected["D_reg_real_raw"] + expected["D_reg_fake_raw"])
        close(made["generator_loss"], expected["G"])
        close(made["generator_class_loss"], expected["G_adc_pos"] - expected["G_adc_neg"])
        close(made["smoothing_loss"], expected["G_reg_raw"])
        check_parameters(state.generator, start.generator, entries(f"{variant}/G_after{number}/"), number)
        check_parameters(state.discriminator, start.discriminator, entries(f"{variant}/D_after{number}/"), number)
    average = golden_hidfd.named(state.average)
    for name, value in entries(f"{variant}/ema_after2/").items():
        # A biased running variance here, an unbiased one there.
        rtol = 0.02 if name.endswith("stored_var") else 1e-3
        assert_allclose(golden_hidfd.thinned(average[name]), value, rtol=rtol, atol=1e-4, err_msg=name)


def test_the_generator_with_a_shared_embedding_equals_pytorch():
    """Evaluated, then in training mode, after which running statistics and singular vectors are compared."""
    gan = golden_hidfd.gan(shared=True)
    variables = golden_hidfd.state(gan).generator
    latents = guided_gan.Fakes(golden()["in/z0_d"], golden()["in/y0_d"])
    images = gan.generator.apply(variables, *latents, train=False)
    assert_allclose(2 * images.transpose(0, 3, 1, 2) - 1, golden()["G_shared/images_eval"], atol=1e-4)
    images, after = guided_gan.generate(gan, variables, latents)
    assert_allclose(2 * images.transpose(0, 3, 1, 2) - 1, golden()["G_shared/images_train"], atol=1e-4)
    after, compared = golden_hidfd.named(after), entries("G_shared/after_train/")
    assert sum(name.endswith("u0") for name in compared) == 6
    for name, value in compared.items():
        # A biased running variance here, an unbiased one there.
        rtol = 0.02 if name.endswith("stored_var") else 1e-3
        assert_allclose(golden_hidfd.thinned(after[name]), value.ravel(), rtol=rtol, atol=1e-4, err_msg=name)

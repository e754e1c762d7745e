"""CMI against public PyTorch code (`golden/family.npz`), and on tiny networks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from ssdkd_jax.data import normalize
from ssdkd_jax.interop import naming
from ssdkd_jax.methods.cmi import CMI, Draws, reinitialized
from tests import golden_networks, golden_values, tiny_problem

# ---- against PyTorch


class MirroredView(CMI):
    """The golden file's views: the image, and the mirrored image."""

    def two_views(self, key, images):
        images = normalize(images, self.problem.mean, self.problem.std)
        return images, images[:, :, ::-1]


def golden_head():
    def linear(name, rows, columns):
        weight = golden_values.tensor(f"cmi_head.head.{name}.weight", (rows, columns))
        return {"kernel": jnp.asarray(weight.T), "bias": golden_values.tensor(f"cmi_head.head.{name}.bias", (rows,))}

    return {"hidden": linear(0, 912, 912), "output": linear(2, 32, 912)}


def test_two_rounds_of_three_steps_equal_pytorch():
    golden = {k.removeprefix("cmi/"): v for k, v in golden_values.load("family").items() if k.startswith("cmi/")}
    method = MirroredView(
        problem=golden_networks.problem()[0],
        epochs=2,
        synthesis_batch_size=8,
        inversion_steps=3,
        feature_bank_size=64,
        negatives=64,
        head_size=32,
        reinitialize=False,
    )
    state = golden_networks.method_state(method, jax.random.key(0))
    head = golden_head()
    memory = state.synthesis._replace(
        generator=golden_networks.generator_variables(),
        head=head,
        head_optimizer_state=method._optimizers["head"].init(head),
    )
    state = state._replace(synthesis=memory)
    make_images, teacher = jax.jit(method.make_images), golden_networks.problem()[1]
    for number in range(2):
        latents, targets = golden[f"round{number}/z"], golden[f"round{number}/targets"]
        drawn = Draws(memory.generator, jnp.asarray(latents), jnp.asarray(targets, jnp.int32))
        memory, images, *_ = make_images(state, teacher, drawn, jax.random.key(0))
        state = state._replace(synthesis=memory)
        expected = golden[f"round{number}/best_images_first_2_nchw"]
        assert_allclose(images[:2].transpose(0, 3, 1, 2), expected, atol=2e-3 if number else 1e-3)
    assert int(memory.count) == 16

    ours = naming.to_torch(memory.generator, golden_networks.generator_template())
    layers = {"head.0": memory.head["hidden"], "head.2": memory.head["output"]}
    head = {f"{name}.weight": layer["kernel"].T for name, layer in layers.items()}
    head |= {f"{name}.bias": layer["bias"] for name, layer in layers.items()}
    head["head.0.weight_first_8_rows"] = head.pop("head.0.weight")[:8]
    compared = 0
    for key, value in golden.items():
        folder, _, name = key.partition("/")
        if folder in ("generator", "head"):
            error = np.abs((ours | head)[name] - value)
            # Rounding decides the sign of Adam's first steps where a gradient is all but zero.
            assert np.quantile(error, 0.9) < 1e-3 * np.abs(value).max(), key
            assert error.max() < 2 * 6 * method.generator_learning_rate, key
            compared += 1
    assert compared == 16


# ---- on tiny networks

TINY = {
    "epochs": 4,
    "synthesis_batch_size": 8,
    "inversion_steps": 2,
    "bank_dtype": "float32",
    "feature_bank_size": 20,
    "negatives": 5,
    "head_size": 4,
    "kd_steps": 2,
    "kd_batch_size": 8,
}


@functools.cache
def run():
    """States of four epochs, the last two of which write over the first entries of the feature banks."""
    return tiny_problem.run(CMI(problem=tiny_problem.problem(), **TINY), 4)[0]


def test_both_feature_banks_are_rings_on_the_device():
    states = run()
    assert [int(state.synthesis.count) for state in states] == [0, 8, 16, 24, 32]
    for bank in ("local_features", "global_features"):
        banks = [getattr(state.synthesis, bank) for state in states]
        assert all(isinstance(one, jax.Array) and one.shape[0] == 20 for one in banks)
        assert np.any(banks[1][:8], axis=1).all() and not np.any(banks[1][8:])
        assert_array_equal(banks[2][:8], banks[1][:8])
        assert_array_equal(banks[3][4:16], banks[2][4:16])  # entries 16 to 19, then 0 to 3 again
        assert (banks[3][:4] != banks[2][:4]).any(axis=1).all()


def test_negatives_are_drawn_without_replacement_from_what_is_there():
    method = CMI(problem=tiny_problem.problem(), **TINY)
    negatives = jax.jit(method._negatives)
    for state, there in zip(run()[:3], (0, 8, 16), strict=True):
        drawn = set()
        for i in range(20):
            chosen, is_sample = negatives(state.synthesis, jax.random.key(i))
            assert len(set(chosen.tolist())) == 5
            assert int(is_sample.sum()) == min(5, there)
            drawn |= set(chosen[is_sample].tolist())
        assert drawn == set(range(there))


def test_every_synthesis_has_a_fresh_generator():
    method = CMI(problem=tiny_problem.problem(), **TINY)
    draw = jax.jit(method.draw)
    first, second = (draw(run()[i], jax.random.key(i)).generator["params"] for i in (1, 2))
    assert 0.005 < float(np.std(first["l1.0"]["kernel"])) < 0.04
    assert not np.allclose(first["l1.0"]["kernel"], second["l1.0"]["kernel"])
    params = jax.jit(reinitialized)(run()[1].synthesis.generator["params"], jax.random.key(0))
    assert not np.any(params["l1.0"]["bias"])
    assert abs(float(np.mean(params["conv_blocks.0"]["scale"])) - 1) < 0.1


def test_the_adversarial_loss_sees_the_student():
    """A student that is the teacher differs in nothing; one that is half as sure does."""
    method = CMI(problem=tiny_problem.problem(), **TINY | {"inversion_steps": 1})
    state = jax.jit(method.init)(jax.random.key(0), tiny_problem.teacher())
    draw, make_images, found = jax.jit(method.draw), jax.jit(method.make_images), []
    for sure in (0.5, 1.0):
        one = tiny_problem.with_student_like_the_teacher(state, sure)
        drawn = draw(one, jax.random.key(1))
        made = make_images(one, tiny_problem.teacher(), drawn, jax.random.key(2))
        found.append(float(made.metrics["adversarial_loss"]))
    assert found[0] < -1e-5 and found[1] == pytest.approx(0, abs=1e-7)


@pytest.mark.slow
def test_eight_devices_are_one():
    method = CMI(problem=tiny_problem.problem(**tiny_problem.ON_DEVICES), **TINY)
    (one, _), (eight, _) = (tiny_problem.after_an_epoch(method, count) for count in (1, 8))
    assert_allclose(one.bank.images, eight.bank.images, atol=1e-2)
    assert_allclose(one.synthesis.local_features, eight.synthesis.local_features, atol=2e-2)
    assert_allclose(one.synthesis.head["output"]["kernel"], eight.synthesis.head["output"]["kernel"], atol=2e-3)
    jax.tree.map(functools.partial(assert_allclose, rtol=5e-2, atol=5e-3), one.student.params, eight.student.params)


def test_a_feature_bank_smaller_than_a_batch():
    with pytest.raises(ValueError, match="feature_bank_size is 7, expected at least one batch"):
        CMI(problem=tiny_problem.problem(), **{**TINY, "feature_bank_size": 7})

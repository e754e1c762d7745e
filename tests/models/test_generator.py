"""Generators against the public layout and a PyTorch definition."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssdkd_jax.errors import UserError
from ssdkd_jax.interop import naming
from ssdkd_jax.models import create_generator
from tests import golden_values


def layout(generator):
    latents = jax.ShapeDtypeStruct((2, generator.latent_size), jnp.float32)
    return naming.template(generator, latents)


def without_counters(shapes):
    return {name: tuple(shape) for name, shape in shapes.items() if not name.endswith(naming.COUNTER)}


def variables_by_the_rule(generator):
    template = layout(generator)
    return naming.from_torch(golden_values.state_dict(naming.torch_layout(template)), template)


def test_names_shapes_and_order_equal_the_public_ones():
    ours = naming.torch_layout(layout(create_generator((32, 32, 3))))
    assert list(ours.items()) == list(without_counters(golden_values.generator_layout()).items())


@functools.cache
def small_generator():
    generator = create_generator((32, 32, 3), latent_size=16, width=8)
    return generator, variables_by_the_rule(generator), golden_values.load("fastdfkd_fomaml")


def test_latents_of_the_reference_give_sane_images():
    generator, variables, reference = small_generator()
    z = next(value for name, value in reference.items() if name.endswith("z_in"))
    images, _ = generator.apply(variables, z, mutable=["batch_stats"])
    assert images.shape == (len(z), 32, 32, 3) and images.dtype == jnp.float32
    assert 0 <= images.min() < 0.4 and 0.6 < images.max() <= 1
    assert np.std(images, axis=0).min() > 0


def torch_generator(torch, nz, ngf, size, channels):
    nn = torch.nn

    def block(inputs, outputs):
        convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        return [nn.Upsample(scale_factor=2), convolution, nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]

    class Generator(nn.Module):
        def __init__(self):
            super().__init__()
            self.l1 = nn.Sequential(nn.Linear(nz, 2 * ngf * (size // 4) ** 2))
            last = nn.Conv2d(ngf, channels, 3, padding=1)
            blocks = (*block(2 * ngf, 2 * ngf), *block(2 * ngf, ngf))
            self.conv_blocks = nn.Sequential(nn.BatchNorm2d(2 * ngf), *blocks, last, nn.Sigmoid())

        def forward(self, z):
            return self.conv_blocks(self.l1(z).reshape(len(z), 2 * ngf, size // 4, size // 4))

    return Generator()


@pytest.mark.parametrize("train", [True, False], ids=["training", "evaluation"])
def test_images_equal_those_of_pytorch(train):
    torch = pytest.importorskip("torch")
    generator = create_generator((28, 28, 1), latent_size=16, width=8)
    variables = variables_by_the_rule(generator)
    theirs = torch_generator(torch, 16, 8, 28, 1).train(train)
    weights = naming.to_torch(variables, layout(generator))
    theirs.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})

    z = np.random.default_rng(0).standard_normal((6, 16)).astype(np.float32)
    images, updates = generator.apply(variables, z, train=train, mutable=["batch_stats"])
    with torch.no_grad():
        expected = theirs(torch.from_numpy(z)).numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(images, expected, atol=1e-5)
    if train:
        mean = theirs.conv_blocks[3].running_mean.numpy()
        np.testing.assert_allclose(updates["batch_stats"]["conv_blocks.3"]["mean"], mean, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("shape", [(4, 4, 1), (8, 8, 1), (28, 28, 1), (20, 32, 3), (64, 64, 3), (48, 96, 3)], ids=str)
def test_every_size_it_claims(shape):
    generator = create_generator(shape, latent_size=4, width=2)
    images, _ = jax.eval_shape(generator.init_with_output, jax.random.key(0), jnp.zeros((3, 4)))
    assert images.shape == (3, *shape)


def test_large_images_start_at_a_sixteenth_and_count_layers_alike():
    names = naming.torch_layout(layout(create_generator((64, 64, 3), latent_size=4, width=2)))
    assert names["l1.0.weight"] == (4 * 4 * 4, 4)
    convolutions = {name: shape[:2] for name, shape in names.items() if len(shape) == 4}
    assert convolutions == {
        "conv_blocks.2.weight": (4, 4),
        "conv_blocks.6.weight": (2, 4),
        "conv_blocks.10.weight": (2, 2),
        "conv_blocks.14.weight": (2, 2),
        "conv_blocks.17.weight": (3, 2),
    }


def test_blocks_for_large_images_are_those_of_the_public_deep_generator():
    """Its l1 is never used, and its first convolution takes the latent map in the place of our linear layer."""
    public = json.loads((golden_values.FOLDER / "deep_generator_layout.json").read_text())
    del public["l1.0.weight"], public["l1.0.bias"], public["conv_blocks.0.weight"]
    ours = naming.torch_layout(layout(create_generator((224, 224, 3))))
    assert ours.pop("l1.0.weight") == (14 * 14 * 128, 256) and ours.pop("l1.0.bias") == (14 * 14 * 128,)
    assert list(ours.values()) == list(without_counters(public).values())


def test_bfloat16_computes_low_and_answers_in_float32():
    generator, variables, _ = small_generator()
    low = create_generator((32, 32, 3), latent_size=16, width=8, dtype=jnp.bfloat16)
    z = jax.random.normal(jax.random.key(0), (4, low.latent_size))
    images, _ = low.apply(variables, z, mutable=["batch_stats"])
    exact, _ = generator.apply(variables, z, mutable=["batch_stats"])
    assert images.dtype == jnp.float32
    assert 0 < np.abs(images - exact).max() < 0.1


def test_batch_norm_over_devices_equals_one_device():
    whole = create_generator((8, 8, 1), latent_size=4, width=4)
    parts = create_generator((8, 8, 1), latent_size=4, width=4, bn_axis_name="devices")
    z = jax.random.normal(jax.random.key(0), (16, 4)) * jnp.arange(1, 17)[:, None]
    variables = whole.init(jax.random.key(1), z)
    expected, _ = whole.apply(variables, z, mutable=["batch_stats"])

    @functools.partial(jax.pmap, axis_name="devices", in_axes=(None, 0))
    def generate(variables, z):
        return parts.apply(variables, z, mutable=["batch_stats"])[0]

    images = generate(variables, z.reshape(8, 2, 4)).reshape(16, 8, 8, 1)
    np.testing.assert_allclose(images, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(30, 30, 3), (36, 36, 3), (72, 64, 3), (32, 0, 3), (32, 32, 0), (0, 32, 1)], ids=str)
def test_sizes_it_cannot_make(shape):
    with pytest.raises(UserError) as error:
        create_generator(shape)
    assert str(shape) in str(error.value) and "multiples of 4 up to 32" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (((32, 32),), "image_shape is (32, 32), expected three integers: (height, width, channels)"),
        ((32,), "image_shape is 32, expected three integers"),
        (("abc",), "image_shape is 'abc', expected three integers"),
        (((32, 32, 3.0),), "image_shape is (32, 32, 3.0), expected three integers"),
        (((32, 32, 3), 0), "latent_size is 0, expected an integer of 1 or more"),
        (((32, 32, 3), 16, 1.5), "width is 1.5, expected an integer of 1 or more"),
    ],
    ids=str,
)
def test_what_is_no_size(arguments, expected):
    with pytest.raises(UserError) as error:
        create_generator(*arguments)
    assert str(error.value).startswith(expected)

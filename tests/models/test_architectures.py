"""Every network against the names, shapes and logits of its public PyTorch implementation."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from ssdkd_jax.errors import UserError
from ssdkd_jax.interop import from_torch_state_dict
from ssdkd_jax.models import create_model, model_names
from ssdkd_jax.models.layers import kaiming_fan_out, torch_default
from tests import golden_values

LAYOUTS = golden_values.layouts()
FORWARD = golden_values.load("forward")
CLASSIFIERS = model_names("classification")
WITH_LOGITS = [name for name in CLASSIFIERS if f"{name}/logits" in FORWARD]
OUR_OWN = [name for name in CLASSIFIERS if "convnet" in name]
# More blocks of what the others consist of.
DEEPER = (
    *("resnet32", "resnet32_option_a", "resnet44", "resnet44_option_a", "resnet56", "resnet110", "resnet110_option_a"),
    *("wrn40_1", "resnet34", "resnet34_imagenet", "resnet50", "vgg13", "vgg16", "vgg19"),
)
WITHOUT_LOGITS = [name for name in CLASSIFIERS if name not in (*WITH_LOGITS, *OUR_OWN)]


def quick_and_slow(names):
    """Parameters of a test, of which the deeper networks are slow."""
    return [pytest.param(name, marks=pytest.mark.slow) if name in DEEPER else name for name in names]


def test_the_reference_covers_every_family():
    one_of_each = {"wrn40_2", "resnet18", "resnet50", "resnet50_imagenet", "resnet110", "resnet32x4", "vgg8", "vgg13"}
    assert one_of_each | {"resnet56_option_a", "mobilenetv2", "lenet5"} <= set(WITH_LOGITS)
    assert "shufflenetv2" in WITHOUT_LOGITS


def test_every_public_network_is_here():
    assert set(LAYOUTS) <= set(model_names())
    assert set(LAYOUTS) - set(CLASSIFIERS) == {"deeplabv3_mobilenet", "deeplabv3_resnet50"}


def drawn_images(*shape):
    """NCHW, as PyTorch takes them."""
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def assert_logits(name, weights, images, expected):
    variables = from_torch_state_dict(name, weights)
    logits = create_model(name, num_classes=expected.shape[1]).apply(variables, images.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("name", quick_and_slow(name for name in WITH_LOGITS if name not in golden_values.WITH_BN_LOSS))
def test_logits_equal_pytorch(name):
    """Those that are left out are compared in tests/test_batchnorm.py."""
    weights = golden_values.state_dict(LAYOUTS[name])
    size = 64 if name.endswith("_imagenet") else 32
    channels = next(iter(weights.values())).shape[1]
    assert_logits(name, weights, drawn_images(2, channels, size, size), FORWARD[f"{name}/logits"])


@pytest.mark.parametrize("name", quick_and_slow(WITHOUT_LOGITS))
def test_logits_equal_a_definition_in_torch(name):
    torch = pytest.importorskip("torch")
    from tests.models import torch_reference

    # Without memory: filling it with PyTorch's initial weights takes longer than the comparison.
    with torch.device("meta"):
        reference = torch_reference.build(name, classes=7).eval()
    weights = golden_values.state_dict({key: value.shape for key, value in reference.state_dict().items()})
    tensors = {key: torch.from_numpy(value) for key, value in weights.items()}
    reference.load_state_dict(tensors, strict=True, assign=True)
    images = drawn_images(2, 3, 32, 32)
    with torch.no_grad():
        expected = reference(torch.from_numpy(images)).numpy()
    assert_logits(name, weights, images, expected)


PADDED = ["wrn10_2", "resnet18", "resnet50", "resnet8", "resnet20_option_a", "vgg11", "convnet_8"]


@pytest.mark.parametrize("name", [*PADDED, "resnet18_imagenet", "mobilenetv2", "shufflenetv2"])
@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (31, 64, 3)], ids=str)
def test_any_image_size_and_channel_count(name, shape):
    def logits_and_features(x):
        (output, _) = create_model(name, num_classes=7).init_with_output(jax.random.key(0), x, return_features=True)
        return output

    logits, features = jax.eval_shape(logits_and_features, jnp.zeros((2, *shape)))
    assert logits.shape == (2, 7)
    assert features.shape[0] == 2 and features.ndim == 2


@pytest.mark.parametrize(
    ("name", "shape", "sizes"),
    [
        ("lenet5", (28, 28, 1), "lenet5 takes images of 32x32 pixels, these are 28x28"),
        ("lenet5", (32, 36, 1), "lenet5 takes images of 32x32 pixels, these are 32x36"),
        ("vgg8", (32, 7, 3), "vgg takes images from 8x8 pixels on, these are 32x7"),
    ],
    ids=str,
)
def test_image_size_that_a_network_cannot_take(name, shape, sizes):
    with pytest.raises(UserError) as error:
        jax.eval_shape(create_model(name).init, jax.random.key(0), jnp.zeros((1, *shape)))
    assert str(error.value).startswith(sizes) and "\n" not in str(error.value)


def test_vgg_pools_large_images_once_more():
    """As in the public code, 64x64 images reach the last convolutions as 4x4 maps, 32x32 images too."""
    model = create_model("vgg11")
    maps = {}
    for size in (32, 64):
        capture = functools.partial(model.init_with_output, capture_intermediates=True, mutable=True)
        _, variables = jax.eval_shape(capture, jax.random.key(0), jnp.zeros((1, size, size, 3)))
        maps[size] = variables["intermediates"]["block4.4"]["__call__"][0].shape[1:3]
    assert maps == {32: (4, 4), 64: (4, 4)}


@functools.cache
def small_network(dtype=jnp.float32):
    model = create_model("convnet_8", dtype=dtype)
    x = jax.random.normal(jax.random.key(1), (4, 8, 8, 1))
    return model, model.init(jax.random.key(0), x), x


def test_features_are_the_classifiers_input():
    model, variables, x = small_network()
    logits, features = model.apply(variables, x, return_features=True)
    classifier = variables["params"]["fc"]
    np.testing.assert_allclose(logits, features @ classifier["kernel"] + classifier["bias"], rtol=1e-5, atol=1e-6)
    assert features.shape == (4, 32)
    np.testing.assert_array_equal(logits, model.apply(variables, x))


def test_lenet5_has_features_and_no_statistics():
    model = create_model("lenet5")
    x = drawn_images(2, 1, 32, 32).transpose(0, 2, 3, 1)
    variables = from_torch_state_dict("lenet5", golden_values.state_dict(LAYOUTS["lenet5"]))
    assert set(jax.eval_shape(model.init, jax.random.key(0), x)) == {"params"}
    logits, features = model.apply(variables, x, return_features=True)
    classifier = variables["params"]["fc.2"]
    np.testing.assert_allclose(logits, features @ classifier["kernel"] + classifier["bias"], rtol=1e-5, atol=1e-6)
    assert features.shape == (2, 84)
    trained, updates = model.apply(variables, x, train=True, mutable=["batch_stats"])
    np.testing.assert_array_equal(trained, logits)
    assert not jax.tree.leaves(updates)


def test_training_mode_moves_the_running_statistics_by_a_tenth():
    model, variables, x = small_network()
    x = 3 + x
    _, updates = model.apply(variables, x, train=True, mutable=["batch_stats"])
    first = model.apply(variables, x, capture_intermediates=True, mutable=["intermediates"])[1]
    first_map = first["intermediates"]["conv1"]["__call__"][0]
    mean = updates["batch_stats"]["bn1"]["mean"]
    np.testing.assert_allclose(mean, 0.1 * jnp.mean(first_map, (0, 1, 2)), rtol=1e-4, atol=1e-6)


def test_bfloat16_computes_low_and_answers_in_float32():
    model, variables, x = small_network(jnp.bfloat16)
    logits, features = model.apply(variables, x, return_features=True)
    exact = create_model("convnet_8").apply(variables, x)
    assert logits.dtype == features.dtype == jnp.float32
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
    assert 0 < np.abs(logits - exact).max() < 0.05


def test_param_dtype_is_that_of_the_parameters():
    model = create_model("wrn10_1", param_dtype=jnp.bfloat16)
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    assert {leaf.dtype for leaf in jax.tree.leaves(variables["params"])} == {jnp.dtype(jnp.bfloat16)}


@pytest.mark.parametrize("name", ["resnet8", "resnet50_imagenet", "vgg8", "mobilenetv2", "shufflenetv2", "lenet5"])
def test_the_convolution_given_is_used_everywhere(name):
    seen = []

    def convolution(*args, **kwargs):
        seen.append(args[1].shape)
        return jax.lax.conv_general_dilated(*args, **kwargs)

    model = create_model(name, conv_general_dilated=convolution)
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    kernels = [v for path, v in traverse_util.flatten_dict(variables["params"]).items() if path[-1] == "kernel"]
    assert sorted(seen) == sorted(kernel.shape for kernel in kernels if len(kernel.shape) == 4)


def test_initial_weights_spread_as_in_pytorch():
    key, shape = jax.random.key(0), (3, 3, 64, 128)
    assert np.std(kaiming_fan_out(key, shape)) == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.02)
    assert np.abs(torch_default(key, shape)).max() == pytest.approx((9 * 64) ** -0.5, rel=0.02)


@pytest.mark.parametrize(("name", "layer"), [("mobilenetv2", "classifier.1"), ("vgg8", "classifier")])
def test_classifiers_that_start_small(name, layer):
    key, x = jax.random.key(0), jnp.zeros((1, 8, 8, 3))
    classifier = jax.jit(lambda: create_model(name).init(key, x)["params"][layer])()
    assert np.std(classifier["kernel"]) == pytest.approx(0.01, rel=0.05)
    np.testing.assert_array_equal(classifier["bias"], np.zeros(10))


def test_batch_norm_over_devices_equals_one_device():
    whole, variables, _ = small_network()
    parts = create_model("convnet_8", bn_axis_name="devices")
    x = jax.random.normal(jax.random.key(2), (16, 8, 8, 1)) * jnp.arange(1, 17)[:, None, None, None]
    expected, expected_updates = whole.apply(variables, x, train=True, mutable=["batch_stats"])

    @functools.partial(jax.pmap, axis_name="devices", in_axes=(None, 0))
    def forward(variables, x):
        return parts.apply(variables, x, train=True, mutable=["batch_stats"])

    logits, updates = forward(variables, x.reshape(8, 2, 8, 8, 1))
    np.testing.assert_allclose(logits.reshape(16, 10), expected, rtol=1e-4, atol=1e-5)
    for device in (0, 7):
        own = jax.tree.map(lambda leaf, device=device: leaf[device], updates)
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), own, dict(expected_updates))


def test_unknown_name_names_the_closest_and_all():
    with pytest.raises(UserError) as error:
        create_model("wrn16-1")
    message = str(error.value)
    assert "unknown model 'wrn16-1'; did you mean 'wrn16_1'?" in message
    assert all(name in message for name in model_names())
    assert "\n" not in message


def test_unknown_name_without_a_neighbor():
    with pytest.raises(UserError, match=r"^unknown model 'xyz'; known are: wrn10_1, "):
        create_model("xyz")


@pytest.mark.parametrize("name", [None, 3, ["resnet20"], pathlib.Path("net.py:make")], ids=repr)
def test_a_name_that_is_no_text(name):
    with pytest.raises(UserError, match=r"^unknown model .* known are: wrn10_1, "):
        create_model(name)


@pytest.mark.parametrize("name", ["convnet_8", "net.py:make"])
@pytest.mark.parametrize("value", [0, -1, 10.5, "10", True, None], ids=repr)
def test_what_is_no_number_of_classes(name, value):
    with pytest.raises(UserError) as error:
        create_model(name, value)
    assert str(error.value) == f"num_classes is {value!r}, expected an integer of 1 or more"


@pytest.mark.parametrize("field", ["dtype", "param_dtype"])
@pytest.mark.parametrize("value", ["floaty", int, "int8", 3], ids=repr)
def test_what_is_no_floating_dtype(field, value):
    with pytest.raises(UserError) as error:
        create_model("convnet_8", 2, **{field: value})
    assert str(error.value) == f"{field} is {value!r}, expected a floating dtype such as 'float32' or 'bfloat16'"


@pytest.mark.parametrize("dtype", ["bfloat16", np.float16, jnp.bfloat16, jnp.dtype("float32"), None], ids=str)
def test_dtypes_however_they_are_written(dtype):
    assert create_model("convnet_8", np.int64(2), dtype=dtype, param_dtype=dtype).num_classes == 2

"""DeepLabV3 and the small encoder-decoder against the public names, shapes and logits, and against PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssdkd_jax import batchnorm
from ssdkd_jax.interop import from_torch_state_dict, infer_architecture, to_torch_state_dict
from ssdkd_jax.models import create_model, model_names, public_definition, task_of
from ssdkd_jax.models.deeplab import dilated_stages
from ssdkd_jax.training.compilation import jit_for_one_call
from tests import golden_values

LAYOUTS = golden_values.layouts()
FORWARD = golden_values.load("forward")
IMAGES = np.random.default_rng(0).standard_normal((2, 3, 64, 64)).astype(np.float32)


@pytest.mark.slow
def test_logits_and_statistics_loss_equal_public_code():
    name = "deeplabv3_resnet50"
    variables = from_torch_state_dict(name, golden_values.state_dict(LAYOUTS[name]))
    back = to_torch_state_dict(name, variables)
    assert [(key, list(value.shape)) for key, value in back.items()] == list(LAYOUTS[name].items())
    model = create_model(name, 13)

    @jit_for_one_call
    def forward(x):
        return batchnorm.apply_with_batch_statistics(model, variables, x)

    logits, statistics = forward(IMAGES.transpose(0, 2, 3, 1))
    expected = FORWARD[f"{name}/logits"].transpose(0, 2, 3, 1)  # of every eighth pixel
    np.testing.assert_allclose(logits[:, ::8, ::8], expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    loss = batchnorm.statistics_loss(statistics, variables["batch_stats"])
    np.testing.assert_allclose(loss, FORWARD[f"{name}/bn_statistics_loss"], rtol=1e-4)


@pytest.mark.parametrize("name", ["deeplabv3_mobilenet", "deeplabv3_mobilenet_os16", "encoder_decoder_8"])
def test_logits_equal_a_definition_in_torch(name):
    torch = pytest.importorskip("torch")
    from tests.models import torch_reference

    reference = torch_reference.build(name, classes=13)
    if reference is None:
        scope = {"torch": torch}
        exec(public_definition(name, 13, channels=3).lines, scope)
        reference = scope["model"]
    layout = {key: value.shape for key, value in reference.state_dict().items()}
    assert name not in LAYOUTS or {key: list(shape) for key, shape in layout.items()} == LAYOUTS[name]
    weights = golden_values.state_dict(layout)
    reference.load_state_dict({key: torch.from_numpy(value) for key, value in weights.items()}, strict=True)
    with torch.no_grad():
        expected = reference.eval()(torch.from_numpy(IMAGES)).numpy().transpose(0, 2, 3, 1)
    variables = from_torch_state_dict(name, weights)
    logits = jit_for_one_call(create_model(name, 13).apply)(variables, IMAGES.transpose(0, 2, 3, 1))
    assert np.ptp(expected, axis=(1, 2)).max() > 0.1 * np.abs(expected).max()
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_strides_beyond_the_output_stride_become_dilation():
    strides = (1, 2, 2, 2)
    assert dilated_stages(strides, 4, 32) == [(1, 1, 1), (2, 1, 1), (2, 1, 1), (2, 1, 1)]
    assert dilated_stages(strides, 4, 16) == [(1, 1, 1), (2, 1, 1), (2, 1, 1), (1, 1, 2)]
    assert dilated_stages(strides, 4, 8) == [(1, 1, 1), (2, 1, 1), (1, 1, 2), (1, 2, 4)]


@pytest.mark.parametrize("name", model_names("segmentation"))
@pytest.mark.parametrize("shape", [(32, 48, 1), (33, 47, 3)], ids=str)
def test_logits_have_the_images_size_and_features_are_of_the_last_map(name, shape):
    def apply(x):
        return create_model(name, 7).init_with_output(jax.random.key(0), x, return_features=True)[0]

    logits, features = jax.eval_shape(apply, jnp.zeros((2, *shape)))
    assert logits.shape == (2, *shape[:2], 7)
    assert features.shape[0] == 2 and features.ndim == 4


def test_the_tensors_name_the_architecture_but_not_its_output_stride():
    name = "deeplabv3_mobilenet"
    weights = {key: np.broadcast_to(np.float32(0), shape) for key, shape in LAYOUTS[name].items()}
    assert infer_architecture(weights) == [name, f"{name}_os16"]
    assert {task_of(name), task_of("convnet_8"), task_of("mine.py:make")} == {"segmentation", "classification", ""}

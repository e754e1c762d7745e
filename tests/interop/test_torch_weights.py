"""Names, shapes and values on the way between PyTorch and Linen."""

import functools

import jax
import ml_dtypes
import numpy as np
import pytest

from ssdkd_jax.errors import UserError
from ssdkd_jax.interop import (
    classes_and_channels,
    from_torch_state_dict,
    infer_architecture,
    to_torch_state_dict,
    without_common_prefix,
)
from ssdkd_jax.jobs.teacher import load_teacher
from ssdkd_jax.models import create_model, model_names
from tests import golden_values
from tests.random_networks import random_variables

LAYOUTS = golden_values.layouts()
PUBLIC = [name for name in model_names("classification") if name in LAYOUTS]
# One of a family; the others are in `make test-all`.
QUICK = ("wrn16_1", "resnet18", "resnet50_imagenet", "resnet20", "resnet20_option_a", "vgg8", "mobilenetv2", "lenet5")
# One of a family, since to tell it from its relatives they are all traced.
INFERRED = ("resnet18", "resnet8", "resnet20_option_a", "vgg8", "wrn16_1", "mobilenetv2", "shufflenetv2", "lenet5")


@functools.cache
def weights(name="resnet8"):
    return golden_values.state_dict(LAYOUTS[name])


@pytest.fixture
def few_networks(monkeypatch):
    """Those built in take seconds to be traced."""
    names = ["wrn16_1", "resnet8", "resnet20", "resnet20_option_a", "convnet_8"]
    monkeypatch.setattr("ssdkd_jax.interop.torch_weights.model_names", lambda: names)


def lacking(tensors, *names):
    return {name: value for name, value in tensors.items() if name not in names}


def one():
    return np.ones(1, np.float32)


def changed(**tensors):
    """Weights of resnet8 with some tensors replaced, or taken out where None."""
    replaced = {**weights(), **{name.replace("__", "."): value for name, value in tensors.items()}}
    return {name: value for name, value in replaced.items() if value is not None}


@pytest.mark.parametrize("name", [pytest.param(x, marks=() if x in QUICK else pytest.mark.slow) for x in PUBLIC])
def test_round_trip_keeps_every_bit_and_the_public_order(name):
    there = from_torch_state_dict(name, weights(name))
    back = to_torch_state_dict(name, there)
    assert {key: list(value.shape) for key, value in back.items()} == LAYOUTS[name]
    assert list(back) == list(LAYOUTS[name])
    for key, value in weights(name).items():
        np.testing.assert_array_equal(back[key], value)
        assert back[key].dtype == value.dtype and back[key].flags.writeable


@pytest.mark.parametrize(("name", "channels", "classes"), [("convnet_16", 1, 10), ("wrn10_1", 3, 100)])
def test_networks_without_baseline_convert_too(name, channels, classes):
    model = create_model(name, num_classes=classes)
    variables = random_variables(model, (8, 8, channels))
    back = from_torch_state_dict(name, to_torch_state_dict(name, variables))
    jax.tree.map(np.testing.assert_array_equal, back, dict(variables))


def test_a_network_without_batch_norm_has_empty_statistics():
    variables = from_torch_state_dict("lenet5", weights("lenet5"))
    assert variables["batch_stats"] == {}
    assert create_model("lenet5").apply(variables, np.zeros((1, 32, 32, 1), np.float32)).shape == (1, 10)
    without_collection = {"params": variables["params"]}
    back = from_torch_state_dict("lenet5", to_torch_state_dict("lenet5", without_collection))
    jax.tree.map(np.testing.assert_array_equal, back, variables)


def test_kernels_of_single_channels_land_where_they_belong():
    block = from_torch_state_dict("mobilenetv2", weights("mobilenetv2"))["params"]["features.2"]
    theirs = weights("mobilenetv2")["features.2.conv.1.0.weight"]
    assert theirs.shape == (96, 1, 3, 3)
    np.testing.assert_array_equal(block["conv.1.0"]["kernel"], theirs.transpose(2, 3, 1, 0))


def test_one_tensor_of_each_kind_lands_where_it_belongs():
    variables = from_torch_state_dict("resnet8", weights())
    block = variables["params"]["layer2.0"]
    np.testing.assert_array_equal(
        block["downsample.0"]["kernel"], weights()["layer2.0.downsample.0.weight"].transpose(2, 3, 1, 0)
    )
    np.testing.assert_array_equal(block["bn1"]["scale"], weights()["layer2.0.bn1.weight"])
    np.testing.assert_array_equal(variables["params"]["fc"]["kernel"], weights()["fc.weight"].T)
    np.testing.assert_array_equal(
        variables["batch_stats"]["layer2.0"]["bn1"]["var"], weights()["layer2.0.bn1.running_var"]
    )


def test_channel_and_class_counts_are_read_off_the_tensors():
    tensors = changed(
        conv1__weight=np.ones((16, 1, 3, 3)), fc__weight=np.ones((7, 64)), fc__bias=np.ones(7), bn1__bias=np.ones(16)
    )
    params = from_torch_state_dict("resnet8", tensors)["params"]
    assert params["conv1"]["kernel"].shape == (3, 3, 1, 16)
    assert params["fc"]["kernel"].shape == (64, 7)
    assert params["bn1"]["bias"].dtype == np.float32


def test_counters_may_be_missing():
    tensors = {name: value for name, value in weights().items() if not name.endswith("num_batches_tracked")}
    assert jax.tree.structure(from_torch_state_dict("resnet8", tensors)) == jax.tree.structure(
        from_torch_state_dict("resnet8", weights())
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ml_dtypes.bfloat16], ids=lambda dtype: np.dtype(dtype).name)
def test_any_floating_dtype_of_numpy(dtype):
    tensors = {name: value.astype(dtype) for name, value in weights().items()}
    bias = from_torch_state_dict("resnet8", tensors)["params"]["fc"]["bias"]
    np.testing.assert_array_equal(bias, tensors["fc.bias"].astype(np.float32))
    assert bias.dtype == np.float32


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_torch_tensors(dtype):
    torch = pytest.importorskip("torch")
    tensors = {name: torch.from_numpy(value).to(getattr(torch, dtype)) for name, value in weights().items()}
    tensors["fc.bias"].requires_grad_()
    bias = from_torch_state_dict("resnet8", tensors)["params"]["fc"]["bias"]
    np.testing.assert_array_equal(bias, tensors["fc.bias"].detach().float().numpy())


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"layer1__0__bn1__bias": None}, "resnet8: tensor 'layer1.0.bn1.bias' of shape (16,) is missing"),
        (
            {"layer2__0__conv1__weight": np.ones((8, 16, 3, 3))},
            "resnet8: tensor 'layer2.0.conv1.weight' has shape (8, 16, 3, 3), expected (32, 16, 3, 3)",
        ),
        ({"head__weight": np.ones((2, 3))}, "resnet8: unexpected tensor 'head.weight' of shape (2, 3)"),
        ({"fc__weight": None}, "resnet8: tensor 'fc.weight' of shape (10, 64) is missing"),
    ],
    ids=["missing", "shape", "unexpected", "no classifier"],
)
def test_the_first_mismatch_is_named(tensors, message):
    with pytest.raises(UserError) as error:
        from_torch_state_dict("resnet8", changed(**tensors))
    assert str(error.value) == message


def test_variables_of_another_network_are_refused():
    variables = from_torch_state_dict("resnet20", weights("resnet20"))
    with pytest.raises(UserError, match=r"^resnet8: unexpected tensor 'layer1\.1\.conv1\.weight' of shape \(16, 16"):
        to_torch_state_dict("resnet8", variables)


def test_all_missing_and_unexpected_tensors_are_listed_by_block():
    tensors = {"layer1__0__bn1__bias": None, "layer1__0__bn1__weight": None, "fc__bias": None, "bn1__weight": None}
    tensors |= {"layer1__0__se__weight": np.ones((2, 3)), "head__bias": np.ones(3)}
    with pytest.raises(UserError) as error:
        from_torch_state_dict("resnet8", changed(**tensors))
    assert str(error.value) == (
        "resnet8: missing are bn1 (weight), layer1.0 (bn1.weight, bn1.bias), fc (bias); "
        "unexpected are layer1.0 (se.weight), head (bias)"
    )


def test_of_another_architecture_three_differences_and_its_name():
    with pytest.raises(UserError) as error:
        from_torch_state_dict("wrn16_1", weights("resnet8"))
    message = str(error.value)
    assert message.startswith("wrn16_1: tensor 'bn1.weight' has shape (16,), expected (64,); ")
    assert message.count("; tensor") == 2 and "more differences" in message
    assert message.endswith("; it has the tensors of a resnet8")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(value):
    broken = weights()["fc.weight"].copy()
    broken[:2, 0] = value
    with pytest.raises(UserError, match=r"^resnet8: tensor 'fc.weight' holds NaN or infinity in 2 of 640 numbers$"):
        from_torch_state_dict("resnet8", changed(fc__weight=broken))


@pytest.mark.parametrize("dtype", [np.int32, np.complex64, bool], ids=str)
def test_weights_that_are_not_floating_are_refused(dtype):
    with pytest.raises(UserError, match=r"tensor 'fc.weight' is (int32|complex64|bool), expected a floating dtype"):
        from_torch_state_dict("resnet8", changed(fc__weight=np.ones((10, 64), dtype)))


@pytest.mark.parametrize("value", [3, [1.0, 2.0], np.ones((0, 64))], ids=["int", "list", "empty"])
def test_what_is_no_tensor_is_refused(value):
    with pytest.raises(UserError, match=r"tensor 'fc.weight' is (a int|a list|of shape \(0, 64\)), expected an array"):
        from_torch_state_dict("resnet8", changed(fc__weight=value))


@pytest.mark.parametrize("given", [None, "weights.pth", [], {1: np.ones(2)}], ids=repr)
def test_what_is_no_state_dict(given):
    with pytest.raises(
        UserError, match=r"^the state_dict is a \w+, expected {PyTorch name: array}, as load_torch_file"
    ):
        from_torch_state_dict("resnet8", given)


@pytest.mark.parametrize("given", [None, [], {}, {"fc": {"bias": np.ones(2)}}, {"params": 3}], ids=repr)
def test_what_are_no_variables(given):
    with pytest.raises(
        UserError, match=r'^the variables are not {"params": \.\.\., "batch_stats": \.\.\.}, as load_net'
    ):
        to_torch_state_dict("resnet8", given)


def test_a_kernel_that_is_a_number():
    variables = from_torch_state_dict("resnet8", weights())
    params = variables["params"] | {"fc": variables["params"]["fc"] | {"kernel": 3}}
    with pytest.raises(UserError, match=r"^resnet8: tensor 'fc.weight' has shape \(\), expected \(10, 64\)$"):
        to_torch_state_dict("resnet8", variables | {"params": params})


def test_a_variable_that_pytorch_has_not_is_refused():
    with pytest.raises(UserError, match=r"variable 'params\.fc\.gain' has no PyTorch counterpart"):
        to_torch_state_dict("resnet8", {"params": {"fc": {"gain": np.ones(3)}}})


@pytest.mark.parametrize(("name", "channels", "classes"), [("convnet_16", 1, 7), ("wrn10_1", 3, 100)])
def test_classes_and_channels_are_read_off(name, channels, classes):
    model = create_model(name, num_classes=classes)
    variables = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, 8, 8, channels), np.float32))
    assert classes_and_channels(name, variables) == (classes, channels)


@pytest.mark.parametrize("prefix", ["model.", "encoder.net."])
def test_what_all_names_begin_with_is_dropped(few_networks, prefix):
    tensors = {f"{prefix}{name}": value for name, value in weights().items()}
    jax.tree.map(
        np.testing.assert_array_equal,
        from_torch_state_dict("resnet8", tensors),
        from_torch_state_dict("resnet8", weights()),
    )
    assert list(without_common_prefix(tensors)) == list(without_common_prefix(weights())) == list(weights())
    with pytest.raises(UserError, match=r"^resnet8: tensor 'fc.bias' of shape \(10,\) is missing$"):
        from_torch_state_dict("resnet8", lacking(tensors, f"{prefix}fc.bias"))


def test_a_prefix_without_anything_else():
    assert without_common_prefix({}) == {} and without_common_prefix({"w": 1, "a.b": 2}) == {"w": 1, "a.b": 2}


@pytest.mark.parametrize(
    ("tensors", "arch", "expected"),
    [
        (lambda: weights(), "wrn16_1", "; it has the tensors of a resnet8; choose --arch=resnet8"),
        (
            lambda: lacking(weights(), "fc.bias"),
            "resnet8",
            "is no resnet8: tensor 'fc.bias' of shape (10,) is missing; choose another --arch=NAME, or give all "
            "weights of that network and no others",
        ),
    ],
    ids=["another", "none"],
)
def test_an_architecture_that_was_given_is_not_asked_for(tmp_path, few_networks, tensors, arch, expected):
    np_file = pytest.importorskip("safetensors.numpy")
    np_file.save_file(tensors(), tmp_path / "w.safetensors")
    with pytest.raises(UserError) as error:
        load_teacher(tmp_path / "w.safetensors", arch, flag="--arch")
    assert str(error.value).endswith(expected)


def test_a_file_of_a_whole_training_module(tmp_path, few_networks):
    np_file = pytest.importorskip("safetensors.numpy")
    np_file.save_file({f"model.{name}": value for name, value in weights().items()}, tmp_path / "w.safetensors")
    assert load_teacher(tmp_path / "w.safetensors").architecture == "resnet8"


def test_unknown_architecture():
    with pytest.raises(UserError, match=r"^unknown model 'resnet9'; did you mean "):
        from_torch_state_dict("resnet9", {})


@pytest.mark.parametrize("name", INFERRED)
def test_architecture_is_inferred(name):
    same = {"mobilenetv2": ["mobilenetv2", "mobilenetv2_imagenet"]}.get(name, [name])
    assert infer_architecture(weights(name)) == same


def test_no_architecture_is_inferred_from_strange_tensors(few_networks):
    assert infer_architecture({"w": np.ones(3)}) == []
    assert infer_architecture({}) == []


def test_one_network_under_two_names_is_no_ambiguity(tmp_path, capsys, monkeypatch):
    np_file = pytest.importorskip("safetensors.numpy")
    np_file.save_file(weights("mobilenetv2"), tmp_path / "w.safetensors")
    names = ["mobilenetv2", "mobilenetv2_imagenet"]
    monkeypatch.setattr("ssdkd_jax.interop.infer_architecture", lambda _: names)
    assert load_teacher(tmp_path / "w.safetensors").architecture == "mobilenetv2"
    assert "looks like a mobilenetv2 (also known as mobilenetv2_imagenet)" in capsys.readouterr().out


def test_several_networks_are_listed(tmp_path, monkeypatch):
    np_file = pytest.importorskip("safetensors.numpy")
    np_file.save_file(weights(), tmp_path / "w.safetensors")
    monkeypatch.setattr("ssdkd_jax.interop.infer_architecture", lambda _: ["resnet8", "resnet20"])
    with pytest.raises(UserError, match="fits several architectures: resnet8, resnet20; say which with --arch=NAME"):
        load_teacher(tmp_path / "w.safetensors", flag="--arch")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda w: w | {f"extra{i}": np.ones(2, np.float32) for i in range(4)},
            "besides them extra0, extra1, extra2 and 1 more",
        ),
        (lambda w: w | {"bn1.weight": np.ones(5, np.float32)}, "in other shapes: bn1.weight is (5,), expected (16,); "),
        (
            lambda w: lacking(w, "layer1.0.bn1.bias"),
            "but lacks layer1.0.bn1.bias; save all tensors of that network and",
        ),
        (
            lambda w: lacking(w, "conv1.weight"),
            "but lacks conv1.weight; save all tensors of that network and no others",
        ),
        (lambda w: lacking(w, "fc.weight", "fc.bias"), "but lacks fc.weight, fc.bias; "),
        (
            lambda w: {f"model.{name}": value for name, value in lacking(w, "fc.bias").items()} | {"model.x.y": one()},
            "but lacks fc.bias, and besides them x.y; ",
        ),
    ],
    ids=["more", "shape", "one less", "a module less", "no classifier", "prefix"],
)
def test_a_network_that_is_almost_one(tmp_path, few_networks, change, expected):
    np_file = pytest.importorskip("safetensors.numpy")
    np_file.save_file(change(weights("resnet20")), tmp_path / "w.safetensors")
    with pytest.raises(UserError) as error:
        load_teacher(tmp_path / "w.safetensors", flag="--arch")
    assert "it has the tensors of a resnet20, " in str(error.value) and expected in str(error.value)


def test_a_network_that_is_not_built_in_is_to_be_brought_along(tmp_path, few_networks):
    np_file = pytest.importorskip("safetensors.numpy")
    np_file.save_file({"w": np.ones(3, np.float32)}, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"fits no architecture that is built in .*--arch=path/to/file.py:make"):
        load_teacher(tmp_path / "w.safetensors", flag="--arch")


def test_a_student_with_its_teachers_classifier_is_to_be_named(tmp_path):
    np_file = pytest.importorskip("safetensors.numpy")
    parts = ("backbone.conv1.weight", "transfer.0.weight", "classifier.weight")
    np_file.save_file({name: np.ones(3, np.float32) for name in parts}, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"as HiDFD trains it; .* --arch=STUDENT_simkd_TEACHER"):
        load_teacher(tmp_path / "w.safetensors", flag="--arch")

"""Networks of a user's own file, as they are and as they are broken."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssdkd_jax.errors import UserError
from ssdkd_jax.models import create_model, loop_friendly_conv_general_dilated, public_definition, public_normalization
from ssdkd_jax.models.user_network import check_outputs
from tests import refusals

NET = """
from typing import Any

import flax.linen as nn
import jax.numpy as jnp


class Net(nn.Module):
    num_classes: int
    dtype: Any = jnp.float32
    bn_axis_name: str | None = None
    conv_general_dilated: Any = None

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Conv(4, (3, 3), conv_general_dilated=self.conv_general_dilated, dtype=self.dtype, name="conv1")(x)
        x = nn.BatchNorm(use_running_average=not train, axis_name=self.bn_axis_name, dtype=self.dtype, name="bn1")(x)
        return nn.Dense(self.num_classes, dtype=jnp.float32, name="fc")(nn.relu(x).mean((1, 2)))


def few(num_classes):
    return Net(num_classes)


def some(num_classes, dtype):
    return Net(num_classes, dtype)


def all_of_them(**kwargs):
    assert kwargs.keys() == {"num_classes", "dtype", "param_dtype", "bn_axis_name", "conv_general_dilated"}
    del kwargs["param_dtype"]
    return Net(**kwargs)
"""
OPTIONS = {
    "dtype": jnp.bfloat16,
    "param_dtype": jnp.bfloat16,
    "bn_axis_name": "devices",
    "conv_general_dilated": loop_friendly_conv_general_dilated,
}


def written(tmp_path, content, name="make"):
    (tmp_path / "net.py").write_text(content)
    return f"{tmp_path}/net.py:{name}"


def refusal(name):
    return refusals.refusal(create_model, name, 3)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("few", ()),
        ("some", ("dtype",)),
        ("all_of_them", ("dtype", "bn_axis_name", "conv_general_dilated")),
        ("Net", ("dtype", "bn_axis_name", "conv_general_dilated")),
    ],
)
def test_the_callable_gets_what_its_signature_takes(tmp_path, name, options):
    model = create_model(written(tmp_path, NET, name), 3, **OPTIONS)
    defaults = {"dtype": jnp.float32, "bn_axis_name": None, "conv_general_dilated": None}
    assert model.num_classes == 3
    for option, default in defaults.items():
        assert getattr(model, option) == (OPTIONS[option] if option in options else default)


def test_it_computes(tmp_path):
    model = create_model(written(tmp_path, NET, "Net"), 3)
    x = np.random.default_rng(0).standard_normal((2, 8, 8, 3)).astype(np.float32)
    variables = model.init(jax.random.key(0), x)
    logits, updated = model.apply(variables, x, train=True, mutable=["batch_stats"])
    assert logits.shape == (2, 3) and np.ptp(logits) > 0
    assert updated["batch_stats"]["bn1"]["mean"].shape == (4,)


def test_two_calls_make_equal_modules(tmp_path, monkeypatch):
    name = written(tmp_path, NET, "Net")
    monkeypatch.chdir(tmp_path)
    assert create_model(name, 3, **OPTIONS) == create_model("net.py:Net", 3, **OPTIONS)
    assert create_model(name, 3) != create_model(name, 4)


def test_it_has_no_public_definition_and_no_normalization(tmp_path):
    name = written(tmp_path, NET, "Net")
    assert public_definition(name, 3, 3) is None
    assert public_normalization(name) == ""


MODULE = "import flax.linen as nn\nclass M(nn.Module):\n    def __call__(self, {}):\n        return x\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("make = 3", "make is an object of type int, expected a function or class that makes a flax.linen.Module"),
        ("def make(classes):\n    pass", "make takes no num_classes; expected def make(num_classes, ...)"),
        ("def make(num_classes):\n    return [1]", "returned an object of type list, expected a flax.linen.Module"),
        (MODULE.format("x") + "def make(num_classes):\n    return M", "returned the class M, expected a flax"),
        (
            MODULE.format("x") + "def make(num_classes):\n    return M()",
            "whose __call__ takes no train; expected ",
        ),
        (
            MODULE.format("x, train") + "def make(num_classes):\n    return M()",
            "returned a M whose train is not False by default; expected train=False",
        ),
        (
            "import flax.linen as nn\nclass M(nn.Module):\n    pass\ndef make(num_classes):\n    return M()",
            "returned a M whose __call__ takes no train",
        ),
        ("def make(num_classes, width):\n    pass", "make fails with TypeError: make() missing 1 required positional"),
        ("def make(num_classes):\n    raise ValueError('no')", "make fails with ValueError: no ("),
        ("def mkae(num_classes):\n    pass", "there is no 'make' in "),
    ],
)
def test_mistakes(tmp_path, content, message):
    assert message in refusal(written(tmp_path, content))


def test_a_file_without_an_object_is_an_unknown_model():
    assert refusal("net.py").endswith("; your own network is named as path/to/file.py:make")


BODY = """
import flax.linen as nn
import jax.numpy as jnp
import numpy as np


class M(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        y = x.reshape(len(x), -1)
        return {}


def make(num_classes):
    return M()
"""


def checked(name):
    check_outputs(name, create_model(name, 3, bn_axis_name="devices"), (4, 4, 1), (3,), "devices")


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("nn.Dense(7)(y)", "returned for 2 images with train=False float32 of shape (2, 7), expected logits (2, 3) of"),
        ("nn.Dense(3)(x)", "of shape (2, 4, 4, 3), expected logits (2, 3)"),
        ("nn.Dense(1)(y)[:, 0]", "of shape (2,), expected logits (2, 3)"),
        ("(nn.Dense(3)(y), 1)", "with train=False an object of type tuple, expected logits (2, 3)"),
        ("nn.Dense(3)(y).astype(jnp.int32)", "int32 of shape (2, 3), expected logits (2, 3) of float32"),
        ("np.asarray(nn.Dense(3)(y))", "fails with TracerArrayConversionError: "),
        ("nn.Dense(3)(y) @ x.nope", "has no attribute nope ("),
        ("jnp.zeros((len(x), 3))", "has no parameters, expected a network that can be trained"),
        ("nn.Dense(3)(nn.Dropout(0.5, deterministic=not train)(y))", "draws at random with train=True, expected a"),
        ("(self.variable('cache', 'n', lambda: x.sum()), nn.Dense(3)(y))[1]", "has variables in cache, expected none"),
        ("nn.Dense(3 + train)(y)", "fails with ScopeParamShapeError"),
        ("nn.Dense(3)(y)[: 2 - train]", "with train=True float32 of shape (1, 3), expected logits (2, 3)"),
    ],
)
def test_outputs_that_are_no_logits(tmp_path, expression, message):
    name = written(tmp_path, BODY.format(expression))
    with pytest.raises(UserError) as caught:
        checked(name)
    assert str(caught.value).startswith(name) and message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("axis", ["None", "'devices'"])
def test_networks_that_pass(tmp_path, axis):
    checked(written(tmp_path, NET, "Net"))
    norm = f"nn.BatchNorm(use_running_average=not train, axis_name={axis})"
    (tmp_path / "other").mkdir()
    checked(written(tmp_path / "other", BODY.format(f"nn.Dense(3)({norm}(y))")))

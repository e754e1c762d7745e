"""Networks and methods that cannot do their work end before any training, in one line."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssdkd_jax import methods, tasks
from ssdkd_jax.jobs import baselines, network_checks
from ssdkd_jax.jobs.context import Context
from ssdkd_jax.jobs.image_spec import ImageSpec, describe_images
from ssdkd_jax.jobs.networks import make_model
from ssdkd_jax.training import memory
from ssdkd_jax.training.clock import Clock
from ssdkd_jax.training.devices import local_devices
from tests import refusals
from tests.tiny_job import config

IMAGES = ImageSpec((8, 8, 1), ("a", "b", "c"), (0.5,), (0.2,))
METHOD = """
import dataclasses
import jax
import jax.numpy as jnp
from ssdkd_jax import inversion
from ssdkd_jax.collectives import axis_size
from ssdkd_jax.methods.image_bank import ImageBank
from ssdkd_jax.settings import setting

@dataclasses.dataclass(frozen=True, kw_only=True)
class Mine(ImageBank):
    power: float = setting(1.0, "of nothing", at_least=0)

    {}

    def make_images(self, state, teacher, drawn, key):
        count = self.synthesis_batch_size // axis_size(self.problem.axis_name)
        images = jax.random.uniform(key, (count, *self.problem.image_shape))
        return inversion.Synthesis(state.synthesis, images, {{}})
"""


@pytest.fixture
def context(tmp_path, monkeypatch):
    """context(devices, **fields)."""
    monkeypatch.setattr(methods, "METHODS", dict(methods.METHODS))

    def made(devices=1, **fields):
        chosen = config(tmp_path / "teachers", epochs=2, **fields)
        return Context(chosen, local_devices(devices), Clock(), False, tmp_path)

    return made


@pytest.fixture
def written(tmp_path):
    """written(content, name) -> path/to/file.py:name."""

    def write(content, name):
        (tmp_path / "mine.py").write_text(content)
        return f"{tmp_path}/mine.py:{name}"

    return write


def check(context, architecture="convnet_8", images=IMAGES, given=None, **kwargs):
    network_checks.check_networks(context, architecture, images, given, **kwargs)


def refusal(*args, **kwargs):
    return refusals.refusal(check, *args, **kwargs)


@pytest.mark.parametrize("devices", [1, 4])
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", None),
        ("required: int", "fails with TypeError: Mine.__init__() missing 1 required keyword-only argument: 'required'"),
        ("def init_synthesis(self, key, teacher): raise KeyError('x')", "fails with KeyError: 'x' (PATH, line 14)"),
        ("def draw(self, state, key): return 1 / 0", "fails with ZeroDivisionError: division by zero (PATH, line 14)"),
        ("def synthesize(self, state, teacher, key): return state", ".synthesize returned State, expected (state, {"),
        (
            "def synthesize(self, state, teacher, key): return state._replace(synthesis=key), {}",
            ".synthesize returned a state of another structure than it was given",
        ),
        (
            "def count_round(self, state): return state._replace(epoch=state.epoch + 1.0)",
            ".train_student returned a state whose epoch is float32 of shape (), expected int32 of shape ()",
        ),
        (
            "def synthesize(self, state, teacher, key): return state, {'loss': jnp.zeros(3)}",
            ".synthesize returned a metric loss that is no scalar",
        ),
        ("def student_loss(self, teacher, student, t): return student.sum(), 0", "fails with TypeError"),
    ],
)
def test_a_method_of_a_users_own(context, written, devices, line, message):
    name = written(METHOD.format(line), "Mine")
    chosen = context(devices, method=name)
    if message is None:
        return check(chosen)
    found = refusal(chosen)
    assert found.startswith(name) and message.replace("PATH", name.rpartition(":")[0]) in found


def test_a_method_that_lacks_its_work(context, written):
    name = written(METHOD.format("").partition("    def make_images")[0], "Mine")
    expected = f"{name} fails with NotImplementedError (image_bank.py, in make_images)"
    assert refusal(context(method=name)) == expected


NET = """
import flax.linen as nn

class Net(nn.Module):
    num_classes: int

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.BatchNorm(use_running_average=not train)(x)
        return nn.Dense({})(x.reshape(len(x), -1))
"""


def test_networks_of_a_users_own(context, written):
    wrong = written(NET.format("self.num_classes + 1"), "Net")
    assert "expected logits (2, 3)" in refusal(context(student__name=wrong))
    assert "expected logits (2, 3)" in refusal(context(), wrong)


def test_a_network_of_a_users_own_that_fails_with_one_image(context, written):
    """With which its variables are made."""
    own = written(NET.format("self.num_classes if len(x) > 1 else 1 // 0"), "Net")
    place = f"{own.partition(':')[0]}, line 10"
    expected = f"{own} fails with ZeroDivisionError: integer division or modulo by zero ({place})"
    assert refusal(context(student__name=own)) == refusal(context(), own) == expected


def test_networks_of_a_users_own_that_work(context, written):
    own = written(NET.format("self.num_classes"), "Net")
    check(context(student__name=own), own)
    assert "unexpected keyword argument 'return_features'" in refusal(context(method="dafl"), own)
    found = refusal(
        context(method="hidfd", hidfd__distillation="kd"),
        own,
        given=baselines.no_given_images((8, 8, 1), tasks.CLASSIFICATION),
    )
    assert found.startswith(f"{own} fails with TypeError: ") and "'return_features'" in found


def test_a_softmax_at_the_end_of_a_users_own(context, written):
    own = written(NET.replace("return nn.Dense", "return nn.softmax(nn.Dense").format("3") + "    )\n", "Net")
    expected = f"{own} returned probabilities (0 or more, with the sum 1 for each image), expected logits: leave out"
    assert refusal(context(student__name=own)).startswith(expected)


def test_a_last_layer_that_begins_with_equal_outputs_is_no_softmax(context, written):
    layer = "3, kernel_init=nn.initializers.zeros, bias_init=nn.initializers.constant(1 / 3)"
    own = written(NET.format(layer), "Net")
    check(context(student__name=own), own)


def test_a_normalization_is_told_by_the_run_alone(context, tmp_path, capsys):
    chosen = context(teacher__path=str(tmp_path)).config
    network_checks.check_job(chosen, tmp_path, "convnet_8")
    assert capsys.readouterr().out == ""
    describe_images(chosen, (8, 8, 1), IMAGES.class_names, {})
    assert capsys.readouterr().out == "assuming normalization 'half'; set it with --config.normalization=NAME\n"


def test_images_that_a_network_cannot_take(context):
    fix = "take another network: --config.image_size=N, --config.{}.name=NAME"
    assert refusal(context(student__name="lenet5")).endswith(fix.format("student"))
    assert refusal(context(method="dafl"), "lenet5").endswith(fix.format("teacher"))


@pytest.mark.parametrize("size", [2, 3, 10])
def test_images_that_no_generator_makes(context, size):
    images = IMAGES._replace(shape=(size, size, 1))
    assert refusal(context(crop_padding=0), images=images).endswith("16 where either is larger: --config.image_size=N")


@pytest.mark.parametrize("method", ["vanilla_kd", "hidfd"])
def test_methods_without_that_generator_take_images_that_it_cannot_make(context, method):
    images = IMAGES._replace(shape=(30, 30, 1))
    given = baselines.no_given_images(images.shape, tasks.CLASSIFICATION)
    check(context(crop_padding=0, method=method), images=images, given=given)


@pytest.mark.parametrize(
    ("fields", "part", "advice"),
    [
        ({"generator__width": 10**8}, "synthesis.generator['params']", "--config.generator.width=N"),
        ({"generator__latent_size": 10**9}, "synthesis.generator['params']", "--config.generator.latent_size=N"),
        ({"ssdkd__buffer_size": 10**7, "ssdkd__views": 0}, "buffer.images", "--config.ssdkd.buffer_size=N"),
        ({"method": "cmi", "cmi__feature_bank_size": 10**7}, "synthesis.", "--config.cmi.feature_bank_size=N"),
        ({"method": "cmi", "cmi__head_size": 10**7}, "synthesis.", "--config.cmi.head_size=N"),
        ({"method": "dafl", "dafl__latent_size": 10**7}, "generator['params']", "--config.dafl.latent_size=N"),
    ],
)
def test_states_beyond_the_memory(context, fields, part, advice, monkeypatch):
    for module in (network_checks, memory):
        monkeypatch.setattr(module, "memory_of", lambda device: 10**8)
    found = refusal(context(**fields))
    assert " GB, but there are " in found and f"; the largest part is {part}" in found
    assert f"choose a smaller {advice}" in found


def test_a_student_beyond_the_memory(context, written):
    content = NET.replace("nn.Dense({})(", "nn.Dense(self.num_classes)(nn.Dense(10**9)(").replace("-1))", "-1)))")
    name = written(content, "Net")
    assert refusal(context(student__name=name)).endswith("choose a smaller student with --config.student.name=NAME")


@pytest.fixture
def given(context):
    """(context, variables) of a teacher that is given."""
    chosen = context(teacher__path="some/teacher")
    model = make_model(chosen, "convnet_8", 3)
    return chosen, jax.tree.map(np.array, model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1))))


def test_a_given_teacher_passes(given):
    chosen, variables = given
    check(chosen, variables=variables)


@pytest.mark.parametrize(
    ("collection", "leaf", "value", "message"),
    [
        ("params", "kernel", np.nan, "is not finite; give another with --config.teacher.path=FILE_OR_FOLDER"),
        ("batch_stats", "mean", np.inf, "mean is not finite"),
        ("batch_stats", "var", -2.0, "var is negative (-2), but is a variance"),
    ],
)
def test_a_given_teacher_that_makes_everything_nan(given, collection, leaf, value, message):
    chosen, variables = given

    def broken(path, array):
        return np.full_like(array, value) if (path[0].key, path[-1].key) == (collection, leaf) else array

    found = refusal(chosen, variables=jax.tree_util.tree_map_with_path(broken, variables))
    assert found.startswith("some/teacher: the teacher's ") and message in found

"""Every config builds with every argument it documents, and says what the code's own defaults say."""

import dataclasses
import importlib

import pytest

from configs import common, presets
from ssdkd_jax import settings
from ssdkd_jax.errors import UserError
from ssdkd_jax.jobs import config_checks
from ssdkd_jax.methods import METHODS
from ssdkd_jax.models import create_generator, model_names
from ssdkd_jax.models.conditional_generator import first_map

PUBLISHED_PAIRS = ("resnet34-resnet18", "vgg11-resnet18", "wrn40_2-wrn16_1", "wrn40_2-wrn40_1", "wrn40_2-wrn16_2")
ARGUMENTS = {
    "digits": (None, "convnet_64-convnet_16"),
    "fashion_mnist": (None, "small", "short", "wrn40_2-wrn16_1,small", "convnet_32-convnet_8"),
    "cifar10": (None, "small", *PUBLISHED_PAIRS, "resnet56_option_a-resnet20,small", "wrn40_2-wrn16_1,small,hidfd"),
    "cifar100": (None, "small", *PUBLISHED_PAIRS, "wrn40_2-wrn16_1,hidfd"),
    "tiny_imagenet": (None, "hidfd", "resnet34-resnet18,small,hidfd"),
    "shapes": (None, "encoder_decoder_16-encoder_decoder_8"),
    "camvid": (None, "small", "deeplabv3_resnet50_os16-deeplabv3_mobilenet_os16"),
    "nyuv2": (None, "small"),
}
CASES = [(name, argument) for name, arguments in ARGUMENTS.items() for argument in arguments]


def build(name, argument):
    return importlib.import_module(f"configs.{name}").get_config(argument)


@pytest.mark.parametrize(("name", "argument"), CASES)
def test_builds_and_makes_sense(name, argument):
    config = build(name, argument)
    config_checks.check_values(config)
    assert config.dataset == {"tiny_imagenet": "folder:tiny-imagenet"}.get(name, name)
    if argument and "-" in argument:
        assert f"{config.teacher.name}-{config.student.name}" == argument.split(",")[0]
    width = config.image_size or {"digits": 8, "fashion_mnist": 28, "tiny_imagenet": 64}.get(name, 32)
    create_generator((width, width, 3), config.generator.latent_size, config.generator.width)
    first_map((width, width, 3))


@pytest.mark.parametrize(("name", "argument"), CASES)
def test_has_the_documented_fields_and_no_others(name, argument):
    def fields(tree, prefix=""):
        for key, value in tree.items():
            yield from fields(value, f"{prefix}{key}.") if hasattr(value, "items") else [prefix + key]

    assert set(fields(build(name, argument))) == set(fields(common.get_common_config()))


@pytest.mark.parametrize("name", METHODS)
def test_every_setting_of_a_method_has_a_meaning(name):
    """And every field of a method's class is one, but for the two that a run gives it."""
    method, described = METHODS[name].method, settings.fields(METHODS[name].method)
    assert {field.name for field in dataclasses.fields(method)} - described.keys() == {"problem", "epochs"}
    assert all(field.metadata["meaning"] for field in described.values())
    assert set(common.get_common_config()[name]) == described.keys() - set(method.without_effect)


def test_the_published_teacher_recipe():
    config = build("cifar10", "wrn40_2-wrn16_1,published_teacher")
    t = config.teacher
    assert (t.epochs, t.batch_size, t.learning_rate, t.weight_decay) == (200, 256, 0.1, 1e-4)
    assert (t.nesterov, t.schedule) == (False, "steps")


@pytest.mark.parametrize("name", METHODS)
def test_a_methods_published_preset(name):
    config = build("cifar10", f"wrn40_2-wrn16_1,{name}")
    assert (config.method, config.epochs, config.teacher.name) == (name, METHODS[name].method.epochs, "wrn40_2")
    published = {"fastdfkd10": (10, 2e-3, 0.01), "fastdfkd5": (5, 3e-3, 0.01), "fastdfkd2": (2, 5e-3, 0.015)}
    if name in published:
        c = config[name]
        assert (c.inversion_steps, c.generator_learning_rate, c.latent_learning_rate) == published[name]
        assert (c.adv, c.oh, c.bn, c.bn_momentum, c.reset_after) == (1.1, 0.4, 10.0, 0.9, 120)


def test_two_methods_at_once():
    with pytest.raises(UserError, match="the argument names several methods: ssdkd, dfq; expected one"):
        build("cifar10", "dfq,ssdkd")


def test_small_is_shorter():
    for name in ("cifar10", "cifar100", "fashion_mnist"):
        assert build(name, "small").epochs < build(name, None).epochs


def test_a_small_run_shortens_no_published_teacher():
    assert build("cifar10", "small").teacher.epochs < 200
    assert build("cifar10", "small,published_teacher").teacher == build("cifar10", "published_teacher").teacher


@pytest.mark.parametrize("preset", ["small", "short"])
@pytest.mark.parametrize(("name", "longer"), [("cmi", "cmi500"), ("deepinversion", "deepinversion2k")])
def test_syntheses_of_hundreds_of_steps_are_cut_alike(name, longer, preset):
    config = build("fashion_mnist", preset)
    assert config[name].inversion_steps == config[longer].inversion_steps


def test_a_field_that_no_method_has_is_not_set_without_a_word():
    with pytest.raises(KeyError, match="none of the methods has a field kd_step"):
        common.set_all_methods(build("digits", None), kd_step=1)


@pytest.mark.parametrize("teacher", ["resnet34", "vgg11", "wrn40_2"])
def test_loss_weights_follow_the_teachers_family(teacher):
    published = {"resnet34": (1.33, 0.5), "vgg11": (1.0, 0.5), "wrn40_2": (1.1, 0.4)}
    config = build("cifar10", f"{teacher}-resnet18")
    assert (config.ssdkd.adv, config.ssdkd.oh) == published[teacher]


def test_buffers_are_a_tenth_of_the_training_sets():
    training_images = {"digits": 1437, "fashion_mnist": 60_000, "cifar10": 50_000, "cifar100": 50_000}
    for name, count in training_images.items():
        assert build(name, None).ssdkd.buffer_size == round(count / 10)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "tiny_imagenet"])
def test_the_student_of_a_small_run_begins_with_a_full_buffer(name):
    ssdkd = build(name, "small").ssdkd
    assert ssdkd.warmup_epochs * ssdkd.synthesis_batch_size >= ssdkd.buffer_size


def test_presets():
    assert presets.parse(None, ("a", "b")) == (("a", "b"), set())
    assert presets.parse("wrn40_2-wrn16_1,small", ("a", "b"), ("small",)) == (("wrn40_2", "wrn16_1"), {"small"})
    assert set(model_names()) >= {"wrn40_2", "wrn16_1"}


@pytest.mark.parametrize("word", ["tiny", "wrn40_2", "wrn40_2-wrn16_9", "wrn40_2-wrn16_1-wrn16_2"])
def test_unknown_preset(word):
    with pytest.raises(UserError, match=f"unknown preset '{word}'; .*expected TEACHER-STUDENT"):
        build("cifar10", word)


@pytest.mark.parametrize(
    ("word", "meant"),
    [("smal", "small"), ("fastdfkd11", "fastdfkd10"), ("resnet34-resnet1", "resnet34-resnet18"), ("wrn40_2-rn", None)],
)
def test_a_preset_that_is_almost_one(word, meant):
    expected = f"; did you mean '{meant}'\\? expected TEACHER" if meant else "; expected TEACHER"
    with pytest.raises(UserError, match=f"^unknown preset '{word}'{expected}"):
        build("cifar10", word)


@pytest.mark.parametrize("argument", ["small,small", "wrn40_2-wrn16_1,small,resnet34-resnet18"])
def test_a_preset_that_is_given_twice(argument):
    with pytest.raises(
        UserError, match=f"the preset is '{argument}', expected each word once, and one TEACHER-STUDENT"
    ):
        build("cifar10", argument)


def test_the_longer_syntheses_of_the_published_tables():
    assert METHODS["cmi500"].changes["inversion_steps"] == 500
    assert METHODS["deepinversion2k"].changes["inversion_steps"] == 2000


def test_the_paper_keeps_every_reading_whatever_the_defaults_become():
    preset = METHODS["ssdkd_paper"]
    described = settings.fields(preset.method)
    readings = {name for name, field in described.items() if "our reading" in field.metadata["meaning"]}
    assert len(readings) >= 9 and readings <= set(preset.changes) <= set(described)
    # As docs/methods.md has them.
    assert (preset.settings["meta_update"], preset.settings["priority"]) == ("fomaml", "weighted_kl")
    assert (preset.settings["kd_steps"], preset.settings["kd_batch_size"], preset.settings["views"]) == (400, 256, 0)


@pytest.mark.parametrize(("name", "argument"), [("digits", None), ("fashion_mnist", "short"), ("cifar10", "small")])
def test_the_paper_has_a_configs_buffer_and_schedule(name, argument):
    config = build(name, argument)
    for field in ("buffer_size", "warmup_epochs", "kd_steps", "kd_batch_size", "inversion_steps", "adv", "oh"):
        assert config.ssdkd_paper[field] == config.ssdkd[field], field

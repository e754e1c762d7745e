"""Configs that cannot be meant, whoever made them: a file of the user's own can set any field to anything."""

import pytest
from ml_collections import ConfigDict, FrozenConfigDict

from configs import digits
from ssdkd_jax.jobs import config_checks
from ssdkd_jax.methods import METHODS, find_method
from tests.refusals import refusal

GONE = object()


def config_with(field, value):
    """A config in which a field has a value of any type, or is gone."""
    config = digits.get_config()
    *sections, name = field.split(".")
    place = config
    for section in sections:
        place = place[section]
    with config.unlocked(), place.ignore_type():
        if value is GONE:
            del place[name]
        else:
            place[name] = value
    return config


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("epochs", "many", "epochs is 'many', expected int such as 220: --config.epochs=..."),
        ("baselines", None, "baselines is None, expected tuple of float: --config.baselines=..."),
        ("baselines", (True,), "baselines is (True,), expected tuple of float"),
        ("baselines", (0.1, 0.1), "baselines is (0.1, 0.1), expected each share once: --config.baselines=..."),
        ("image_shape", None, "image_shape is None, expected tuple of int"),
        ("method", None, "method is None, expected str such as 'ssdkd'"),
        ("dataset", 7, "dataset is 7, expected str"),
        ("ssdkd.alpha", [1], "ssdkd.alpha is [1], expected float such as 0.6: --config.ssdkd.alpha=..."),
        ("cmi.feature_layers", (3,), "cmi.feature_layers is (3,), expected tuple of str"),
        ("export_torch", "no", "export_torch is 'no', expected bool | None"),
        ("ssdkd", 5, "ssdkd is 5, expected a section as of configs.common.get_common_config()"),
        ("teacher", None, "teacher is None, expected a section"),
        ("teacher.path", GONE, "the config lacks teacher.path"),
        ("ssdkd.alpha", GONE, "the config lacks ssdkd.alpha"),
        ("epochs", GONE, "the config lacks epochs"),
        ("ssdkd.alhpa", 1, "a field ssdkd.alhpa that nothing reads; did you mean ssdkd.alpha?"),
        ("extra", 1, "a field extra that nothing reads; --help lists the fields"),
        ("teacher.epochs", 99999999999, "teacher.epochs is 99999999999, expected between 1 and 1000000"),
        ("zskt.kd_steps", 10**12, "zskt.kd_steps is 1000000000000, expected at most 10000000"),
        (
            "ssdkd.temperature",
            1e6,
            "ssdkd.temperature is 1000000.0, expected more than 0 and at most 100: --config.ssd",
        ),
        (
            "dafl.temperature",
            101.0,
            "dafl.temperature is 101.0, expected more than 0 and at most 100: --config.dafl.te",
        ),
        ("teacher.weight_decay", 1e30, "teacher.weight_decay is 1e+30, expected at most 1000000"),
    ],
)
def test_fields_of_any_kind(field, value, expected):
    assert expected in refusal(config_checks.check_values, config_with(field, value))


# But for HiDFD, whose generator always has the loss of a GAN, and what is given its images.
LEARNING_IMAGES = [name for name, preset in METHODS.items() if not preset.method.given]


@pytest.mark.parametrize("name", LEARNING_IMAGES)
def test_images_that_no_loss_shapes(name):
    losses = find_method(name).method.image_losses
    fields = {"method": name, **{f"{name}.{weight}": 0.0 for weight in losses}}
    config = digits.get_config()
    config.update_from_flattened_dict(fields)
    message = refusal(config_checks.check_values, config)
    assert message.startswith(f"{name}.{losses[0]}")
    assert message.endswith(
        ": every weight of a loss that shapes the images is 0, so they would stay noise; expected more than 0 for one "
        f"of them at least: --config.{name}.{losses[0]}=X"
    )
    for weight in losses:  # one is enough
        config[name].update({**dict.fromkeys(losses, 0.0), weight: 0.5})
        config_checks.check_values(config)


@pytest.mark.parametrize("kind", [FrozenConfigDict, dict])
def test_other_kinds_of_configs(kind):
    config = kind(digits.get_config().to_dict())
    assert f"the config is a {kind.__name__}, expected an ml_collections.ConfigDict" in refusal(
        config_checks.check_values, config
    )


def test_a_config_of_plain_values_passes():
    config_checks.check_values(ConfigDict(digits.get_config().to_dict()))


@pytest.mark.parametrize(
    ("field", "fields", "methods", "expected"),
    [
        ("ssdkd.gamma", {"ssdkd.use_difficulty": False}, None, "no effect with use_difficulty=false"),
        ("generator.width", {"method": "deepinversion"}, None, "no effect on deepinversion: without a generator"),
        ("generator.width", {}, ["scratch", "noise_kd"], "no effect on scratch, noise_kd: without a generator"),
        ("generator.latent_size", {"method": "dafl"}, None, "or with a field of its own"),
        ("data_dir", {"dataset": "digits"}, None, "no effect on digits, only on prepared TFDS sets"),
        ("data_dir", {"dataset": "folder:/x"}, None, "no effect on folder:/x"),
        ("data_dir", {"method": "hidfd"}, None, "no effect on digits, photographs, only on prepared TFDS sets"),
        ("ssdkd.phi_scale", {"ssdkd.modulated_term": "none"}, None, "no effect with modulated_term=none"),
        ("hidfd.alpha", {"method": "hidfd"}, None, "no effect with replay=false"),
        ("hidfd.width", {"method": "hidfd", "hidfd.generated_images": 0}, None, "no effect with generated_images=0"),
        (
            "ssdkd.generator_life",
            {},
            None,
            "no effect with synthesis=meta; remove it",
        ),
        ("baselines", {}, ["ssdkd"], "--config.baselines has no effect on a comparison; remove it"),
        ("ssdkd.kd_steps", {"method": "nope"}, None, "unknown method 'nope'; known are: ssdkd"),
        ("ssdkd.kd_steps", {}, ["SSDKD"], "--methods: unknown method 'SSDKD'; did you mean 'ssdkd'?"),
    ],
)
def test_options_without_effect(field, fields, methods, expected):
    config = digits.get_config()
    config.update_from_flattened_dict(fields)
    unused = {"baselines": "on a comparison"}
    assert expected in refusal(config_checks.check_overrides, config, [field], methods, unused)


@pytest.mark.parametrize(
    ("field", "fields", "methods"),
    [
        ("generator.width", {}, ["scratch", "ssdkd"]),
        ("generator.width", {"method": "dafl"}, None),
        ("data_dir", {"method": "transfer_kd", "transfer_kd.images": "cifar100"}, None),
        ("data_dir", {"dataset": "cifar10"}, None),
        ("ssdkd.gamma", {}, None),
        ("data_dir", {"method": "hidfd", "hidfd.images": "cifar10"}, None),
        ("hidfd.gamma", {"method": "hidfd", "hidfd.replay": True}, None),
    ],
)
def test_options_with_an_effect(field, fields, methods):
    config = digits.get_config()
    config.update_from_flattened_dict(fields)
    config_checks.check_overrides(config, [field], methods)


def test_fields_without_effect_are_those_whose_flags_are_refused():
    config = digits.get_config()
    config.update_from_flattened_dict({"teacher.path": "x", "method": "deepinversion", "baselines": ()})
    fields = ["teacher.path", "teacher.epochs", "teacher.batch_size", "generator.width", "seed", "deepinversion.bn"]
    assert config_checks.without_effect(config, fields) == {"teacher.epochs", "teacher.batch_size", "generator.width"}
    config.baselines = (0.1,)
    assert config_checks.without_effect(config, fields) == {"teacher.epochs", "generator.width"}


@pytest.mark.parametrize("path", ["", "x"])
def test_only_what_a_teacher_needs_has_an_effect_without_epochs(path):
    config = digits.get_config()
    config.update_from_flattened_dict({"epochs": 0, "teacher.path": path})
    read = ["epochs", "dataset", "image_size", "normalization", "devices", "evaluation_batch_size", "teacher.name"]
    assert config_checks.unread_without_epochs(config, read) == {}
    of_training = ["teacher.batch_size", "crop_padding", "flip"]
    assert list(config_checks.unread_without_epochs(config, of_training)) == (of_training if path else [])
    for field in (
        "export_torch",
        "ssdkd.alpha",
        "dafl.kd_steps",
        "baselines",
        "student.name",
        "generator.width",
        "seed",
    ):
        unused = config_checks.unread_without_epochs(config, [field])
        message = refusal(config_checks.check_overrides, config, [field], unused=unused)
        assert message == f"--config.{field} has no effect with epochs=0, which only evaluates the teacher; remove it"


def test_all_fields_are_read_with_epochs():
    assert config_checks.unread_without_epochs(digits.get_config(), ["seed", "ssdkd.alpha"]) == {}
    assert set(config_checks.READ_WITHOUT_EPOCHS) < set(digits.get_config())


def test_the_seed_that_was_given_is_named():
    message = refusal(config_checks.check_seeds, 3, first=2**31 - 2)
    assert message.startswith("seed is 2147483646, so the last of 3 seeds is 2147483648, expected less than 2147483648")

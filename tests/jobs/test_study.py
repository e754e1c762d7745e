"""Study files, right and wrong, and the configs of their variants."""

import pathlib

import pytest

from configs import digits
from ssdkd_jax import methods
from ssdkd_jax.errors import UserError
from ssdkd_jax.jobs.study import Study, check_study, folder_name, grid, load_study, variant_configs
from studies.switches import switches
from tests import own_method
from tests.refusals import refusal

ROOT = pathlib.Path(__file__).parents[2]
HEAD = "from configs import digits\nfrom ssdkd_jax.jobs.study import Study\n\n\ndef get_study():\n    "


def a_study(variants, seeds=2, **fields):
    config = digits.get_config()
    config.update_from_flattened_dict({name.replace("__", "."): value for name, value in fields.items()})
    return Study(config, variants, seeds)


def test_a_grid_is_every_combination_under_a_name_of_its_own():
    assert grid({"ssdkd.alpha": [0.0, 0.6], "epochs": [50, 100]}) == {
        "alpha=0 epochs=50": {"ssdkd.alpha": 0.0, "epochs": 50},
        "alpha=0 epochs=100": {"ssdkd.alpha": 0.0, "epochs": 100},
        "alpha=0.6 epochs=50": {"ssdkd.alpha": 0.6, "epochs": 50},
        "alpha=0.6 epochs=100": {"ssdkd.alpha": 0.6, "epochs": 100},
    }
    alike = grid({"ssdkd.kd_steps": [1], "fast.kd_steps": [2], "method": ["a b", ("x", 1)]})
    assert list(alike) == [
        "ssdkd.kd_steps=1 fast.kd_steps=2 method=a_b",
        "ssdkd.kd_steps=1 fast.kd_steps=2 method=('x'_1)",
    ]
    assert len({folder_name(name) for name in alike}) == 2


def test_values_of_a_grid_that_agree_in_six_digits_keep_names_of_their_own():
    assert list(grid({"ssdkd.alpha": [0.1234567, 0.1234568, 0.5]})) == [
        "alpha=0.1234567",
        "alpha=0.1234568",
        "alpha=0.5",
    ]


def test_values_of_a_grid_from_a_generator():
    assert list(grid({"alpha": (x / 10 for x in (1, 2)), "seed": range(2)})) == [
        "alpha=0.1 seed=0",
        "alpha=0.1 seed=1",
        "alpha=0.2 seed=0",
        "alpha=0.2 seed=1",
    ]


def test_a_grid_without_values():
    with pytest.raises(UserError, match=r"the grid has no values for ssdkd.alpha, expected one at least"):
        grid({"ssdkd.alpha": []})


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.5, 0.6, 0.6, 0.5], "the grid has 0.6 and 0.6 for method, one name (0.6); remove one of them"),
        (["a b", "a_b"], "the grid has 'a b' and 'a_b' for method"),
        ([1, 1.0], "the grid has 1 and 1.0 for method"),
    ],
)
def test_values_of_a_grid_under_one_name(values, expected):
    assert refusal(grid, {"method": values, "epochs": [1, 2]}).startswith(expected)


def test_folders_are_named_in_plain_signs():
    assert folder_name("buffer 10 %, no phi") == "buffer_10_percent_no_phi"
    assert folder_name("../up/alpha=0.6") == "up_alpha=0.6"


def test_variants_change_copies_of_the_config():
    study = a_study({"default": {}, "two": {"ssdkd.alpha": 0, "epochs": 7}, "other": {"method": "fast"}})
    configs = variant_configs(study)
    assert [(one.ssdkd.alpha, one.epochs, one.method) for one in configs.values()] == [
        (0.6, 100, "ssdkd"),
        (0.0, 7, "ssdkd"),
        (0.6, 100, "fast"),
    ]
    assert study.config.epochs == 100 and all(one.baselines == () for one in configs.values())
    assert list(variant_configs(study, ["other"])) == ["default", "other"]


def test_a_users_own_method_brings_its_settings(tmp_path, monkeypatch):
    monkeypatch.setattr(methods, "METHODS", dict(methods.METHODS))
    method = own_method.written(tmp_path)
    configs = variant_configs(a_study({"default": {}, "mine": {"method": method, "MyMethod.kd_steps": 3}}))
    assert configs["mine"].MyMethod.kd_steps == 3 and "MyMethod" not in configs["default"]


def test_the_documented_example_is_a_study(tmp_path):
    text = (ROOT / "docs" / "studies.md").read_text()
    (tmp_path / "mine.py").write_text(text.partition("```python\n")[2].partition("```")[0])
    configs = variant_configs(load_study(f"{tmp_path}/mine.py"))
    assert list(configs)[2:4] == ["FastDFKD", "alpha=0.3 buffer_size=1500"] and len(configs) == 7


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("def get_study(:\n", ", line 1: invalid syntax"),
        ("def study():\n    pass\n", "there is no 'get_study' in {path}; did you mean 'study'?"),
        ("get_study = 3\n", "{path}:get_study is 3, expected a function that returns a Study"),
        ("def get_study():\n    pass\n", "returned nothing, expected a Study (ssdkd_jax.jobs.study)"),
        ("def get_study():\n    return {}\n", "returned a dict, expected a Study"),
        ("def get_study(size):\n    pass\n", "fails with TypeError: get_study() missing 1 required positional"),
        (f"{HEAD}return 1 / 0\n", "fails with ZeroDivisionError: division by zero ({path}, line 6)"),
        (f"{HEAD}return Study(digits, {{'a': {{}}}})\n", "{path}: the config is a module, expected an ml_collections"),
        (f"{HEAD}return Study(digits.get_config(), [])\n", "{path}: variants is [], expected {{name: "),
        (f"{HEAD}return Study(digits.get_config(), {{'a': {{}}}}, '3')\n", "{path}: seeds is '3', expected a whole"),
        (f"{HEAD}return Study(digits.get_config(), {{'a': {{}}}}, 0)\n", "{path}: seeds is 0, expected at least 1"),
    ],
)  # fmt: skip
def test_files_that_are_no_studies(tmp_path, content, expected):
    path = tmp_path / "mine.py"
    path.write_text(content)
    assert expected.format(path=path) in refusal(load_study, str(path))


@pytest.mark.parametrize(
    ("variants", "expected"),
    [
        ({}, "variants is {}, expected {name: {field: value}} with one at least"),
        ({3: {}}, "a variant is called 3, expected a text with letters or digits and without commas"),
        ({"a,b": {}}, "a variant is called 'a,b'"),
        ({"%%": {}, "..": {}}, "a variant is called '..'"),
        ({"a": ["epochs"]}, "the variant a is ['epochs'], expected {field: value}"),
        ({"a b": {}, "A/b": {}}, "the variants 'a b' and 'A/b' would have one folder; rename one of them"),
        (
            {"a": {}, "Study.md": {}},
            "the variant 'Study.md' would have the name of a file in the study's folder; rename",
        ),
        ({"study.png": {}}, "the variant 'study.png' would have the name of a file in the study's folder"),
        ({"experiment.json": {}}, "the variant 'experiment.json' would have the name of a file in the study's"),
        ({"a": {"ssdkd.alhpa": 1.0}}, "a: there is no field ssdkd.alhpa; did you mean ssdkd.alpha?"),
        ({"a": {"ssdkd": {}}}, "the variant a sets ssdkd to {}; expected 'ssdkd.FIELD': value"),
        ({"a": {"ssdkd": {"alpha": 1.0}}}, "the variant a sets ssdkd to {'alpha': 1.0}; expected 'ssdkd.alpha': value"),
        ({"a" * 300: {}}, f"the variant {'a' * 40!r}... has 300 letters, expected at most 200"),
        ({"a": {"ssdkd.alpha.x": 1}}, "a: there is no field ssdkd.alpha.x; did you mean ssdkd.alpha?"),
        ({"a": {"epochs": "many"}}, "a: epochs is 'many', expected int such as 100"),
        ({"a": {"ssdkd.alpha": -1.0}}, "a: ssdkd.alpha is -1.0, "),
        ({"a": {"fast.kd_steps": 3}}, "a: --config.fast.kd_steps has no effect on ssdkd; did you mean"),
        ({"a": {"method": "sskd"}}, "a: unknown method 'sskd'; did you mean 'ssdkd'?"),
        ({"a": {"epochs": 0}}, "a: epochs is 0 and evaluate_on is test, but a study is of the accuracies of"),
        ({"a": {"seed": 3}}, "a: seed is the same for all variants; set it in the study's config"),
        ({"a": {"teacher.epochs": 3}}, "a: teacher.epochs is the same for all variants"),
        ({"a": {"dtype": "bfloat16"}}, "a: dtype is the same for all variants"),
        ({"a": {}, "b": {"ssdkd.alpha": 0.6}}, "the variants 'a' and 'b' are the same; remove one of them"),
        (
            {
                "a": {},
                "b": {"ssdkd.alpha": 0.5, "distributed": "off"},
                "c": {"distributed": "off", "export_torch": True},
            },
            "the variants 'a' and 'c' differ only in distributed, export_torch, and that changes no result; remove one",
        ),
        (
            {"a": {"epochs": 4}, "b": {"epochs": 4, "ssdkd.warmup_epochs": 2}},
            "the variants 'a' and 'b' differ only in ssdkd.warmup_epochs, and that changes no result; remove",
        ),
    ],
)
def test_variants_that_cannot_be(variants, expected):
    def check(study):
        check_study(study, study.seeds)
        variant_configs(study)

    assert refusal(check, a_study(variants)).startswith(expected)


def test_other_networks_computations_are_fine_with_a_given_teacher(tmp_path):
    study = a_study({"a": {}, "b": {"dtype": "bfloat16"}}, teacher__path=str(tmp_path))
    assert variant_configs(study)["b"].dtype == "bfloat16"


def test_seeds_that_a_generator_does_not_take():
    expected = "seed is 2147483646, so the last of 3 seeds is 2147483648, expected less than"
    assert refusal(check_study, a_study({"a": {}}, seed=2**31 - 2), 3).startswith(expected)


def test_unknown_names_of_variants():
    study = a_study({"default": {}, "no phi": {"ssdkd.modulated_term": "none"}})
    expected = "--only: there is no variant 'no pi'; did you mean 'no phi'? known are: default, no phi"
    assert refusal(variant_configs, study, ["no pi"]) == expected
    expected = "--only names no phi more than once, expected each variant once"
    assert refusal(variant_configs, study, ["no phi", "no phi"]) == expected


SHIPPED = sorted(path.stem for path in (ROOT / "studies").glob("*.py") if "def get_study" in path.read_text())


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_study_can_be_run(name):
    study = load_study(str(ROOT / "studies" / f"{name}.py"))
    check_study(study, study.seeds)
    assert len(variant_configs(study)) == len(study.variants) > 1
    assert f"studies/{name}.py" in (ROOT / "studies" / f"{name}.py").read_text(), "its command is in its docstring"


@pytest.mark.parametrize(
    "name",
    ["cifar10_16", "cifar10_16_race", "cifar10_16_short", "cifar10_race", "cifar10_resnet20_race", "cifar100_16"],
)
def test_studies_keep_the_schedule_that_cifar_small_had(name):
    config = load_study(str(ROOT / "studies" / f"{name}.py")).config
    for method in ("ssdkd", "fastdfkd5"):
        assert (config[method].kd_steps, config[method].kd_batch_size, config[method].warmup_epochs) == (40, 128, 10)
    assert (config.ssdkd.priority, config.ssdkd.beta_end) == ("weighted_kl", 1.0)


@pytest.mark.parametrize("path", ["digits_ablation", "fashion_mnist_ablation"])
def test_every_switch_of_the_paper_is_varied(path):
    study = load_study(str(ROOT / "studies" / f"{path}.py"))
    configs = variant_configs(study)
    assert next(iter(configs)) == "default" and len(configs) == 17
    ours = [one.ssdkd for one in configs.values()]
    assert {one.replacement for one in ours} == {"oldest", "lowest_priority", "lowest_phi", "random"}
    assert {one.modulated_term for one in ours} > {"none", "both"}
    assert len({one.buffer_size for one in ours}) == 4
    assert all(one.synthesis_batch_size <= one.buffer_size for one in ours)


def test_the_configs_own_switches_are_no_variants():
    config = digits.get_config()
    config.ssdkd.replacement, config.ssdkd.buffer_size = "oldest", 100
    variants = switches(config.ssdkd, training_images=1000)
    assert "replace oldest" not in variants and "buffer 10 %" not in variants and "replace lowest phi" in variants
    assert variants["buffer 1 %"] == {"ssdkd.buffer_size": 10, "ssdkd.synthesis_batch_size": 10}


@pytest.mark.parametrize("path", ["digits_readings", "fashion_mnist_readings"])
def test_every_switch_of_ours_is_varied(path):
    configs = variant_configs(load_study(str(ROOT / "studies" / f"{path}.py")))
    ours = [one.ssdkd for one in configs.values()]
    assert {one.replacement for one in ours} == {"oldest", "lowest_priority", "lowest_phi", "random", "quota"}
    assert {one.targets for one in ours} == {"own", "drawn", "lacking"}
    for field in ("phi_scale", "modulate_student", "insertion", "bn_floor", "synthesis", "meta_update", "oh", "gamma"):
        assert len({one[field] for one in ours}) > 1, field

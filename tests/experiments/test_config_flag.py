"""Config files that are not there or not in order, fields that are not there, names that can be listed."""

import sys

import pytest
from absl import flags

import ssdkd_jax
from experiments import config_flag, flag_mistakes
from ssdkd_jax import methods
from ssdkd_jax.errors import UserError
from ssdkd_jax.models import model_names
from tests import own_method, programs, refusals

FILES = {
    "returns something else": ("def get_config(a=None):\n    return {'a': 1}\n", "get_config() returned a dict"),
    "syntax": ("def get_config(a=None:\n    pass\n", "c.py, line 1: "),
    "exception": (
        "def get_config(a=None):\n    x = 1\n    return x / 0\n",
        "c.py, line 3: ZeroDivisionError",
    ),
    "no function": ("x = 1\n", "c.py has no function get_config()"),
    "returns nothing": ("def get_config(a=None):\n    pass\n", "get_config() returned nothing, expected an ml_coll"),
    "returns what cannot be changed": (
        "from configs import digits\nfrom ml_collections import FrozenConfigDict\n"
        "def get_config(a=None):\n    return FrozenConfigDict(digits.get_config())\n",
        "get_config() returned a FrozenConfigDict, expected an ml_collections.ConfigDict",
    ),
    "needs arguments": (
        "def get_config(a, b):\n    pass\n",
        "c.py: get_config() missing 2 required positional arguments: 'a' and 'b'; expected `def get_config(arg",
    ),
    "is no function": ("get_config = 5\n", "c.py: 'int' object is not callable; expected `def get_config(argument"),
    "holds a NUL byte": ("x\0y", "c.py: source code string cannot contain null bytes"),
    "exits": ("import sys\ndef get_config(a=None):\n    sys.exit(3)\n", "c.py, line 3: SystemExit: 3"),
    "field of another type": (
        "from configs import digits\n"
        "def get_config(a=None):\n    c = digits.get_config()\n    with c.ignore_type():\n"
        "        c.epochs = 'many'\n    return c\n",
        "c.py: epochs is 'many', expected int such as 220",
    ),
    "assigns another type": (
        "from configs import digits\ndef get_config(a=None):\n    c = digits.get_config()\n    c.epochs = '3'\n",
        "c.py, line 4: TypeError: Could not override field 'epochs'",
    ),
    "lacks fields": (
        "import ml_collections\ndef get_config(a=None):\n    return ml_collections.ConfigDict({'seed': 1})\n",
        "the config lacks allow_weak_teacher, baselines, ",
    ),
}


@pytest.fixture
def refusal(monkeypatch):
    """refusal(*arguments): the one line with which reading them ends."""
    monkeypatch.setattr(flags, "FLAGS", flags.FlagValues())
    monkeypatch.delitem(sys.modules, "config_config", raising=False)  # ml_collections runs every file in that module
    config_flag.define("Config.")
    flags.DEFINE_integer("repeats", 1, "A number.", flag_values=flags.FLAGS)
    flags.DEFINE_float("seconds", 1.0, "A number.", lower_bound=0, flag_values=flags.FLAGS)
    flags.DEFINE_bool("again", False, "A switch.", flag_values=flags.FLAGS)
    flags.DEFINE_list("names", [], "Names.", flag_values=flags.FLAGS)
    flags.DEFINE_enum("dtype", "bfloat16", ["bfloat16", "float32"], "A choice.", flag_values=flags.FLAGS)
    for name in ("log_dir", "only_check_args", "librarys_switch"):
        flags.DEFINE_bool(name, False, "Does nothing.", flag_values=flags.FLAGS, module_name="absl.app")
    flags.DEFINE_integer(
        "verbosity", 0, "Nothing.", short_name="v", flag_values=flags.FLAGS, module_name="absl.logging"
    )

    def refuse(*arguments):
        return refusals.refusal(config_flag.read_flags, ["main.py", *arguments], "main.py --config=configs/digits.py")

    return refuse


@pytest.mark.parametrize("case", FILES)
def test_a_config_file_that_is_not_in_order(refusal, tmp_path, case):
    content, expected = FILES[case]
    (tmp_path / "c.py").write_text(content)
    message = refusal(f"--config={tmp_path / 'c.py'}")
    assert expected in message and str(tmp_path / "c.py") in message


def test_a_config_file_in_ones_home(refusal, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.py").write_text("from configs.digits import get_config\n")
    config_flag.read_flags(["main.py", "--config=~/mine.py:convnet_8-convnet_8"], "main.py")
    assert flags.FLAGS.config.teacher.name == "convnet_8"


@pytest.mark.parametrize(("returned", "kind"), [("(1, 2)", "a tuple"), ("None", "nothing"), ("{}", "a dict")])
def test_a_config_that_is_none_is_not_blamed_on_a_field(refusal, tmp_path, returned, kind):
    (tmp_path / "c.py").write_text(f"def get_config(a=None):\n    return {returned}\n")
    message = refusal(f"--config={tmp_path / 'c.py'}", "--config.epochs=3")
    assert message.startswith(f"{tmp_path / 'c.py'}: get_config() returned {kind}, expected an ml_collections.ConfigDi")


def test_a_field_of_a_section_that_is_none(refusal, tmp_path):
    content = "from configs import digits\ndef get_config(a=None):\n    c = digits.get_config()\n"
    (tmp_path / "c.py").write_text(content + "    with c.ignore_type():\n        c.teacher = 'resnet'\n    return c\n")
    message = refusal(f"--config={tmp_path / 'c.py'}", "--config.teacher.name=lenet5")
    assert "c.py: a section that the command line changes is none; begin with" in message


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--config=cifar10"], "--config is given twice: --config="),
        (
            ["--config.epochs=2", "--config.epochs=3"],
            "--config.epochs is given twice: --config.epochs=2 --config.epoch",
        ),
        (
            ["--config.epochs", "2", "-config.epochs=2"],
            "--config.epochs is given twice: --config.epochs 2 -config.epoc",
        ),
        (["--repeats=2", "--config.epochs=3", "--repeats", "3"], "--repeats is given twice: --repeats=2 --repeats 3;"),
        (["--again", "--noagain"], "--again is given twice: --again --noagain; expected one"),
        (["--config.flip", "--noconfig.flip"], "--config.flip is given twice: --config.flip --noconfig.flip; expected"),
        (["--seconds=nan"], "--seconds=nan, expected a number; for example: main.py"),
        (["--config.ssdkd=5"], "ssdkd is a section: --config.ssdkd.FIELD=..."),
        (["--config.teacher=convnet_8"], "teacher is a section: --config.teacher.FIELD=..."),
        (
            ["--config.epochs.x=5"],
            "epochs has no fields of its own, as in --config.epochs.x; expected --config.epochs=V",
        ),
        (
            ["--config.ssdkd.alpha.x.y=5"],
            "ssdkd.alpha has no fields of its own, as in --config.ssdkd.alpha.x.y; expect",
        ),
        (
            ["-config.dataset.upper=5"],
            "dataset has no fields of its own, as in -config.dataset.upper; expected --confi",
        ),
        (["--noconfig.flip.x"], "flip has no fields of its own, as in --noconfig.flip.x; expected --config.flip=VALUE"),
        (["--config.epochs=many"], "--config.epochs=many: expected a whole number"),
        (["--config.ssdkd.alpha=x"], "--config.ssdkd.alpha=x: expected a number"),
        (["--config.export_torch=yes"], "--config.export_torch=yes: expected true or false"),
        (["--config.baselines=(a,)"], "baselines is ('(a,)',), expected tuple of float"),
        (["--epochs=5"], "unknown flag --epochs; did you mean --config.epochs=...?; for example: main.py"),
        (["--confg.epochs=5"], "unknown flag --confg.epochs; did you mean --config.epochs=...?; for example: main.py"),
        (["--repeat=5"], "unknown flag --repeat; did you mean --repeats?; for example: main.py"),
        (["--methods=ssdk"], "unknown flag --methods; did you mean --config.method=...?; for example: main.py"),
        (["--epoch=5"], "unknown flag --epoch; did you mean --config.epochs=...?; for example: main.py"),
        (["--dtype=bfloat"], "--dtype=bfloat: did you mean 'bfloat16'? expected one of: bfloat16, float32; for ex"),
        (["--dtype=int"], "--dtype=int: expected one of: bfloat16, float32; for example: main.py"),
        (["--log_dirs=5"], "unknown flag --log_dirs; for example: main.py"),
        (["--only_check_args"], "unknown flag --only_check_args; for example: main.py"),
        (["--v=3"], "unknown flag --v; for example: main.py"),
        (["--nolibrarys_switch"], "unknown flag --nolibrarys_switch; for example: main.py"),
        (["--undefok=x", "--x=3"], "unknown flag --undefok; for example: main.py"),
        (
            ["--names=a,,b"],
            "--names=a,,b has an empty name, expected names with a comma between two; for example: main",
        ),
        (["--names=,"], "--names=, has an empty name"),
        (["--names="], "--names= names nothing, expected names"),
        (["--repeats=x"], "--repeats=x: expected a whole number; for example: main.py"),
        (["--flagfile=/nowhere"], "--flagfile is not read"),
        (["--config.method=nope", "--config.ssdkd.kd_steps=4"], "unknown method 'nope'; known are: ssdkd, "),
        (["--config.method=SSDKD", "--config.ssdkd.kd_steps=4"], "unknown method 'SSDKD'; did you mean 'ssdkd'?"),
    ],
)
def test_flags_that_cannot_be_meant(refusal, arguments, expected):
    assert refusal("--config=digits", *arguments).startswith(expected)


def test_what_only_looks_like_a_flag_given_twice(refusal):
    """`refusal` has defined the flags."""
    arguments = ["--config=digits", "--repeats", "2", "--again", "twice", "--config.ssdkd.gamma", "1", "--seconds=1"]
    rest = config_flag.read_flags(["main.py", *arguments, "--", "--repeats=2", "--repeats=2"], "main.py")
    assert rest == ["twice", "--repeats=2", "--repeats=2"]


@pytest.mark.parametrize("separator", ["=", " "])
def test_a_users_own_method_has_its_section(refusal, tmp_path, monkeypatch, separator):
    monkeypatch.setitem(methods.METHODS, "MyMethod", None)  # so that it is forgotten afterwards
    del methods.METHODS["MyMethod"]
    method = f"--config.method{separator}{own_method.written(tmp_path)}".split(" ")
    config_flag.read_flags(["main.py", "--config=digits", *method, "--config.MyMethod.gamma=2"], "main.py")
    assert flags.FLAGS.config.MyMethod.gamma == 2


def test_a_field_without_a_config(refusal):
    assert refusal("--config.epochs=4").startswith("--config.epochs changes a config, and none is given; expected")


def test_fields_that_lack_the_name_of_the_config():
    assert flag_mistakes.meant_field(["x", "ssdkd.alpha=1"]) == "; did you mean --config.ssdkd.alpha=...?"
    assert flag_mistakes.meant_field(["x", "alpha=1", "epochs"]) == ""


@pytest.mark.parametrize("given", [["--config=digits", "--config.method=ssdkd"], ["--config=digits"], []])
def test_a_flag_that_is_missing_where_a_field_was_set_in_its_place(refusal, given):
    config_flag.read_flags(["main.py", *given], "main.py --config=configs/digits.py")
    expected = ", which takes the place of --config.method" if len(given) == 2 else ""
    assert config_flag.in_place_of_a_field(["--workdir", "--methods"]) == expected


def program(*arguments):
    return programs.run("main", *arguments)


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--config.ssdkd.alhpa=1", "unknown config field --config.ssdkd.alhpa; did you mean --config.ssdkd.alpha?"),
        (
            "--config.evaluate-every=3",
            "unknown config field --config.evaluate-every; did you mean --config.evaluate_ev",
        ),
        ("--config.baselines[0]=0.5", "unknown config field --config.baselines[0]; did you mean --config.baselines?"),
        ("--config.epocs=3", "unknown config field --config.epocs; did you mean --config.epochs?"),
        ("--config=configs/digts.py", "there is no config file 'configs/digts.py'; did you mean configs/digits.py?"),
        ("--config.cmi.cr=1", "--config.cmi.cr has no effect on ssdkd"),
        ("--config.dfad.temperature=2", "unknown config field --config.dfad.temperature"),
    ],
)
def test_words_that_are_not_known_get_the_closest_match(tmp_path, argument, expected):
    arguments = [argument] if argument.startswith("--config=") else ["--config=digits", argument]
    status, out, err = program(*arguments, f"--workdir={tmp_path / 'run'}")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert expected in err


def test_names_are_listed():
    assert config_flag.names_of("networks") == model_names()
    assert {"ssdkd", "cmi500"} <= set(config_flag.names_of("methods"))
    images, maps = ["cifar10", "cifar100", "digits", "fashion_mnist", "tiny_imagenet"], ["camvid", "nyuv2", "shapes"]
    assert config_flag.names_of("configs") == sorted(images + maps)
    with pytest.raises(UserError, match="--list=x, expected one of: methods, networks, configs"):
        config_flag.names_of("x")
    with pytest.raises(UserError, match=r"--list=method, did you mean 'methods'\? expected one of: methods, "):
        config_flag.names_of("method")


def test_help_prints_every_field_with_its_meaning_and_range():
    status, out, _ = program("--help", "--config=digits")
    assert status == 0
    assert "--config.ssdkd.alpha=0.6: exponent of the priorities; 0 draws uniformly (0 or more)" in out
    assert "other methods are ssdkd_paper, fastdfkd, " in out and "  --config: Config file, with" in out
    assert "--config.epochs=100: " in out and "--list: methods, networks or configs" in out


def test_the_version_names_packages_and_devices():
    status, out, _ = program("--version")
    assert status == 0
    own, packages, devices = out.splitlines()
    assert own.startswith(f"ssdkd_jax {ssdkd_jax.__version__}")
    assert packages.startswith("python 3.") and "jax 0." in packages and " x " in devices

"""The benchmark of a config's programs: what it cannot time is refused, and what it times is written."""

import functools
import json
import math
import types

import jax
import jax.numpy as jnp
import pytest

from ssdkd_jax.errors import UserError
from ssdkd_jax.jobs import networks
from ssdkd_jax.jobs.config_checks import check_overrides
from ssdkd_jax.jobs.provenance import usable_cores
from ssdkd_jax.reports import tables
from ssdkd_jax.reports.results_files import read_result
from ssdkd_jax.speed import flops, peer, timing, workload
from ssdkd_jax.speed.benchmark import KIND, benchmark
from ssdkd_jax.speed.timing import Budget
from tests import tiny_job

BRIEF = Budget(2, 0.0)
# Steps with the teacher.
config = functools.partial(tiny_job.config, "", ssdkd__kd_steps=3, ssdkd__views=0)


@pytest.fixture
def uncompiled(monkeypatch):
    """Weights of zeros, which no program makes."""

    def zeros(init, *arguments):
        return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(init, *arguments))

    monkeypatch.setattr(workload, "jit_for_one_call", lambda init: functools.partial(zeros, init))


@pytest.mark.parametrize(
    ("fields", "options", "expected"),
    [
        ({"epochs": 0}, {}, "epochs is 0, in which nothing is trained"),
        ({"method": "vanilla_kd"}, {}, "method is vanilla_kd, which is given images"),
        (
            {"method": "fastdfkd", "fastdfkd__bank_megabytes": 0.02},
            {},
            "allow more: --config.fastdfkd.bank_megabytes=N",
        ),
        ({"student__name": "encoder_decoder_8"}, {}, "encoder_decoder_8 is a network for segmentation, but digits is"),
        ({"teacher__name": "lenet5", "image_size": 32}, {}, "the teacher lenet5 has no BatchNorm layers, but ssdkd"),
        ({"method": "fastdfkd"}, {"against": "torch"}, "--against=torch compares ssdkd: --config.method=ssdkd"),
        ({"ssdkd__meta_update": "none"}, {"against": "torch"}, "has none: --config.ssdkd.meta_update=fomaml"),
        ({"student__name": "vgg8"}, {"against": "torch"}, "has no vgg8, expected one of wrn10_1, wrn10_2, wrn16_1"),
        ({}, {"budget": Budget(2, math.nan)}, "--seconds=nan, expected a finite number of seconds"),
        ({}, {"against": "torch", "variants": ["egaer"]}, "has 'egaer', did you mean 'eager'? expected some of eager,"),
        ({}, {"against": "torch", "variants": ["lazy"]}, "--variants has 'lazy', expected some of eager,"),
    ],
)
def test_mistakes(tmp_path, uncompiled, fields, options, expected):
    with pytest.raises(UserError) as error:
        benchmark(config(**fields), tmp_path / "out.json", **{"budget": BRIEF, **options})
    assert expected in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "out.json").exists()


def test_results_of_another_config_are_kept(tmp_path, uncompiled):
    about = {"kind": KIND, "method": "ssdkd", "teacher": "resnet34"}
    (tmp_path / "out.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match=r"out.json holds results of hardware=None, and these are of \d+ core"):
        benchmark(config(), tmp_path / "out.json", budget=BRIEF)
    assert json.loads((tmp_path / "out.json").read_text()) == about


@pytest.mark.parametrize("field", ["epochs", "seed", "distributed", "ssdkd.warmup_epochs", "teacher.epochs"])
def test_fields_without_effect_are_refused(field):
    with pytest.raises(UserError, match=f"--config.{field} has no effect on the benchmark; remove it"):
        check_overrides(config(), [field], unused=dict.fromkeys(workload.UNUSED, "on the benchmark"))


def test_torch_has_one_gpu_or_all_cores_that_virtual_devices_share(uncompiled):
    work = workload.make_workload(config(devices=2))
    assert peer.make_spec(work, BRIEF)["threads"] == len(usable_cores())
    gpus = [types.SimpleNamespace(platform="gpu")] * 2
    with pytest.raises(UserError, match=r"on one device, but there are 2: --config\.devices=1"):
        peer.make_spec(work._replace(context=work.context._replace(devices=gpus)), BRIEF)


@pytest.mark.parametrize(("views", "kept"), [(0, 0), (2, 2), (50, 9)])
def test_torch_keeps_no_more_views_than_there_are(uncompiled, views, kept):
    assert peer.make_spec(workload.make_workload(config(ssdkd__views=views)), BRIEF)["views"] == kept


def test_torch_that_is_not_there(tmp_path, monkeypatch, uncompiled):
    monkeypatch.setattr(peer.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs PyTorch; install it: pip install torch"):
        benchmark(config(), tmp_path / "out.json", budget=BRIEF, against="torch")


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return next_to_torch(tmp_path_factory, config(), command="the command")


def next_to_torch(tmp_path_factory, config, **options):
    """What the file of a brief benchmark holds."""
    out = tmp_path_factory.mktemp("speed") / "out.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flops, "ROWS", {"cpu": 64})
        # Several threads wait for each other where other tests keep the cores busy.
        patch.setattr(peer, "usable_cores", lambda: [0])
        benchmark(config, out, budget=BRIEF, against="torch", **options)
    return read_result(out)


STEPS = {"student step", "student step without teacher", "synthesis", "inversion step", "epoch"}
OTHERS = {"evaluation of 1,000 images", "matrix product"} | {
    f"buffer: {name}" for name in ("insert", "sample", "read", "update_priorities")
}


def test_everything_is_timed_on_both_sides(result):
    times = result["milliseconds"]
    assert set(times) == set(result["ratios"]) == STEPS | OTHERS
    assert all(value["calls"] == 2 and value["quartiles"][0] <= value["median"] for value in times.values())
    assert times["inversion step"]["median"] == pytest.approx(times["synthesis"]["median"] / 2)
    # Of two calls the median is the mean, so that the parts add up to less than the whole.
    parts = times["synthesis"]["median"] + 3 * times["student step"]["median"]
    assert 0.999 * parts < times["epoch"]["median"]
    assert set(result["torch"]) == {"eager", "eager_channels_last"} and result["torch_settings"]["threads"] == 1
    assert set(result["compile_seconds"]) == {"synthesis", "student"}
    assert result["memory_bytes"]["planned for synthesis"] > 0


def test_ratios_are_against_the_fastest(result):
    eager, last = (result["torch"][name]["milliseconds"] for name in ("eager", "eager_channels_last"))
    fastest = {name: min(eager[name]["median"], last[name]["median"]) for name in eager}
    fastest["epoch"] = fastest["synthesis"] + 3 * fastest["student step"]
    fastest["inversion step"] = fastest["synthesis"] / 2
    for name, found in result["ratios"].items():
        assert found["ratio"] == pytest.approx(fastest[name] / result["milliseconds"][name]["median"])


def test_with_kept_views_an_inversion_step_is_of_the_synthesis_without_them(tmp_path_factory):
    found = next_to_torch(tmp_path_factory, config(ssdkd__views=2), variants=["eager"])
    assert set(found["milliseconds"]) == set(found["ratios"]) == STEPS | OTHERS | {"synthesis without views"}
    ours = {name: time["median"] for name, time in found["milliseconds"].items()}
    theirs = {name: ratio["milliseconds"] for name, ratio in found["ratios"].items()}
    for times in (ours, theirs):
        assert times["inversion step"] == pytest.approx(times["synthesis without views"] / 2)
    assert found["share_of_matrix_product"].keys() == {"inversion step", "student step without teacher"}


def test_operations_are_counted(result):
    # Of convnet_8 for 16 images: 3x3 convolutions at 8x8, 4x4 and 2x2 pixels, without the products with the padding.
    first = 2 * 16 * (3 * 8 - 2) ** 2 * 8
    forward = first + 2 * 16 * ((3 * 4 - 1) ** 2 * 8 * 16 + (3 * 2 - 1) ** 2 * 16 * 32)
    # The teacher forward, the student forward and twice backward, but for the first layer's input.
    assert 1 < result["flops"]["student step"] / (4 * forward - first) < 1.2
    product = result["milliseconds"]["matrix product"]
    per_second = 1000 * result["flops"]["student step"] / result["milliseconds"]["student step"]["median"]
    assert result["share_of_matrix_product"]["student step"] == pytest.approx(per_second / product["flops_per_second"])
    assert product["flops_per_second"] == pytest.approx(2 * 64**3 / (product["median"] / 1000))


def test_what_is_counted_does_not_depend_on_the_form_of_the_convolutions(uncompiled, monkeypatch):
    def counted():
        work = workload.make_workload(config(devices=1))
        state, teacher = jax.tree.map(lambda x: x[None], (work.state, work.teacher))
        return flops.inversion_step_flops(work.method, state, teacher, work.context.devices)

    of_ours = counted()
    monkeypatch.setattr(networks, "loop_friendly_conv_general_dilated", None)
    assert of_ours == counted() > 0


def test_its_table(result):
    text = tables.markdown(result)
    assert "| milliseconds | median | quartiles | PyTorch | its fastest | ratio |" in text
    assert "| epoch | " in text and "Memory: planned for synthesis" in text
    assert f"Load average before: {result['host']['load_average']:.1f}." in text
    assert (
        f"`the command`, {result['hardware']}, {result['date']}, ssdkd_jax {result['versions']['ssdkd_jax']}." in text
    )
    alone = {name: value for name, value in result.items() if name not in ("ratios", "torch")}
    assert "| milliseconds | median | quartiles |\n" in tables.markdown(alone)


def test_a_side_that_fails_is_named(monkeypatch):
    monkeypatch.setattr(peer.sys, "executable", "/bin/false")
    with pytest.raises(UserError, match="PyTorch's side ended with status 1: no message"):
        peer.run({}, print)


@pytest.mark.parametrize(("seconds", "calls"), [(0.0, 3), (1000.0, 7)])
def test_calls_end_with_the_budget(seconds, calls):
    done = []
    assert timing.repeat(lambda: done.append(None), Budget(7, seconds), warmups=2) == [None] * calls
    assert len(done) == calls + 2


def test_a_summary():
    found = timing.summary([0.004, 0.002, 0.008, 0.006, 0.010], units=2)
    assert found == {"median": pytest.approx(3.0), "quartiles": pytest.approx([2.0, 4.0]), "calls": 5}
    assert timing.summary([0.5])["quartiles"] == [500.0, 500.0]

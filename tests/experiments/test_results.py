"""Results and the README's tables: made from each other, never by hand."""

import pathlib

import pytest

from experiments.results import fill, load, time_table
from ssdkd_jax.errors import UserError
from ssdkd_jax.jobs.ablation import summarize, variants

ROOT = pathlib.Path(__file__).parents[2]
RESULT = {
    "kind": "ablation",
    "command": "python -m experiments.ablate",
    "hardware": "2 cores",
    "date": "2026-01-02",
    "dataset": "digits",
    "teacher": "convnet_32",
    "teacher_accuracy": 99.0,
    "seconds": {"inversion": 1.0, "distillation": 2.0, "host": 1.0},
}


def test_the_readme_holds_what_the_results_say():
    readme = (ROOT / "README.md").read_text()
    assert fill(readme, load(ROOT / "results")) == readme, "run python -m experiments.results --readme=README.md"


def test_a_difference_counts_only_beyond_twice_its_standard_error():
    rows = summarize({"default": [90.0, 92.0], "close": [91.0, 93.0], "far": [80.0, 80.0]})
    assert rows["default"]["std"] == pytest.approx(2**0.5)
    assert rows["close"]["noise"] == pytest.approx(2 * 2**0.5)
    assert not rows["close"]["exceeds_noise"]
    assert rows["far"]["difference"] == -11 and rows["far"]["exceeds_noise"]


def test_an_ablation_becomes_a_table_with_its_command():
    result = RESULT | {"variants": summarize({"default": [90.0, 92.0], "no phi": [80.0, 80.0]})}
    filled = fill("<!-- results:one -->old<!-- end --> rest", {"one": result})
    assert "| no phi | 80.00 ± 0.00 | -11.00 | **yes** |" in filled
    assert "`python -m experiments.ablate`, 2 cores, 2026-01-02." in filled
    assert "old" not in filled and filled.endswith(" rest")
    assert fill(filled, {"one": result}) == filled


def test_shares_of_time_add_up():
    row = time_table([RESULT]).splitlines()[-1]
    assert row == "| digits (4 s) | 25.0 % | 50.0 % | 0.0 % | 0.0 % | 25.0 % |"


def test_unknown_results_and_open_markers_are_refused():
    with pytest.raises(UserError, match=r"no results file missing\.json"):
        fill("<!-- results:missing --><!-- end -->", {})
    with pytest.raises(UserError, match="close it"):
        fill("<!-- results:one -->", {"one": RESULT})


def test_every_switch_of_the_paper_is_varied():
    changed = variants(training_images=1000, synthesis_batch_size=64)
    assert changed["default"] == {}
    assert changed["buffer 1 %"] == {"buffer_size": 10, "synthesis_batch_size": 10}
    assert changed["buffer 20 %"] == {"buffer_size": 200, "synthesis_batch_size": 64}
    assert {change["replacement"] for change in changed.values() if "replacement" in change} == {
        "lowest_priority", "oldest", "lowest_phi", "random",
    }  # fmt: skip

"""The epochs of compared methods, and from those of runs back to the comparison's."""

import json

import pytest

from ssdkd_jax.jobs import comparison, experiment
from ssdkd_jax.jobs.compared_epochs import Schedule, epochs_that_give, schedules
from ssdkd_jax.jobs.experiment import identity
from ssdkd_jax.jobs.finished_runs import folder_of
from tests import refusals, tiny_job

METHODS = ["scratch", "ssdkd", "fast"]


def config(epochs, warmup=20):
    return tiny_job.config("teachers", epochs=epochs, ssdkd__warmup_epochs=warmup, fast__warmup_epochs=6)


@pytest.mark.parametrize("epochs", [1, 2, 5, 6, 7, 13, 20, 21, 60])
@pytest.mark.parametrize("methods", [METHODS, METHODS[:1], METHODS[1:]])
def test_the_way_back(epochs, methods):
    there = schedules(config(epochs), methods)
    found = epochs_that_give(config(999), there.items())
    assert schedules(config(found), methods) == there
    if "ssdkd" in methods:  # whose warm-up is the longest
        assert found == epochs


def test_epochs_of_no_comparison():
    assert epochs_that_give(config(60), [("scratch", Schedule(40, 0)), ("ssdkd", Schedule(61, 20))]) is None


@pytest.fixture
def begun(tmp_path):
    """begun(config, methods, seeds) -> folder of a comparison in which all of these runs have begun."""

    def begin(one, methods, seeds=1):
        for (method, seed), planned in comparison._configs(one, methods, seeds).items():
            folder_of(tmp_path, method, seed).mkdir(parents=True, exist_ok=True)
            experiment.claim(folder_of(tmp_path, method, seed), identity(planned))
        return tmp_path

    return begin


def refusal(one, methods, folder, seeds=1):
    return refusals.refusal(comparison.compare, one, methods, seeds, folder)


def test_other_epochs_of_a_comparison_are_told_as_its_own(begun):
    """Those of a method, which has fewer, would be refused again."""
    folder = begun(config(60), METHODS)
    for epochs in (80, 40):
        expected = f"scratch, seed 0: the workdir {folder}/scratch/seed0 belongs to another experiment: epochs is 40"
        found = refusal(config(epochs), METHODS, folder)
        assert found.startswith(
            f"{expected} there and {epochs - 20} here; a run's schedule is planned for all its epoc"
        )
        assert found.endswith("choose another --workdir=DIR, or repeat the comparison's settings: --config.epochs=60")
    comparison._check_epochs(config(60), comparison._configs(config(60), METHODS, 1), folder)


def test_other_warm_ups_change_the_epochs_too(begun):
    folder = begun(config(60), METHODS)
    assert refusal(config(60, warmup=30), METHODS, folder).endswith("settings: --config.ssdkd.warmup_epochs=20")
    # The only run that has begun has no warm-up.
    assert refusal(config(60, warmup=30), ["scratch"], folder).endswith("comparison's settings: --config.epochs=70")


def test_runs_of_several_comparisons_have_no_epochs_in_common(begun):
    folder = begun(config(60), ["scratch"])
    path = folder_of(folder, "scratch", 1)
    path.mkdir()
    there = json.loads((folder / "scratch/seed0/experiment.json").read_text())
    experiment.claim(path, {**there, "seed": 1, "epochs": 30})
    assert refusal(config(80), ["scratch"], folder, seeds=2).endswith("choose another --workdir=DIR")


def test_a_run_of_another_place_is_told_with_the_flags_of_a_comparison(begun):
    """Of those of a run by itself, --config.method is refused by one, and --config.seed chooses another place."""
    folder = begun(config(60), ["scratch"])
    scratch, ssdkd = folder_of(folder, "scratch", 0), folder_of(folder, "ssdkd", 4)
    ssdkd.parent.mkdir()
    scratch.rename(ssdkd)
    one = config(60)
    one.seed = 4
    found = refusal(one, ["ssdkd"], folder)
    assert found.startswith(
        f"ssdkd, seed 4: the workdir {ssdkd} belongs to another experiment: method is 'scratch' there"
    )
    assert found.endswith(f"move it to {scratch}, where --methods=scratch --config.seed=0 --seeds=1 finds it")
    ssdkd.rename(scratch)
    comparison._check_places(comparison._configs(config(60), ["scratch"], 1), folder)
    scratch.rename(folder_of(folder, "scratch", 4))
    assert "seed is 0 there and 4 here" in refusal(one, ["scratch"], folder)
    begun(config(60), ["scratch"])
    assert refusal(one, ["scratch"], folder).endswith(
        f"move {folder}/scratch/seed4 elsewhere, since there is a run of its method and seed: --methods=scratch "
        "--config.seed=0 --seeds=1"
    )


def test_a_run_with_baselines_is_none_of_a_comparison(begun):
    folder = begun(config(60), ["scratch"])
    path = folder_of(folder, "scratch", 0) / "experiment.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "baselines": [0.1]}))
    found = refusal(config(60), ["scratch"], folder)
    assert "baselines is [0.1] there and [] here; choose another --workdir=DIR, or move " in found
    assert "--config" not in found


def test_a_users_method_of_the_same_name_is_chosen_by_its_file(begun):
    there = {"method": "/here/one.py:Pixels", "seed": 0}
    place = folder_of("runs", "Pixels", 0)
    expected = "repeat its settings: --methods=/here/one.py:Pixels --config.seed=0 --seeds=1"
    assert comparison._other_place(there, place, "runs") == expected


@pytest.mark.parametrize("content", ['{"epochs": "many", "scratch": {"warmup_epochs": 0}}', '{"scratch": 3}'])
def test_what_notes_no_epochs_is_left_to_the_check_of_each_run(tmp_path, content):
    path = folder_of(tmp_path, "scratch", 0)
    path.mkdir(parents=True)
    (path / "experiment.json").write_text(content)
    comparison._check_epochs(config(60), comparison._configs(config(60), ["scratch"], 1), tmp_path)

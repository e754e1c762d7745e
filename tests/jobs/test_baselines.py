"""The images that a run's method is given, before and after they are read."""

import numpy as np
import pytest

from configs import digits
from ssdkd_jax.data import collected
from ssdkd_jax.errors import UserError
from ssdkd_jax.jobs import baselines
from ssdkd_jax.training import memory
from tests import refusals


def config(**fields):
    chosen = digits.get_config()
    chosen.method = "hidfd"
    chosen.update_from_flattened_dict({name.replace("__", "."): value for name, value in fields.items()})
    return chosen


def refusal(**fields):
    return refusals.refusal(baselines.check_given_images, config(**fields))


def test_images_of_ones_own_data_set_are_refused_however_it_is_spelled(tmp_path):
    assert refusal(hidfd__images="digits").startswith("hidfd.images is digits, the run's own data set")
    assert refusal(hidfd__images="/no/where").startswith("hidfd.images: there is no folder /no/where; expected a f")
    found = refusal(dataset=f"folder:{tmp_path}", hidfd__images=f"{tmp_path}/.")
    assert found.startswith(f"hidfd.images is {tmp_path}/., the run's own data set; expected another one")


@pytest.mark.parametrize(
    ("images", "own"),
    [
        ("set/train", "set/train"),
        ("set/test/cat/more", "set/test/cat/more"),
        (".", "set/train"),
        ("linked", "set/train/cat"),
    ],
)
def test_images_among_those_of_ones_own_data_set_are_refused(tmp_path, images, own):
    for folder in ("set/train/cat", "set/test/cat/more", "linked"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "linked" / "cats").symlink_to(tmp_path / "set" / "train" / "cat")
    found = refusal(dataset=f"folder:{tmp_path}/set", hidfd__images=f"folder:{tmp_path}/{images}")
    assert f"of which {tmp_path}/{own} belongs to the run's own data set; expected other images, such as --con" in found


def test_images_beside_those_of_ones_own_data_set_are_others(tmp_path):
    for folder in ("set/train/cat", "set/collected"):
        (tmp_path / folder).mkdir(parents=True)
    assert collected.shared_folder(f"{tmp_path}/set/collected", f"folder:{tmp_path}/set") is None
    assert collected.shared_folder("photographs", f"folder:{tmp_path}/set") is None


@pytest.mark.parametrize(("by", "count"), [("random", "500"), ("classes", "2,000")])
def test_more_images_than_the_machine_has_room_for(by, count, monkeypatch):
    monkeypatch.setattr(memory, "memory_of", lambda device: 50_000)
    assert refusal(hidfd__collected_by=by).startswith(f"{count} collected images (8, 8, 1)")
    assert refusal(hidfd__collected_by=by).endswith("take fewer: --config.hidfd.collected_images=N")


@pytest.mark.parametrize(
    ("by", "count", "advice"),
    [
        ("random", 500, "collected_images=N"),
        ("classes", 600, "take fewer at random: --config.hidfd.collected_by=random"),
    ],
)
def test_more_files_than_the_machine_has_room_for(by, count, advice, monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "memory_of", lambda device: 50_000)
    for number in range(600):
        (tmp_path / f"{number}.png").touch()
    found = refusal(hidfd__images=str(tmp_path), hidfd__collected_by=by)
    assert found.startswith(f"{count} collected images (8, 8, 1)") and found.endswith(advice)


def test_a_data_set_larger_than_the_machine(monkeypatch):
    monkeypatch.setattr(memory, "memory_of", lambda device: 50_000)
    monkeypatch.setattr(collected, "count", lambda name, data_dir, most: 60_000)
    found = refusal(hidfd__images="cifar10")
    assert found.endswith("choose a smaller set, or a folder: --config.hidfd.images=FOLDER")


def test_the_teacher_chooses_among_more_crops_than_it_keeps():
    chosen = config(hidfd__collected_by="confidence", hidfd__collected_images=30)
    given = baselines.given_images(chosen)
    assert given.images.shape == (120, 8, 8, 1)

    def predict(images):
        return np.zeros(len(images), int), np.linspace(0, 1, len(images))

    kept = baselines.labeled(chosen, given, predict, ("zero",))
    np.testing.assert_array_equal(kept.images, given.images[90:])
    assert kept.source == f"30 collected images of {collected.PHOTOGRAPHS}"


def test_a_choice_of_nothing_is_told(capsys):
    chosen = config(hidfd__collected_by="confidence", hidfd__collected_images=30)
    given = baselines.GivenImages("a folder", np.zeros((20, 8, 8, 1), np.uint8), np.zeros(20, np.int32))
    kept = baselines.labeled(chosen, given, lambda images: (np.zeros(20, int), np.ones(20)), ("zero",))
    assert len(kept.images) == 20
    assert "in 100%; all are kept, so that collected_by=confidence had nothing" in capsys.readouterr().out


@pytest.mark.parametrize("method", ["vanilla_kd", "scratch"])
def test_a_share_of_the_real_images_has_that_share_of_every_class(method):
    every, few = (baselines.given_images(config(method=method, **{f"{method}__share": share})) for share in (1.0, 0.1))
    assert (every.source, few.source) == ("the real training set", "10% of the real training set")
    counts = [np.bincount(given.labels) for given in (every, few)]
    np.testing.assert_array_equal(counts[1], np.round(0.1 * counts[0]))


def test_a_share_of_less_than_one_image_of_a_class_is_refused():
    with pytest.raises(UserError, match=r"scratch.share holds 0.001, .* --config.scratch.share=0.00\d+$"):
        baselines.given_images(config(method="scratch", scratch__share=0.001))

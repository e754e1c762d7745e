"""Mistakes: each ends at once with one line that names what is wrong and what fixes it, and nothing is lost."""

import os
import shutil
import time

import numpy as np
import pytest
import torch
from PIL import Image

from ssdkd_jax import interop
from ssdkd_jax.errors import UserError
from ssdkd_jax.jobs import run_folder
from ssdkd_jax.models import registry
from ssdkd_jax.models.architecture import Architecture
from ssdkd_jax.outputs import make_folder
from ssdkd_jax.training import saved_network, supervised
from tests.tiny_job import arguments, command_line, job

# As many epochs would take hours: anything that gets past the checks is noticed.
LONG = {"epochs": 10**6, "teacher__epochs": 10**6}


@pytest.fixture(autouse=True)
def no_training(monkeypatch):
    """Mistakes are found before any training."""

    def forbidden(*args, **kwargs):
        raise AssertionError("the mistake was not found before the training")

    monkeypatch.setattr(supervised, "train", forbidden)
    monkeypatch.setattr("ssdkd_jax.jobs.run.distill", forbidden)


@pytest.fixture
def refusal(cache_dir, tmp_path):
    """refusal(**fields): the one line with which a job of these fields ends."""

    def refuse(folder=tmp_path / "job", **fields):
        with pytest.raises(UserError) as error:
            job(folder, cache_dir, **{**LONG, **fields})
        message = str(error.value)
        assert "\n" not in message
        return message

    return refuse


# On the real command line


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (["--config.nope=1"], "unknown config field --config.nope"),
        (["--config.epochs=many"], "--config.epochs=many: expected a whole number"),
        (["--config=configs/digits.py:tiny"], "unknown preset 'tiny'; expected TEACHER-STUDENT"),
        (["--config=configs/nothing.py"], "there is no config file 'configs/nothing.py'"),
        (["--config.image_shape=(8,8)", "--config.evaluate_on=none"], "image_shape is (8, 8), expected (height, width"),
    ],
    ids=["field", "type", "preset", "file", "tuple"],
)
def test_command_line(tmp_path, extra, expected):
    config, *usual = arguments(tmp_path / "job", tmp_path)
    own = [argument for argument in extra if argument.startswith("--config=")]
    others = [argument for argument in extra if argument not in own]
    usual = [
        argument for argument in usual if argument.partition("=")[0] not in {one.partition("=")[0] for one in others}
    ]
    status, out, err = command_line([*(own or [config]), *usual, *others])
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert expected in err
    assert not (tmp_path / "job" / "experiment.json").exists(), "a mistake must not claim the folder"


def test_set_that_is_not_prepared_is_told_within_seconds(tmp_path):
    start = time.monotonic()
    command = [f"--workdir={tmp_path / 'job'}", "--config=configs/cifar10.py", f"--config.data_dir={tmp_path}"]
    status, out, err = command_line(command)
    assert (status, out) == (2, "")
    assert err.startswith(f"error: cifar10 is not prepared: looked in {tmp_path}; prepare it: pip install tensorflow")
    assert err.count("\n") == 1
    assert time.monotonic() - start < 45  # mostly imports, on a busy machine; a look into the network takes minutes


class RunsCode:
    """Pickled, it asks the reader to create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_weights_that_would_run_code_are_not_loaded(tmp_path):
    torch.save({"conv1.weight": RunsCode(tmp_path / "executed")}, tmp_path / "evil.pth")
    command = arguments(tmp_path / "job", tmp_path, teacher__path=tmp_path / "evil.pth")
    status, _, err = command_line(command)
    assert status == 2
    assert err.count("\n") == 1
    assert "evil.pth holds Python objects" in err
    assert not (tmp_path / "executed").exists()


# Names and numbers


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"teacher__name": "convnet_9"}, "unknown model 'convnet_9'; did you mean 'convnet_8'?"),
        ({"student__name": "resnet19"}, "unknown model 'resnet19'; did you mean 'resnet18'?"),
        ({"dataset": "digit"}, "unknown data set 'digit', and nothing of that name in"),
        ({"method": "sskd"}, "unknown method 'sskd'; did you mean 'ssdkd'? known are: ssdkd"),
        ({"evaluate_on": "train"}, "evaluate_on is 'train', expected one of: test, none"),
        ({"param_dtype": "bfloat16"}, "param_dtype is 'bfloat16', expected one of: float32"),
        ({"teacher__schedule": "linear"}, "teacher.schedule is 'linear', expected one of: cosine, steps"),
        ({"ssdkd__priority": "loss"}, "ssdkd.priority is 'loss', expected one of: weighted_kl, kl"),
        ({"ssdkd__buffer_dtype": "int3"}, "ssdkd.buffer_dtype is 'int3', expected one of: uint8"),
        ({"devices": 64}, "devices=64, but this machine has 8"),
        ({"devices": -1}, "devices is -1, expected 0 or more"),
        ({"devices": 3}, "ssdkd.synthesis_batch_size=16 cannot be divided over 3 devices; use a multiple of 3"),
        (
            {"devices": 8, "teacher__batch_size": 100},
            "teacher.batch_size=100 cannot be divided over 8 devices",
        ),
        ({"ssdkd__buffer_size": 10}, "ssdkd.buffer_size is 10, expected at least one batch"),
        ({"epochs": -1}, "epochs is -1, expected between 0 and 1000000"),
        ({"evaluate_every": 0}, "evaluate_every is 0, expected at least 1"),
        ({"seed": -1}, "seed is -1, expected at least 0"),
        ({"ssdkd__gamma": -0.5}, "ssdkd.gamma is -0.5, expected 0 or more"),
        ({"ssdkd__student_learning_rate": 0.0}, "ssdkd.student_learning_rate is 0.0, expected more than 0"),
        ({"ssdkd__student_learning_rate": float("inf")}, "ssdkd.student_learning_rate is inf"),
        ({"ssdkd__adv": float("nan")}, "ssdkd.adv is nan"),
        ({"ssdkd__bn_momentum": 1.0}, "ssdkd.bn_momentum is 1.0, expected at least 0 and less than 1"),
        ({"ssdkd__beta_end": 1.5}, "ssdkd.beta_end is 1.5, expected between 0 and 1"),
        ({"baselines": (10.0,)}, "baselines holds 10.0, expected shares"),
        ({"image_shape": (8, 8, 1)}, "image_shape is for data sets that are not built in"),
        ({"normalization": "cifar10"}, "normalization 'cifar10' has 3 means and 3 standard deviations, but the images"),
        ({"normalization": "imagnet"}, "unknown normalization 'imagnet'; did you mean 'imagenet'? known are: cifar10"),
        ({"teacher__name": "vgg11", "image_size": 4}, "vgg takes images from 8x8 pixels on, these are 4x4"),
        ({"evaluate_on": "none"}, "no teacher can be trained; give one with --config.teacher.path="),
        ({"teacher__name": ""}, "there is no teacher: give --config.teacher.path="),
        (
            {"method": "transfer_kd"},
            "transfer_kd.images is '', expected another data set, such as --config.transfer_kd.images=folder:/path",
        ),
        ({"method": "transfer_kd", "transfer_kd__images": "nonsense"}, "unknown data set 'nonsense'"),
        ({"method": "dfq", "dfq__kd_steps": 61}, "dfq.kd_steps is 61, expected a multiple of kd_steps_per_round=10"),
        ({"method": "dfq", "dfq__kd_steps_per_round": 0}, "dfq.kd_steps_per_round is 0, expected at least 1"),
        ({"method": "cmi", "cmi__feature_bank_size": 7}, "cmi.feature_bank_size is 7, expected at least one batch"),
        ({"method": "fastdfkd", "fastdfkd__bank_megabytes": 1e-3}, "fastdfkd.bank_megabytes is 0.001, expected at"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_names_and_numbers(refusal, fields, expected):
    assert expected in refusal(**fields)


# The teacher


def test_teacher_that_is_not_there(refusal, tmp_path):
    assert f"there is no teacher at {tmp_path}/t.pth; give" in refusal(teacher__path=f"{tmp_path}/t.pth")
    assert "there is no teacher at gs://b/t.pth (addresses are not read: down" in refusal(teacher__path="gs://b/t.pth")


def test_truncated_file(refusal, tmp_path, teacher):
    variables, _ = saved_network.load_network(teacher)
    path = tmp_path / "t.pth"
    torch.save(as_torch("convnet_8", variables), path)
    path.write_bytes(path.read_bytes()[:-100])
    assert f"{path} is truncated or no PyTorch file" in refusal(teacher__path=str(path))


def as_torch(name, variables):
    return {name: torch.from_numpy(value) for name, value in interop.to_torch_state_dict(name, variables).items()}


def test_file_of_another_architecture(refusal, tmp_path, teacher):
    """The first tensor that differs is named, with both shapes."""
    variables, _ = saved_network.load_network(teacher)
    torch.save(as_torch("convnet_8", variables), tmp_path / "t.pth")
    message = refusal(teacher__path=str(tmp_path / "t.pth"), teacher__name="convnet_16")
    assert f"{tmp_path}/t.pth is no convnet_16" in message
    assert "has shape (8, 1, 3, 3), expected (16, 1, 3, 3)" in message


def test_folder_of_another_architecture(refusal, teacher):
    message = refusal(teacher__path=str(teacher), teacher__name="resnet18")
    assert "holds a convnet_8, but the config says resnet18; use --config.teacher.name=convnet_8" in message


def test_folder_with_other_classes(refusal, teacher, tmp_path):
    message = refusal(
        teacher__path=str(teacher),
        teacher__name="",
        dataset="cifar100",
        evaluate_on="none",
        data_dir=str(tmp_path),
    )
    assert "is (3, 3, 1, 8), expected (3, 3, 3, 8) for convnet_8 with 100 classes and 3 channels" in message


def test_folder_without_a_network(refusal, tmp_path):
    message = refusal(teacher__path=str(tmp_path))
    assert "is not a saved network: there is no network.json in it" in message
    assert message.endswith("such as <workdir>/student, or a PyTorch file (.pth, .pt, .th, .safetensors)")


@pytest.mark.parametrize("damage", ["arrays", "metadata", "fields"])
def test_damaged_folder(refusal, teacher, damage):
    if damage == "arrays":
        for file in teacher.glob("variables/**/d/*"):
            file.write_bytes(file.read_bytes()[:10])
    else:
        (teacher / "network.json").write_text({"metadata": '{"archi', "fields": "{}"}[damage])
    message = refusal(teacher__path=str(teacher), teacher__name="")
    assert f"{teacher} cannot be read as a network" in message
    assert "save or train it again" in message


def test_folder_of_another_size_of_images(refusal, teacher):
    message = refusal(teacher__path=str(teacher), image_size=16)
    assert "the teacher is for images (8, 8, 1), but the run's are (16, 16, 1)" in message


def test_test_images_are_looked_for_before_a_teacher_is_trained(refusal, tmp_path):
    a_folder(tmp_path / "images", 8, splits=["train"])
    assert "no images found for the split 'test'" in refusal(dataset=f"folder:{tmp_path}/images")


def test_one_class_is_refused(refusal, tmp_path):
    a_folder(tmp_path / "images", 8, classes=["only"])
    assert f"folder:{tmp_path}/images has a single class" in refusal(dataset=f"folder:{tmp_path}/images")


def test_teacher_without_batch_norm(refusal, monkeypatch):
    import flax.linen as nn

    class Plain(nn.Module):
        num_classes: int

        @nn.compact
        def __call__(self, x, train=False):
            return nn.Dense(self.num_classes)(x.reshape(len(x), -1))

    monkeypatch.setitem(registry.ARCHITECTURES, "plain", Architecture(lambda num_classes, layers: Plain(num_classes)))
    assert "the teacher plain has no BatchNorm layers" in refusal(teacher__name="plain")


# Data and folders


def a_folder(path, side, splits=("train", "test"), classes=("a", "b")):
    """One black gray image in each class of each split."""
    for split in splits:
        for label in classes:
            folder = path / split / label
            folder.mkdir(parents=True)
            Image.fromarray(np.zeros((side, side), np.uint8)).save(folder / f"{split}.png")


def test_images_that_the_generator_cannot_make(refusal, tmp_path):
    a_folder(tmp_path / "images", 9)
    message = refusal(dataset=f"folder:{tmp_path}/images")
    assert "cannot generate images of (height, width, channels) = (9, 9, 1)" in message


def test_workdir_of_another_experiment(refusal, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "copy")
    before = (tmp_path / "copy" / "summary.json").read_bytes()
    message = refusal(tmp_path / "copy", epochs=8, teacher__epochs=3, ssdkd__alpha=0.25)
    assert "belongs to another experiment: ssdkd.alpha is 0.6 there and 0.25 here" in message
    assert (tmp_path / "copy" / "summary.json").read_bytes() == before


def test_workdir_that_cannot_be_written(refusal, tmp_path):
    (tmp_path / "file").write_text("")
    message = refusal(tmp_path / "file" / "job")
    assert (
        f"{tmp_path}/file is no folder, but a file, so {tmp_path}/file/job cannot be in it; choose another" in message
    )


def test_disk_that_is_too_small(refusal, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 10**5, 10**5))
    message = refusal()
    assert f"the disk of {tmp_path}/job has 0.1 MB free, expected" in message
    assert "make room" in message


def test_mistake_does_not_claim_the_folder(refusal, tmp_path):
    refusal(student__name="resnet19")
    refusal(dataset="digit")
    refusal(tmp_path / "other" / "job", teacher__path=str(tmp_path / "other"))
    assert not list(tmp_path.iterdir()), "an empty folder would be left behind"


def test_second_run_in_the_same_folder(refusal, tmp_path):
    with run_folder.alone(make_folder(tmp_path / "job")):
        assert "another run is using the workdir" in refusal()

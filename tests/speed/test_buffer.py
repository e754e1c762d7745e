"""The benchmark of the buffer: what it cannot measure is refused, and what it measures is written."""

import json

import jax
import jax.numpy as jnp
import pytest

from configs import digits, shapes
from ssdkd_jax import replay_buffer
from ssdkd_jax.errors import UserError
from ssdkd_jax.speed.buffer import benchmark, buffer_times
from ssdkd_jax.speed.timing import Budget
from ssdkd_jax.speed.workload import filled


def test_maps_have_no_such_buffer(tmp_path):
    with pytest.raises(UserError, match="shapes is for segmentation, but the buffer is timed with a class for each"):
        benchmark(shapes.get_config(), 400, 1, tmp_path / "out.json")


@pytest.mark.parametrize(
    ("method", "capacity", "name", "expected"),
    [
        ("fastdfkd", 100, "out.json", "method is fastdfkd, but the benchmark is of ssdkd's buffer"),
        ("ssdkd", 63, "out.json", "capacity is 63, expected at least one batch (ssdkd.synthesis_batch_size=64)"),
        ("ssdkd", 10**13, "out.json", "two buffers of 10,000,000,000,000 images (8, 8, 1) take at least"),
        ("ssdkd", 100, "out.txt", "ends in '.txt', expected a file that ends in .json"),
    ],
)
def test_mistakes(tmp_path, method, capacity, name, expected):
    config = digits.get_config()
    config.method = method
    with pytest.raises(UserError) as error:
        benchmark(config, capacity, 1, tmp_path / name)
    assert expected in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("ssdkd.kd_batch_size", 10**7 * 10**3, "ssdkd.kd_batch_size is 10000000000, expected at most 10000000"),
        ("ssdkd.kd_batch_size", 10**7, "choose smaller batches: --config.ssdkd.kd_batch_size=N"),
        ("image_size", 100_000, "choose smaller images: --config.image_size=N, or smaller batches"),
    ],
)
def test_sizes_beyond_the_machine(tmp_path, monkeypatch, field, value, expected):
    monkeypatch.setattr("ssdkd_jax.training.memory.memory_of", lambda device: 10**9)
    config = digits.get_config()
    config.update_from_flattened_dict({field: value})
    with pytest.raises(UserError) as error:
        benchmark(config, 100, 1, tmp_path / "out.json")
    assert expected in str(error.value)


def test_a_buffer_of_maps_is_timed_within_a_benchmark():
    settings = shapes.get_config().ssdkd
    shares = jnp.zeros((100, 4))
    empty = replay_buffer.init(100, (8, 8, 3), predicted_class=shares)
    buffer = filled(empty, 4, jax.random.key(0))
    assert buffer.predicted_class.shape == shares.shape and jnp.allclose(buffer.predicted_class.sum(1), 1)
    times = buffer_times(settings, buffer, Budget(1, 0.0))
    assert set(times) == {"insert", "sample", "read", "update_priorities"}


def test_a_student_without_batchnorm_is_timed(tmp_path):
    config = digits.get_config("convnet_8-lenet5")
    config.image_size = 32
    benchmark(config, 100, 1, tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text())["student"] == "lenet5"


def test_every_operation_is_timed(tmp_path):
    config = digits.get_config("convnet_8-convnet_8")
    benchmark(config, 100, 1, tmp_path / "out.json")
    result = json.loads((tmp_path / "out.json").read_text())
    assert result["kind"] == "buffer_benchmark" and result["capacity"] == 100
    assert set(result["milliseconds"]) == {"insert", "sample", "read", "update_priorities", "student step"}
    assert all(value > 0 for value in result["milliseconds"].values())
    with pytest.raises(
        UserError, match=r"out\.json holds results of capacity=100, and these are of 101; choose another"
    ):
        benchmark(config, 101, 1, tmp_path / "out.json")

"""metrics.jsonl and TensorBoard, also over interruptions."""

import json

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ssdkd_jax.training.metrics_log import MetricsLog


def write(folder, epochs, done=0):
    log = MetricsLog(folder, done)
    for epoch in epochs:
        log.write(epoch, {"loss": 10.0 * epoch + done})
    log.close()


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_going_on_drops_what_came_after_the_checkpoint(tmp_path):
    """Epochs 3 and 4 were done, but the checkpoint is of epoch 2."""
    write(tmp_path, [1, 2, 3, 4])
    write(tmp_path, [3, 4, 5], done=2)
    assert [(line["epoch"], line["loss"]) for line in lines(tmp_path)] == [(1, 10), (2, 20), (3, 32), (4, 42), (5, 52)]
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("loss")
    assert [(event.step, event.value) for event in events] == [(1, 10), (2, 20), (3, 32), (4, 42), (5, 52)]


def test_epochs_without_a_checkpoint_are_told(tmp_path, capsys):
    write(tmp_path, [1, 2])
    write(tmp_path, [1])
    told = f"{tmp_path}/metrics.jsonl has 2 epochs, but there is no checkpoint: they are computed again\n"
    assert capsys.readouterr().out == told


# Deeper than Python's parser goes.
NESTED = "[" * 100_000 + "]" * 100_000 + "\n"


@pytest.mark.parametrize(
    "garbage",
    ['{"epoch": 3, "lo', "{garbage}\n", "{}\n", "[1]\n", '{"epoch": null}\n', '{"epoch": Infinity}\n', NESTED],
    ids=range(7),
)
def test_damaged_lines_are_dropped(tmp_path, garbage):
    write(tmp_path, [1, 2])
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(garbage)
    write(tmp_path, [3], done=2)
    assert [line["epoch"] for line in lines(tmp_path)] == [1, 2, 3]


def test_a_log_that_lacks_epochs_is_kept_and_told(tmp_path, capsys):
    write(tmp_path, [1, 2, 3])
    path = tmp_path / "metrics.jsonl"
    damaged = path.read_text().replace('"epoch": 2', '"epoch: 2')
    path.write_text(damaged)
    capsys.readouterr()
    write(tmp_path, [4], done=3)
    assert [line["epoch"] for line in lines(tmp_path)] == [1, 3, 4]
    assert (tmp_path / "metrics.jsonl.damaged").read_text() == damaged
    assert capsys.readouterr().out == (
        f"{path} lacks 1 of the epochs so far, the first is 2; as it was it is kept as metrics.jsonl.damaged; the run "
        "goes on, its curves will have a gap\n"
    )


def test_every_damaged_log_is_kept(tmp_path):
    write(tmp_path, [1, 3])
    for _ in range(3):
        write(tmp_path, [4], done=3)
    kept = sorted(path.name for path in tmp_path.glob("*.damaged*"))
    assert kept == ["metrics.jsonl.damaged", "metrics.jsonl.damaged1", "metrics.jsonl.damaged2"]


def test_a_log_that_is_gone_is_told(tmp_path, capsys):
    write(tmp_path, [3], done=2)
    assert "metrics.jsonl lacks 2 of the epochs so far, the first is 1; the run goes on" in capsys.readouterr().out


def test_the_log_of_another_run_is_kept_and_told(tmp_path, capsys):
    log = MetricsLog(tmp_path)
    log.write(1, {"loss": 1.0})
    own = log.sha256()
    log.close()
    MetricsLog(tmp_path, done=1, sha256=own).close()
    assert MetricsLog(tmp_path, done=1, sha256=own).sha256() == own
    assert capsys.readouterr().out == ""
    path, others = tmp_path / "metrics.jsonl", '{"epoch": 1, "loss": 2.0}\n'
    path.write_text(others)
    MetricsLog(tmp_path, done=1, sha256=own).close()
    assert (path.read_text(), (tmp_path / "metrics.jsonl.damaged").read_text()) == ("", others)
    assert capsys.readouterr().out == (
        f"{path} is not the log of this run, by its checkpoint; as it was it is kept as metrics.jsonl.damaged; the run "
        "goes on, its curves begin at epoch 2\n"
    )


def test_new_run_starts_anew(tmp_path):
    write(tmp_path, [1, 2, 3])
    write(tmp_path, [1])
    assert [line["epoch"] for line in lines(tmp_path)] == [1]

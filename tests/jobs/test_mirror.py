"""A run's folder and its copy in a bucket, here fsspec's file system in memory."""

import json
import shutil

import fsspec
import pytest

from ssdkd_jax.errors import UserError
from ssdkd_jax.jobs import experiment, mirror
from ssdkd_jax.jobs.mirror import Mirror
from tests.tiny_job import wait_until

ADDRESS = "memory://bucket/run"


@pytest.fixture(autouse=True)
def empty_bucket():
    fsspec.filesystem("memory").store.clear()


def any_run(noted):
    """A check to which no run is another."""


def write(folder, **files):
    """Files by name, in which two underscores are a slash."""
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("json", ".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def run_at(folder, epoch, seed=0):
    """A folder as a run leaves it after so many epochs, with one checkpoint."""
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    write(folder, experimentjson=json.dumps({"seed": seed, "epochs": 9}))
    write(folder, metricsjsonl="".join(f"epoch {done}\n" for done in range(epoch)))
    write(folder, **{f"checkpoints__latest__{epoch}__state": f"state of {epoch}"})
    return folder


def content(folder):
    """{name: text} of all files in a folder."""
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def there(name):
    return fsspec.filesystem("memory").cat_file(f"/bucket/run/{name}").decode()


def test_an_empty_folder_gets_what_another_has_sent(tmp_path):
    one, two = run_at(tmp_path / "one", 3), tmp_path / "two"
    two.mkdir()
    Mirror(ADDRESS).send(one)
    Mirror(ADDRESS).fetch(two, any_run)
    assert content(two) == content(one)


def test_a_checkpoint_is_deleted_there_when_it_is_here(tmp_path):
    copy = Mirror(ADDRESS)
    copy.send(run_at(tmp_path, 3))
    write(tmp_path, notes="of the user")
    copy.send(run_at(tmp_path, 4))
    (tmp_path / "notes").unlink()
    copy.send(tmp_path)
    names = set(copy._names_there())
    assert names == {"experiment.json", "metrics.jsonl", "notes", "checkpoints/latest/4/state"}
    assert there("metrics.jsonl").count("epoch") == 4


def test_only_what_has_changed_is_sent(tmp_path, monkeypatch):
    copy = Mirror(ADDRESS)
    copy.send(run_at(tmp_path, 3))
    sent = []
    monkeypatch.setattr(copy, "_send_file", lambda folder, name: sent.append(name))
    copy.send(tmp_path)
    assert sent == []
    write(tmp_path, metricsjsonl="another line")
    copy.send(tmp_path)
    assert sent == ["metrics.jsonl"]


def test_what_is_fetched_is_not_sent_again(tmp_path, monkeypatch):
    Mirror(ADDRESS).send(run_at(tmp_path / "one", 3))
    (tmp_path / "two").mkdir()
    copy = Mirror(ADDRESS)
    copy.fetch(tmp_path / "two", any_run)
    monkeypatch.setattr(copy, "_send_file", lambda folder, name: pytest.fail(name))
    copy.send(tmp_path / "two")


def test_locks_and_unfinished_files_stay_here(tmp_path):
    run_at(tmp_path, 3)
    write(tmp_path, **{"checkpoints__latest__4.orbax-checkpoint-tmp-1__state": "", ".lock": "", "networkjson.part": ""})
    (tmp_path / "checkpoints/latest/3/d.__lock").touch()
    copy = Mirror(ADDRESS)
    copy.send(tmp_path)
    assert sorted(copy._names_there()) == ["checkpoints/latest/3/state", "experiment.json", "metrics.jsonl"]


@pytest.mark.parametrize(("here", "kept"), [(2, "state of 5"), (5, "mine"), (7, "mine")])
def test_the_run_that_is_further_goes_on(tmp_path, here, kept):
    Mirror(ADDRESS).send(run_at(tmp_path / "one", 5))
    two = run_at(tmp_path / "two", here)
    write(two, **{f"checkpoints__latest__{here}__state": "mine"})
    Mirror(ADDRESS).fetch(two, any_run)
    newest = max((two / "checkpoints" / "latest").iterdir())
    assert (newest / "state").read_text() == kept


def test_a_finished_run_is_further_than_any_checkpoint(tmp_path):
    one, two = run_at(tmp_path / "one", 5), run_at(tmp_path / "two", 8)
    write(one, summaryjson="{}")
    Mirror(ADDRESS).send(one)
    Mirror(ADDRESS).fetch(two, any_run)
    assert (two / "summary.json").exists()


def test_a_copy_without_a_checkpoint_is_begun_again(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    write(one, experimentjson='{"seed": 0}', metricsjsonl="epoch 0\n")
    two.mkdir()
    Mirror(ADDRESS).send(one)
    Mirror(ADDRESS).fetch(two, any_run)
    assert content(two) == {}


def test_a_fetch_that_was_stopped_begins_again(tmp_path, monkeypatch):
    """The folder is not a run's before all is there."""
    Mirror(ADDRESS).send(run_at(tmp_path / "one", 3))
    two = tmp_path / "two"
    two.mkdir()
    copy = Mirror(ADDRESS)
    fetch_file = copy._fetch_file

    def broken(folder, name):
        if name == "experiment.json":
            raise ConnectionError("gone")
        fetch_file(folder, name)

    monkeypatch.setattr(copy, "_fetch_file", broken)
    with pytest.raises(UserError, match="gone"):
        copy.fetch(two, any_run)
    assert not (two / "experiment.json").exists()
    Mirror(ADDRESS).fetch(two, any_run)
    assert content(two) == content(tmp_path / "one")


def test_checkpoints_that_are_not_in_the_bucket_are_no_fetch_that_was_stopped(tmp_path):
    Mirror(ADDRESS).send(run_at(tmp_path / "one", 3))
    two = tmp_path / "two"
    write(two, checkpoints__latest__9__state="mine")
    Mirror(ADDRESS).fetch(two, any_run)
    assert set(content(two)) == {"checkpoints/latest/9/state"}


def test_a_bucket_that_is_gone_is_told(tmp_path, monkeypatch):
    copy = Mirror(ADDRESS)
    run_at(tmp_path, 3)

    def gone(*_):
        raise FileNotFoundError("no such bucket")

    monkeypatch.setattr(copy, "_send_file", gone)
    with pytest.raises(UserError, match=r"cannot be written \(no such bucket\)"):
        copy.send(tmp_path)


def test_a_checkpoint_that_is_replaced_while_it_is_sent_leaves_the_one_before_it(tmp_path, monkeypatch):
    one = run_at(tmp_path / "one", 3)
    copy = Mirror(ADDRESS)
    copy.send(one)
    shutil.rmtree(one / "checkpoints")
    write(one, checkpoints__latest__4__state="state of 4", checkpoints__latest__4__rest="rest of 4")
    send_file = copy._send_file

    def replaced(folder, name):
        (folder / "checkpoints/latest/4/state").unlink(missing_ok=True)
        send_file(folder, name)

    monkeypatch.setattr(copy, "_send_file", replaced)
    copy.send(one)
    assert there("checkpoints/latest/3/state") == "state of 3"


def test_another_run_is_refused_before_it_is_fetched(tmp_path):
    Mirror(ADDRESS).send(run_at(tmp_path / "one", 3, seed=1))
    two = tmp_path / "two"
    two.mkdir()
    line = (
        f"^{ADDRESS} belongs to another experiment: seed is 1 there and 0 here; "
        "choose another --mirror=gs://BUCKET/FOLDER, or repeat its settings: --config.seed=1$"
    )
    with pytest.raises(UserError, match=line):
        Mirror(ADDRESS).fetch(two, lambda noted: experiment.claim(noted, {"seed": 0, "epochs": 9}, write=False))
    assert content(two) == {}


def test_files_of_somebody_else_are_left_alone(tmp_path):
    fsspec.filesystem("memory").pipe_file("/bucket/run/checkpoints/mine", b"")
    line = f"{ADDRESS} holds checkpoints/mine, but no experiment.json that says of which run; nothing was changed"
    with pytest.raises(UserError, match=line):
        Mirror(ADDRESS).fetch(tmp_path, any_run)
    assert there("checkpoints/mine") == ""


def test_the_end_of_a_block_is_sent_also_where_it_fails(tmp_path):
    copy = Mirror(ADDRESS)
    with pytest.raises(ZeroDivisionError), copy.following(tmp_path):
        run_at(tmp_path, 3)
        raise ZeroDivisionError
    assert there("checkpoints/latest/3/state") == "state of 3"


def test_the_thread_sends_while_the_block_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(mirror, "SECONDS", 0.01)
    copy = Mirror(ADDRESS)
    with copy.following(tmp_path):
        run_at(tmp_path, 3)
        wait_until(lambda: "metrics.jsonl" in copy._names_there())


def unreachable(*_):
    raise ConnectionError("no route to host")


def test_a_bucket_that_is_lost_is_told_and_the_run_goes_on(tmp_path, monkeypatch, capsys):
    copy = Mirror(ADDRESS)
    run_at(tmp_path, 3)
    monkeypatch.setattr(copy._bucket, "pipe_file", unreachable)
    capsys.readouterr()
    copy._send_or_tell(tmp_path, "the run goes on")
    assert capsys.readouterr().out == f"{ADDRESS} cannot be written (no route to host); the run goes on\n"


def test_a_bucket_that_is_lost_at_the_end_is_an_error(tmp_path, monkeypatch):
    copy = Mirror(ADDRESS)
    monkeypatch.setattr(copy._bucket, "pipe_file", unreachable)
    lost = r"^memory://bucket/run cannot be written \(no route to host\); expected a folder in a bucket"
    with pytest.raises(UserError, match=lost), copy.following(tmp_path):
        run_at(tmp_path, 3)


@pytest.mark.parametrize(
    ("address", "line"),
    [
        ("runs/x", "--mirror=runs/x is no address, expected a folder in a bucket: --mirror=gs://BUCKET/FOLDER"),
        ("gs://", "--mirror=gs:// is no address, .*"),
        ("s3://bucket/x", "--mirror=s3://bucket/x needs a package that is not installed: pip install s3fs"),
        ("foo://bucket/x", r"--mirror=foo://bucket/x is of an unknown kind \(Protocol not known: foo\); .*"),
    ],
)
def test_addresses_that_are_none(address, line):
    with pytest.raises(UserError, match=f"^{line}"):
        Mirror(address)

"""Field names of older versions, and numbers that are none."""

import json
import pathlib

import numpy as np
import pytest

from ssdkd_jax.errors import UserError
from ssdkd_jax.reports.run_files import digests, image_source, number, read_buffer, read_metrics, with_current_names
from tests.finished_run import run_buffer

RESULTS = pathlib.Path(__file__).parents[2] / "results"
OLD_NAMES = ("synthetic_images", "synthesised_images", "references")


def test_a_summary_is_translated():
    old = {
        "method": "ssdkd",
        "synthetic_images": 144,
        "synthesised_images": 6400,
        "references": {"references": 90.0},
        "seconds": {"inversion": 1.0, "distillation": 2.0, "references": 3.0, "host": 4.0, "total": 10.0},
    }
    before = json.dumps(old)
    assert with_current_names(old) == {
        "method": "ssdkd",
        "images_kept": 144,
        "images_made": 6400,
        "baselines": {"references": 90.0},
        "seconds": {"synthesis": 1.0, "student": 2.0, "baselines": 3.0, "host": 4.0, "total": 10.0},
    }
    assert json.dumps(old) == before


def test_the_rows_of_a_comparison_are_translated_and_methods_keep_their_names():
    old = {"methods": {"inversion": {"synthesised_images": 5, "seconds": {"whole": 3.0, "synthesis": 1.0}}}}
    assert with_current_names(old) == {
        "methods": {"inversion": {"images_made": 5, "seconds": {"whole": 3.0, "synthesis": 1.0}}}
    }


def test_current_names_win_and_stay():
    new = {"images_kept": 1, "seconds": {"student": 2.0}, "methods": {"cmi": {"images_made": 3}}}
    assert with_current_names(new) == new
    assert with_current_names({"images_kept": 1, "synthetic_images": 2}) == {"images_kept": 1}


@pytest.mark.parametrize("content", [{"seconds": 3}, {"seconds": None, "methods": []}, {"methods": {"cmi": 1}}, {}])
def test_unexpected_types_are_left_for_the_checks(content):
    assert with_current_names(content) == content


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_every_result_that_was_kept_loses_its_old_names_and_nothing_else(path):
    old = json.loads(path.read_text())
    new = with_current_names(old)
    assert not any(f'"{name}"' in json.dumps(new) for name in OLD_NAMES)
    assert sorted(map(str, _leaves(old))) == sorted(map(str, _leaves(new)))


def _leaves(content):
    if not isinstance(content, dict | list):
        return [content]
    return [leaf for value in (content.values() if isinstance(content, dict) else content) for leaf in _leaves(value)]


def test_what_is_a_number():
    assert number(3) == 3.0 and number(-0.5) == -0.5
    for value in (None, True, "3", [3], float("nan"), float("inf"), 10**400):
        assert number(value) is None


@pytest.mark.parametrize(
    ("fields", "source"),
    [
        ({"images_kept": 5, "images_made": 9}, "kept"),
        ({"images_kept": 0}, "kept"),
        ({"images_kept": 0, "images_made": 9}, "generated"),
        ({"images_kept": 0, "images_made": 0}, "given"),
    ],
)
def test_where_the_images_come_from(fields, source):
    assert image_source(fields) == source


def test_a_line_that_is_nested_too_deeply_is_named(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("[" * 100_000 + "]" * 100_000 + '\n{"epoch": 2}\n')
    with pytest.raises(UserError, match=r"metrics.jsonl, line 1 is not JSON"):
        read_metrics(tmp_path)


def test_the_first_half_of_a_line_is_what_a_kill_leaves_and_another_text_is_damage(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 1}\n{"epo')
    assert read_metrics(tmp_path) == [{"epoch": 1}]
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 1}\nch": 2}')
    with pytest.raises(UserError, match=r"metrics.jsonl, line 2 is not JSON"):
        read_metrics(tmp_path)


@pytest.mark.parametrize("line", ["[]", "5", "{}", '{"epoch": "1"}', '{"epoch": NaN}', '{"epoch": 1e999}'])
def test_a_line_of_the_log_without_an_epoch_is_named(tmp_path, line):
    (tmp_path / "metrics.jsonl").write_text(f'{line}\n{{"epoch": 2}}\n')
    with pytest.raises(UserError, match=r"metrics.jsonl, line 1 has no epoch: expected an object with one"):
        read_metrics(tmp_path)


@pytest.mark.parametrize(("name", "read"), [("metrics.jsonl", read_metrics), ("buffer.npz", read_buffer)])
def test_the_file_of_another_run_is_told_from_the_runs_own(tmp_path, name, read):
    for folder, seed in (("run", 0), ("other", 1)):
        (tmp_path / folder).mkdir()
        np.savez_compressed(tmp_path / folder / "buffer.npz", **run_buffer(confidence=np.full(30, 0.5 + 0.1 * seed)))
        (tmp_path / folder / "metrics.jsonl").write_text(f'{{"epoch": 1, "student_loss": {seed}}}\n')
    run = tmp_path / "run"
    (run / "summary.json").write_text(json.dumps({"files_sha256": digests(run)}))
    read(run)
    (tmp_path / "other" / name).replace(run / name)
    with pytest.raises(
        UserError, match=rf"{name} is not the file that this run wrote .* move {run}/{name} elsewhere and"
    ):
        read(run)
    (run / "summary.json").write_text("{}")  # as of an earlier version, which does not say
    read(run)


def test_draws_are_one_an_image_and_earlier_versions_have_none(tmp_path):
    np.savez_compressed(tmp_path / "buffer.npz", **run_buffer())
    assert read_buffer(tmp_path).draws is None
    np.savez_compressed(tmp_path / "buffer.npz", **run_buffer(), draws=np.arange(30, dtype=np.int32))
    assert read_buffer(tmp_path).draws.tolist() == list(range(30))
    np.savez_compressed(tmp_path / "buffer.npz", **run_buffer(), draws=np.arange(29))
    with pytest.raises(UserError, match="images, predicted_class, confidence, draws differ in length"):
        read_buffer(tmp_path)


def test_a_buffer_with_flipped_bytes_is_whole_or_refused(tmp_path):
    """Whatever zipfile, zlib and NumPy make of it."""
    np.savez_compressed(tmp_path / "buffer.npz", **run_buffer())
    whole, refused, random = (tmp_path / "buffer.npz").read_bytes(), 0, np.random.default_rng(0)
    for _ in range(120):
        damaged = np.frombuffer(whole, np.uint8).copy()
        damaged[random.integers(len(damaged), size=2)] = random.integers(256, size=2)
        (tmp_path / "buffer.npz").write_bytes(damaged.tobytes())
        try:
            assert read_buffer(tmp_path).images.dtype == np.uint8
        except UserError as error:
            refused += "\n" not in str(error)
    assert refused > 90

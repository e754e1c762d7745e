"""The command line of results, and that the documents hold what the results say."""

import json
import pathlib

import pytest

from ssdkd_jax.reports.documents import fill
from ssdkd_jax.reports.results_files import read_results
from tests import programs
from tests.reports.sample_results import ablation, comparison, row, run

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name
)
def test_the_documents_hold_what_the_results_say(path):
    text = path.read_text()
    command = "python -m experiments.results --readme=README.md --docs=docs"
    assert fill(text, read_results(ROOT / "results")) == text, f"run {command}"


def results(folder, *arguments):
    """(exit status, stdout, stderr) of experiments.results, run in a folder."""
    return programs.run("results", *arguments, cwd=folder)


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def test_a_comparison_is_recorded_merged_and_shown(tmp_path):
    put(tmp_path / "results" / "digits_ablation.json", ablation())
    put(tmp_path / "runs" / "first" / "comparison.json", comparison())
    put(tmp_path / "runs" / "more" / "comparison.json", comparison({"ssdkd": row((5,), (80.0,))}, (5,)))
    put(tmp_path / "README.md", "<!-- results:digits_ablation --><!-- end -->")
    put(tmp_path / "docs" / "results.md", "<!-- results:first --><!-- end -->")
    assert results(tmp_path, "--record=runs/first") == (0, "results/first.json\n", "")
    merging = ("--record=runs/more", "--name=first", "--merge")
    status, out, err = results(tmp_path, *merging, "--readme=README.md", "--docs=docs")
    assert (status, out, err) == (0, "results/first.json\nREADME.md\ndocs/results.md\n", "")
    assert "| ssdkd | 87.33 ± 6.43 |" in (tmp_path / "docs" / "results.md").read_text()
    assert "| no phi |" in (tmp_path / "README.md").read_text()
    status, _, err = results(tmp_path, *merging)
    assert status == 2 and "results/first.json has seed 5 of runs/more already" in err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "nothing to do; give --record=WORKDIR, --readme=FILE or --docs=DIR"),
        (["--name=x", "--readme=README.md"], "--name is that of a result to keep; give it with --record=WORKDIR"),
        (["--record=comparison", "--name=a.json"], "--name='a.json' is no plain name of a file without .json"),
        (["--record=comparison", "--results=/proc"], "the folder /proc cannot be written (No such file or directory)"),
        (["--record=comparison", "--name=kept"], "results/kept.json holds run, expected comparison to replace; choose"),
        (["--merge"], "--merge adds the seeds of a comparison; give it with --record=WORKDIR"),
        (["--record=comparison", "--name=other"], "results/other.json holds another comparison, of x; keep this one"),
        (["--record=comparison", "--name=other", "--overwrite", "--merge"], "--overwrite replaces what is kept; give"),
        (["--record=run"], "run/summary.json: seconds.total is 'long', expected a number; move run/summary.json"),
        (["--docs=docs"], "results/broken.json is damaged, it holds a list: expected a JSON object; move it elsewhere"),
    ],
)
def test_mistakes_are_reported_in_one_line(tmp_path, arguments, expected):
    put(tmp_path / "run" / "summary.json", run(seconds={"total": "long"}))
    put(tmp_path / "run" / "metrics.jsonl", "")
    put(tmp_path / "comparison" / "comparison.json", comparison())
    put(tmp_path / "results" / "kept.json", run())
    put(tmp_path / "results" / "other.json", comparison(command="x", epochs=3))
    put(tmp_path / "results" / "broken.json", [])
    put(tmp_path / "docs" / "results.md", "<!-- results:kept --><!-- end -->")
    status, out, err = results(tmp_path, *arguments)
    assert (status, out) == (2, "") and err.startswith(f"error: {expected}") and err.count("\n") == 1

"""What appears on the terminal, and what becomes of it where there is none."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from ssdkd_jax.terminal import escape_names, open_closed_streams
open_closed_streams()
escape_names()
print("to nowhere", flush=True)
print("to nowhere", file=sys.stderr, flush=True)
assert sys.stdin.read() == ""
with open(sys.argv[1], "w") as file:
    file.write(str(file.fileno() > 2))
"""


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_leads_to_nowhere_and_its_number_to_no_file(closed, tmp_path):
    command = [sys.executable, "-c", PROGRAM, tmp_path / "written"]
    subprocess.run(["sh", "-c", f'"$@" {closed}', "sh", *command], check=True, stdin=subprocess.DEVNULL)
    assert (tmp_path / "written").read_text() == "True"

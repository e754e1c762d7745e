"""Counts the tests that expect a mistake to be refused or a mishap to cost nothing, for docs/faults.md.

python -m tests.count_refusals
"""

import collections
import inspect
import re

import pytest

# What the source of such a test holds.
EXPECTS = r"UserError|ValueError|refus|damaged|full\(\)|status == 2|\(2, f?\"|\(14[13]"


class Counter:
    """A pytest plugin."""

    def pytest_collection_finish(self, session):
        found = [item for item in session.items if re.search(EXPECTS, inspect.getsource(item.function))]
        for path, count in sorted(collections.Counter(item.nodeid.split("::")[0] for item in found).items()):
            print(f"{count:4d} {path}")


if __name__ == "__main__":
    pytest.main(["--collect-only", "-qq", "-p", "no:cacheprovider", "tests"], plugins=[Counter()])

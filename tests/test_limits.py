"""What the system allows a process."""

import re

import pytest

from ssdkd_jax import limits
from ssdkd_jax.errors import UserError


def test_a_file_beyond_the_limit_of_this_process(monkeypatch):
    limits.check_file_size(2**40, "a checkpoint")
    monkeypatch.setattr(limits.resource, "getrlimit", lambda _: (4096, 4096))
    limits.check_file_size(4096, "a checkpoint")
    expected = (
        "files may have 0.0 MB here (ulimit -f), expected 1.0 MB for a checkpoint; raise the limit: ulimit -f unl"
    )
    with pytest.raises(UserError, match=re.escape(expected)):
        limits.check_file_size(10**6, "a checkpoint")


INFINITY = limits.resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("now", "after"),
    [
        ((64, 64), None),
        ((INFINITY, INFINITY), None),
        ((1024, INFINITY), None),
        ((20, 4096), (64, 4096)),
        ((20, INFINITY), (64, INFINITY)),
    ],
)
def test_the_limit_of_open_files_is_raised_where_it_is_too_low(monkeypatch, now, after):
    done = []
    monkeypatch.setattr(limits.resource, "getrlimit", lambda _: now)
    monkeypatch.setattr(limits.resource, "setrlimit", lambda _, new: done.append(new))
    limits.allow_open_files()
    assert done == [after] * (after is not None)


def test_a_limit_of_open_files_that_cannot_be_raised(monkeypatch):
    monkeypatch.setattr(limits.resource, "getrlimit", lambda _: (16, 20))
    with pytest.raises(
        UserError, match=r"only 20 files may be open .* \(ulimit -n\), expected 64 at least; raise the li"
    ):
        limits.allow_open_files()

"""Time is counted once, for the innermost purpose."""

import time

import pytest

from ssdkd_jax.training.clock import Clock


def test_inner_time_is_not_the_outer_purposes():
    clock = Clock()
    with clock.measure("outer"):
        time.sleep(0.02)
        with clock.measure("inner"):
            time.sleep(0.1)
        with clock.measure("inner"):
            time.sleep(0.1)
    assert clock.seconds["inner"] >= 0.2
    assert 0.02 <= clock.seconds["outer"] < 0.2


def test_time_counts_when_the_block_fails():
    clock = Clock()
    with pytest.raises(ZeroDivisionError), clock.measure("work"):
        time.sleep(0.01)
        1 / 0  # noqa: B018
    assert clock.seconds["work"] >= 0.01


def test_parts_and_host_make_up_the_total():
    clock = Clock()
    with clock.measure("work"):
        time.sleep(0.01)
    report = clock.report()
    assert report["host"] >= 0
    assert report["total"] == pytest.approx(report["work"] + report["host"])


def test_earlier_seconds_are_added():
    clock = Clock()
    clock.add("work", 1.0)
    clock.add_earlier({"work": 10.0, "rest": 5.0, "host": 2.0, "total": 17.0})
    report = clock.report()
    assert (report["work"], report["rest"]) == (11.0, 5.0)
    assert report["total"] == pytest.approx(17.0, abs=0.5)

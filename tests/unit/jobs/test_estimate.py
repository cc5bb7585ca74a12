"""Estimates: pure, from runs that no service has seen."""

from __future__ import annotations

import pytest

from shared.options import StyleOptions
from web.jobs.estimates import MeasuredRun, Work, estimate_run

WORK = Work(steps=100, content_px=100_000, style_px=100_000)


def run(seconds: float, *, times: float = 1, device: str = "cpu") -> MeasuredRun:
    return MeasuredRun(Work(100, int(100_000 * times), int(100_000 * times)), device, seconds)


def test_nothing_measured_is_no_number():
    assert estimate_run(WORK, []) is None
    assert estimate_run(WORK, [run(0)]) is None


def test_one_job_says_how_long_its_like_takes_and_how_little_is_known():
    found = estimate_run(WORK, [run(40)])
    assert (found.seconds, found.count) == (40, 1)
    assert (found.low, found.high) == (28, 52)


def test_more_jobs_make_the_range_narrow_but_never_a_point():
    found = estimate_run(WORK, [run(40)] * 10)
    assert (found.low, found.seconds, found.high) == (35.2, 40, 44.8)


def test_time_grows_with_the_steps_that_are_computed():
    half = Work(50, 100_000, 100_000)
    found = estimate_run(half, [run(40)] * 5)
    # The targets are computed once, however many steps follow.
    assert found.seconds == pytest.approx(20, rel=0.01)
    assert found.seconds > 20


def test_both_pictures_count():
    wide_style = Work(1, 100_000, 900_000)
    base = [MeasuredRun(Work(1, 100_000, 100_000), "cpu", 10)] * 5
    assert estimate_run(wide_style, base).seconds == pytest.approx(
        10 * (1 + 1 / 3 + 3) / (1 + 2 / 3), rel=0.01
    )


def test_a_run_that_was_disturbed_spoils_nothing():
    found = estimate_run(WORK, [run(40)] * 9 + [run(4000), run(0.5)])
    assert found.seconds == 40
    assert 30 < found.low < found.high < 60


def test_jobs_like_this_one_count_before_others():
    small, large = [run(2, times=0.1)] * 20, [run(100, times=1)] * 12
    assert estimate_run(WORK, [*small, *large]).seconds == 100
    assert estimate_run(Work(100, 10_000, 10_000), [*small, *large]).seconds == 2


def test_one_job_of_its_size_says_more_than_many_tiny_ones():
    tiny = [run(9, times=0.002)] * 11
    found = estimate_run(WORK, [*tiny, run(40)])
    assert (found.seconds, found.count) == (40, 1)
    assert estimate_run(WORK, tiny).count == 11


def test_newer_runs_count_before_older_ones():
    assert estimate_run(WORK, [run(10)] * 12 + [run(90)] * 100).seconds == 10


def test_devices_that_are_connected_count_alone():
    runs = [run(300), run(300), run(5, device="cuda:0"), run(5, device="cuda:0")]
    assert estimate_run(WORK, runs, devices={"cuda:0"}).seconds == 5
    assert estimate_run(WORK, runs, devices={"cuda:0"}).count == 2
    assert estimate_run(WORK, runs, devices={"cuda:7"}).count == 4


def test_far_from_what_was_measured_the_range_opens_on_the_likely_side():
    near, small = estimate_run(WORK, [run(40)] * 5), [run(4, times=0.1)] * 5
    above = estimate_run(WORK, small)
    assert above.seconds == 40
    assert above.low == pytest.approx(near.low / 10**0.5, rel=0.02)
    assert above.high == near.high
    below = estimate_run(Work(100, 10_000, 10_000), [run(40)] * 5)
    assert below.seconds == 4
    assert below.low == pytest.approx(near.low / 10, abs=0.1)
    assert below.high == pytest.approx(near.high / 10 * 10**0.5, rel=0.02)


def test_work_is_counted_at_the_size_it_is_done_at():
    work = Work.of_job(StyleOptions(), 10, content=(4000, 3000), style=(100, 50))
    assert (work.content_px, work.style_px) == (512 * 384, 100 * 50)

"""The texts of a forecast."""

from __future__ import annotations

import pytest

from web.jobs.estimates import START_ONE, Estimate, Forecast, run_message, wait_message


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (None, "nothing measured yet: the first job on this service will tell"),
        (Estimate(40, 30, 55, 12), "about 40 s (30 s to 55 s, from 12 jobs on this service)"),
        (
            Estimate(200, 140, 260, 1),
            "about 3 min 20 s (2 min 20 s to 4 min 20 s, from 1 job on this service)",
        ),
    ],
)
def test_how_long_it_runs(run: Estimate | None, words: str):
    assert run_message(run) == words


@pytest.mark.parametrize(
    ("position", "ahead_seconds", "workers", "words"),
    [
        (1, 0.0, 1, "a worker is free: it starts at once"),
        (1, None, 1, "the next in line"),
        (1, 12.0, 1, "the next in line, about 12 s"),
        (2, 30.0, 1, "1 job ahead, about 30 s"),
        (4, 240.0, 2, "3 jobs ahead, about 4 min"),
        (4, None, 2, "3 jobs ahead"),
    ],
)
def test_what_it_waits_for(position: int, ahead_seconds: float | None, workers: int | None, words: str):
    assert wait_message(Forecast(None, position, ahead_seconds, workers)) == words


def test_why_none_starts_comes_first():
    reason = f"no worker is connected; {START_ONE}"
    assert wait_message(Forecast(None, 4, None, 0, no_start=reason)) == reason

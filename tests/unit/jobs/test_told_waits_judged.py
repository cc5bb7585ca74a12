"""What becomes of the waits that were told."""

from __future__ import annotations

import pytest

from web.jobs.told_waits import ToldWaits, count_told, judge_told, note_told
from web.jobs.waits import AT_ONCE, Range


@pytest.mark.parametrize(
    ("wait", "waited_seconds", "is_kept"),
    [
        (Range(60, 40, 80), 40, True), (Range(60, 40, 80), 80, True), (Range(60, 40, 80), 38.5, True),
        (Range(60, 40, 80), 82.5, False), (Range(60, 40, 80), 30, False), (Range(60, 40, 80), 500, False),
        # A free worker: the message has to get there.
        (AT_ONCE, 0.3, True), (AT_ONCE, 1.9, True), (AT_ONCE, 5, False),
    ],
)  # fmt: skip
def test_a_wait_is_kept_or_not(wait, waited_seconds, is_kept):
    told = {"other": 1, **note_told(wait)}
    judged = judge_told(told, waited_seconds)
    assert count_told([judged]) == ToldWaits(1, int(is_kept))
    assert judged["other"] == 1
    assert count_told([told]) == ToldWaits()  # it has not begun


def test_who_was_told_nothing_is_not_counted():
    assert note_told(None) == {}
    assert judge_told({"a": 1}, 5) == {"a": 1}
    told = judge_told(note_told(Range(5, 4, 6)), 5)
    late = judge_told(note_told(Range(5, 4, 6)), 50)
    assert count_told([told, {}, late, {"queue_seconds": 5}, told]) == ToldWaits(3, 2)
    assert ToldWaits(3, 2).share == 0.667
    assert ToldWaits().share is None


ODD = [
    None, [], "x", {"told_wait": None}, {"told_wait": []}, {"told_wait": {}},
    {"told_wait": {"likely": "1", "low": 1, "high": 2}}, {"told_wait": {"likely": 1, "low": True, "high": 2}},
    {"told_wait": {"likely": 1, "low": 1}}, {"told_wait": {"is_kept": True}},
]  # fmt: skip


@pytest.mark.parametrize("metrics", ODD)
def test_rows_that_hold_something_else(metrics):
    assert count_told([metrics]) == ToldWaits()
    if isinstance(metrics, dict):
        assert judge_told(metrics, 1) == metrics
    later = {"told_wait": {"likely": 1, "low": 0, "high": 2, "is_kept": True, "new": 5}, "more": 1}
    assert count_told([metrics, later]) == ToldWaits(1, 1)


def test_what_another_release_keeps_beside_stays():
    judged = judge_told({"told_wait": {"likely": 1, "low": 0, "high": 2, "new": 5}}, 1)
    assert judged["told_wait"]["new"] == 5

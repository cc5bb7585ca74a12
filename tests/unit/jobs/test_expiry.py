"""When a job may be removed, and how a follower says what it waits for."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from shared.status import JobStatus
from tests.support.job_rows import NOW, job
from web.api.job_view import job_to_json
from web.control.garbage import cutoffs_at
from web.jobs.estimates import QueueState
from web.jobs.retention import expires_at

ENDED = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("completed_at", "days", "expected"),
    [
        (ENDED, 30, datetime(2026, 12, 24, 12, tzinfo=UTC)),
        (ENDED, 0.5, datetime(2026, 11, 25, 0, tzinfo=UTC)),
        (ENDED, 0, None),
        (None, 30, None),
        (ENDED, 1e7, None),
    ],
)
def test_expires_at(completed_at, days, expected):
    assert expires_at(completed_at, retention_days=days) == expected


def test_the_pruner_goes_by_the_same_moment():
    moment = expires_at(ENDED, retention_days=3)
    assert cutoffs_at(moment, retention_days=3, garbage_hours=24).completed == ENDED


@pytest.mark.parametrize(("position", "ahead"), [(3, 25.0), (None, None)])
@pytest.mark.parametrize("workers", [None, 0, 1])
@pytest.mark.parametrize(("name", "who"), [("Harbour", "the job 'Harbour'"), (None, "another job")])
def test_a_follower_says_what_it_waits_for(position, ahead, workers, name, who):
    queue = QueueState(running=1, workers=workers, run_seconds=[10.0])
    row = job(JobStatus.QUEUED, leader_id="other")
    shown = job_to_json(row, live=None, position=position, queue=queue, leader_name=name)
    assert shown["leader_id"] == "other"
    assert shown["queue"] == {
        "position": position,
        "ahead_seconds": ahead if workers else None,
        "low_seconds": 0.0 if ahead and workers else None,
        "high_seconds": 2 * ahead if ahead and workers else None,
        "eligible_workers": workers,
        "message": f"waits for {who}, which does the same work",
    }


def test_a_final_job_shows_its_deadlines_and_no_queue():
    queue = QueueState(running=1, workers=1, run_seconds=[])
    row = job(
        JobStatus.SUCCEEDED, leader_id="other", queue_deadline=NOW, run_timeout_seconds=9.5, completed_at=NOW
    )
    shown = job_to_json(row, live=None, position=None, queue=queue, retention_days=1)
    assert shown["queue"] is None
    assert (shown["queue_deadline"], shown["run_timeout_seconds"]) == ("2026-11-23T08:47:41.120Z", 9.5)
    assert shown["expires_at"] == "2026-11-24T08:47:41.120Z"

"""What control decides, without any database: the state table, reports, rescues."""

from __future__ import annotations

import pytest

from shared.clock import utc_now
from shared.errors import InvalidState
from shared.protocol import EventType, WorkerEvent
from shared.status import FINAL_STATUSES, JobStatus
from web.control.projector import decide_projection
from web.control.rescuer import Rescue, decide_rescue
from web.jobs.states import TRANSITIONS, Trigger, next_status


def event(kind: EventType, attempt: int = 1) -> WorkerEvent:
    return WorkerEvent(event_id="e", type=kind, job_id="j", attempt=attempt, at=utc_now(), data={})


def test_only_a_person_brings_back_what_is_final():
    asked = {Trigger.RETRY, Trigger.EXTEND}
    for (status, trigger), after in TRANSITIONS.items():
        if status in FINAL_STATUSES:
            assert after == status or (trigger in asked and after == JobStatus.QUEUED)


def test_an_illegal_trigger_names_where_it_is_legal():
    with pytest.raises(InvalidState, match="the job is succeeded; 'cancel' is allowed only when it is"):
        next_status(JobStatus.SUCCEEDED, Trigger.CANCEL)


@pytest.mark.parametrize("kind", list(EventType))
@pytest.mark.parametrize("status", list(JobStatus))
def test_reports_of_another_attempt_are_ignored(kind: EventType, status: JobStatus):
    for attempt in (1, 3):
        assert decide_projection(status, 2, event(kind, attempt)).ignored


@pytest.mark.parametrize("kind", list(EventType))
@pytest.mark.parametrize("status", sorted(FINAL_STATUSES))
def test_reports_about_a_final_job_are_ignored(kind: EventType, status: JobStatus):
    assert decide_projection(status, 1, event(kind)).ignored


@pytest.mark.parametrize(
    ("status", "kind", "trigger"),
    [
        (JobStatus.QUEUED, EventType.CLAIMED, Trigger.CLAIMED),
        (JobStatus.QUEUED, EventType.SUCCEEDED, Trigger.SUCCEEDED),
        (JobStatus.RUNNING, EventType.FAILED, Trigger.FAILED),
        (JobStatus.RUNNING, EventType.RELEASED, Trigger.RELEASED),
        (JobStatus.CANCELING, EventType.SUCCEEDED, Trigger.SUCCEEDED),
        (JobStatus.CANCELING, EventType.CANCELED, Trigger.CANCELED),
        (JobStatus.RUNNING, EventType.CANCELED, None),
    ],
)
def test_reports_pull_triggers(status: JobStatus, kind: EventType, trigger: Trigger | None):
    assert decide_projection(status, 1, event(kind)).trigger == trigger


@pytest.mark.parametrize(
    ("status", "lost_workers", "expected"),
    [
        (JobStatus.RUNNING, 0, Rescue(Trigger.LEASE_LOST, next_attempt=8)),
        (JobStatus.RUNNING, 2, Rescue(Trigger.ATTEMPTS_EXHAUSTED)),
        (JobStatus.CANCELING, 0, Rescue(Trigger.LEASE_LOST)),
        (JobStatus.CANCELING, 2, Rescue(Trigger.LEASE_LOST)),
    ],
)
def test_rescues(status: JobStatus, lost_workers: int, expected: Rescue):
    assert decide_rescue(status, 7, lost_workers=lost_workers, max_attempts=3) == expected


def test_a_pausing_job_that_is_lost_is_paused():
    for lost_workers in (0, 2):
        rescue = decide_rescue(JobStatus.RUNNING, 1, lost_workers=lost_workers, max_attempts=3, pausing=True)
        assert rescue == Rescue(Trigger.PAUSED)
    assert (
        decide_projection(JobStatus.RUNNING, 1, event(EventType.RELEASED), pausing=True).trigger == "paused"
    )

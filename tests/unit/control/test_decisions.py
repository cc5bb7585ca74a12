"""What control decides, without any database: the state table, reports, rescues."""

from __future__ import annotations

import pytest

from shared.clock import utc_now
from shared.errors import InvalidState
from shared.events import EventType, WorkerEvent
from shared.status import FINAL_STATUSES, JobStatus
from web.control.projection import decide_projection
from web.control.rescuer import Rescue, decide_rescue
from web.states import TRANSITIONS, Trigger, next_status


def event(kind: EventType, attempt: int = 1) -> WorkerEvent:
    return WorkerEvent(event_id="e", type=kind, job_id="j", attempt=attempt, at=utc_now(), data={})


def test_what_is_final_stays_final():
    for (status, trigger), after in TRANSITIONS.items():
        if status in FINAL_STATUSES:
            assert (after, trigger) == (status, Trigger.CANCEL)


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
    ("status", "attempt", "expected"),
    [
        (JobStatus.RUNNING, 1, Rescue(Trigger.LEASE_LOST, next_attempt=2)),
        (JobStatus.RUNNING, 3, Rescue(Trigger.ATTEMPTS_EXHAUSTED)),
        (JobStatus.CANCELING, 1, Rescue(Trigger.LEASE_LOST)),
        (JobStatus.CANCELING, 3, Rescue(Trigger.LEASE_LOST)),
    ],
)
def test_rescues(status: JobStatus, attempt: int, expected: Rescue):
    assert decide_rescue(status, attempt, max_attempts=3) == expected

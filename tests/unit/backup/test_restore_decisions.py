"""Where a backup may be put, and how its jobs come back, decided without any of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import BackupRefused
from shared.status import JobStatus
from web.backup.restoring import Target, decide_target
from web.jobs.restored import Return, decide_return
from web.jobs.states import Trigger, is_legal

EMPTY = Target(
    has_database=False, is_readable=True, database_id=None, has_rows=False, storage_id=None, has_files=False,
    shares_jobs=False,
)  # fmt: skip
OURS = Target(
    has_database=True, is_readable=True, database_id="a", has_rows=True, storage_id="a", has_files=True,
    shares_jobs=True,
)  # fmt: skip


@pytest.mark.parametrize(
    "target",
    [
        EMPTY,
        OURS,
        replace(OURS, database_id=None, has_database=False, has_rows=False),  # the database is lost
        replace(OURS, storage_id=None),  # its identity is lost or damaged
        replace(EMPTY, storage_id="a"),  # a restore was killed at its beginning
        replace(OURS, is_readable=False, database_id=None, has_rows=False),  # the database is damaged
        replace(EMPTY, has_database=True),  # made, and never used
    ],
)
def test_its_own_place_or_an_empty_one_takes_it(target: Target):
    decide_target(target, "a")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (replace(OURS, database_id="b"), "the database of b"),
        (replace(OURS, storage_id="b"), "the storage of b"),
        (replace(OURS, database_id="b", storage_id="b"), "the storage of b"),
        (
            replace(OURS, database_id="b", has_rows=False, storage_id=None, has_files=False),
            "the database of b",
        ),
        (replace(OURS, storage_id=None, shares_jobs=False), "does not say of which"),
        (replace(EMPTY, has_files=True), "does not say of which"),
        (replace(OURS, storage_id=None, has_files=False, shares_jobs=False), "mount it"),
        (replace(OURS, database_id=None, storage_id=None, has_files=False), "the database holds jobs"),
        (replace(EMPTY, has_database=True, is_readable=False), "cannot be read"),
    ],
)
def test_the_place_of_another_is_refused(target: Target, said: str):
    with pytest.raises(BackupRefused, match=said):
        decide_target(target, "a")


@given(
    st.sampled_from(list(JobStatus)),
    st.integers(1, 9),
    st.none() | st.integers(1, 12),
    st.none() | st.integers(1, 12),
    st.booleans(),
)
def test_a_job_comes_back_as_an_attempt_that_nobody_else_had(
    status: JobStatus, attempt: int, fence: int | None, begun: int | None, pausing: bool
):
    pausing = pausing and status is JobStatus.RUNNING
    found = decide_return(status, attempt, fence=fence, begun=begun, pausing=pausing)
    assert found.attempt >= attempt
    assert found.trigger is None or is_legal(status, found.trigger)
    if status in (JobStatus.RUNNING, JobStatus.CANCELING):
        assert found.trigger is not None
    if status is JobStatus.QUEUED:
        # It may be sent just as it is if no worker ever saw it.
        assert (found.attempt > attempt) == (fence is not None or (begun or 0) > attempt)
    next_one = found.attempt + (found.trigger is None and status is not JobStatus.QUEUED)
    if found.trigger is None or (found.trigger is Trigger.LEASE_LOST and status is JobStatus.RUNNING):
        # What goes on, now or when it is asked to, is above all that was begun, and nodes take it.
        assert next_one > (begun or 0) or next_one == attempt
        assert next_one >= (fence or 0)


@pytest.mark.parametrize(
    ("status", "pausing", "expected"),
    [
        (JobStatus.RUNNING, False, Return(5, Trigger.LEASE_LOST)),
        (JobStatus.RUNNING, True, Return(4, Trigger.PAUSED)),
        (JobStatus.CANCELING, False, Return(4, Trigger.LEASE_LOST)),
        (JobStatus.QUEUED, False, Return(5)),
        (JobStatus.PAUSED, False, Return(4)),
        (JobStatus.SUCCEEDED, False, Return(4)),
    ],
)
def test_each_status_beside_a_redis_that_lived_on(status: JobStatus, pausing: bool, expected: Return):
    assert decide_return(status, 2, fence=4, pausing=pausing) == expected


def test_a_job_that_had_ended_and_was_left_alone_keeps_its_number():
    """The fence of what has ended is one above."""
    assert decide_return(JobStatus.SUCCEEDED, 2, fence=3, begun=2) == Return(2)
    assert decide_return(JobStatus.SUCCEEDED, 2, fence=None, begun=3) == Return(3)

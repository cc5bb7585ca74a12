"""Attempts below Redis' fence: every node drops them, so nothing but control can bring such a job on.

A row gets behind Redis and its own files when the database is put back as it had been. What happened since
then is lost from it, and lies in the storage.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.errors import StaleJob
from shared.logs import get_logger
from shared.status import JobStatus
from web.backend import Backend
from web.control.projector import write_success
from web.control.results import find_later_result
from web.db.models import Job
from web.jobs.actions import next_attempt
from web.jobs.queries import get_job
from web.jobs.states import PAUSING, WORKER_LOST, Trigger
from web.jobs.transitions import apply_trigger, save_attempt, write_changes

_log = get_logger(__name__)
_OPEN = (JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.CANCELING)


@dataclass(frozen=True)
class Stale:
    """What becomes of an attempt below the fence: it succeeds as a later one, or gets a number above."""

    succeeds_as: int | None = None
    next_attempt: int | None = None


def decide_stale(attempt: int, *, fence: int | None, result_attempt: int | None) -> Stale | None:
    """Decide about a job at `attempt`; None when nodes will take it.

    Args:
        attempt: What its row says.
        fence: The lowest attempt that nodes take, if Redis knows one.
        result_attempt: The newest attempt, from this one on, with a committed result of the same work.
    """
    if fence is None or fence <= attempt:
        return None
    if result_attempt is not None:
        return Stale(succeeds_as=result_attempt)
    # Above, not at it: the attempt with the fence's own number may have left files of another timeline.
    return Stale(next_attempt=fence + 1)


class StaleAttempts:
    """Repairs jobs whose attempt is below the fence."""

    def __init__(self, backend: Backend, *, clock: Callable[[], datetime]) -> None:
        self._backend = backend
        self._clock = clock

    def settle(self, seen: Job, fence: int) -> bool:
        """Let a job succeed with a later attempt's result, or give it an attempt that nodes take.

        A job that is running or canceling must have lost its lease. Returns whether it was changed.

        Raises:
            ServiceError: when database, Redis or storage fails.
        """
        found = find_later_result(self._backend, seen)
        decision = decide_stale(seen.attempt, fence=fence, result_attempt=found[0] if found else None)
        if decision is None:
            return False
        try:
            with self._backend.database.write() as session:
                job = get_job(session, seen.id)
                if job.job_status not in _OPEN or (job.version, job.attempt) != (seen.version, seen.attempt):
                    return False
                now = self._clock()
                if decision.succeeds_as is not None and found is not None:
                    write_changes(session, job, {"attempt": decision.succeeds_as}, now=now)
                    write_success(session, job, found[1], now=now)
                elif job.job_status is JobStatus.QUEUED:
                    write_changes(session, job, _renumbered(job, decision), now=now)
                else:
                    pausing = job.job_status is JobStatus.RUNNING and job.status_reason == PAUSING
                    trigger = Trigger.PAUSED if pausing else Trigger.LEASE_LOST
                    save_attempt(session, job.id, job.attempt, ended_at=now, outcome=WORKER_LOST)
                    apply_trigger(
                        session, job, trigger, now=now, reason=WORKER_LOST, values=_renumbered(job, decision)
                    )
                attempt, status = job.attempt, job.status
        except StaleJob as error:
            _log.info("repair_stale", job_id=seen.id, reason=error.detail)
            return False
        _log.warning(
            "attempt_below_fence",
            job_id=seen.id,
            was=seen.attempt,
            fence=fence,
            attempt=attempt,
            status=status,
        )
        self._backend.redis.claims.fence(seen.id, attempt)
        self._backend.redis.progress.notify(seen.id)
        return True


def _renumbered(job: Job, decision: Stale) -> dict[str, Any]:
    """Return the changes that make a job due at the attempt of a decision."""
    return next_attempt(job) | {"attempt": decision.next_attempt}

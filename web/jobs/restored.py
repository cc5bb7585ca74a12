"""Jobs after a restore: how they come back, and what Redis may still hold of the time that was lost.

Redis may have lived on: with flags for attempts whose numbers come once more, and with workers that still
carry out what the database has forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.clock import to_rfc3339
from shared.logs import get_logger
from shared.redis import Coordination
from shared.status import JobStatus
from web.backend import Backend
from web.db.models import InstallationRow, Job
from web.jobs.actions import next_attempt
from web.jobs.states import PAUSING, RESTORED, Trigger
from web.jobs.transitions import apply_trigger, save_attempt, write_changes

_PAGE = 1000
_log = get_logger(__name__)


@dataclass(frozen=True)
class Return:
    """How a job comes back: its attempt, and what happens to it."""

    attempt: int
    trigger: Trigger | None = None


def decide_return(
    status: JobStatus, attempt: int, *, fence: int | None, begun: int | None = None, pausing: bool = False
) -> Return:
    """Decide about a job of a backup.

    What ran when the backup was made is lost to nobody's fault. No attempt that another course of events had
    is used again.

    Args:
        status: What the backup says; so does `attempt`.
        attempt: Its number.
        fence: The lowest attempt that Redis lets nodes take, if it is known: one that ended raises it by one.
        begun: The highest attempt that the storage has a folder of.
        pausing: Whether its worker had been asked to pause.
    """
    highest = max(attempt, fence or 0, begun or 0)
    if status is JobStatus.RUNNING and not pausing:
        return Return(highest + 1, Trigger.LEASE_LOST)
    if status is JobStatus.RUNNING:
        return Return(highest, Trigger.PAUSED)
    if status is JobStatus.CANCELING:
        return Return(highest, Trigger.LEASE_LOST)
    if status is JobStatus.QUEUED:
        is_unseen = fence is None and highest == attempt
        return Return(attempt if is_unseen else highest + 1)
    was_asked_for_again = (begun or 0) > attempt or (fence or 0) > attempt + 1
    return Return(highest if was_asked_for_again else attempt)


def return_jobs(
    session: Session, fences: Mapping[str, int], begun: Mapping[str, int], *, now: datetime
) -> int:
    """Let every job of a database that was just put back go on rightly; return how many had not ended.

    See `decide_return`; jobs without a fence or a folder are left out of the two. A row that cannot be read
    stays as it is: whoever acts on it next judges it.
    """
    unfinished = 0
    for job in session.scalars(select(Job).order_by(Job.id)).all():
        job_id = job.id
        try:
            with session.begin_nested():
                returned = decide_return(
                    job.job_status, job.attempt, fence=fences.get(job_id), begun=begun.get(job_id),
                    pausing=job.status_reason == PAUSING,
                )  # fmt: skip
                had_ended = job.job_status.is_final
                _write(session, job, returned, now=now)
            unfinished += not had_ended
        except (ValueError, TypeError) as error:
            _log.warning("row_unreadable", job_id=job_id, reason=str(error))
    return unfinished


def _write(session: Session, job: Job, returned: Return, *, now: datetime) -> None:
    number = {"attempt": returned.attempt}
    if returned.trigger is not None:
        save_attempt(session, job.id, job.attempt, ended_at=now, outcome=RESTORED)
        reason = RESTORED if returned.trigger is Trigger.LEASE_LOST else None
        values = next_attempt(job) | number
        apply_trigger(session, job, returned.trigger, now=now, reason=reason, values=values)
    elif job.job_status is JobStatus.QUEUED:
        write_changes(session, job, number | {"dispatched_at": None}, now=now)
    elif returned.attempt != job.attempt:
        write_changes(session, job, number, now=now)


def read_fences(redis: Coordination, job_ids: list[str]) -> dict[str, int]:
    """Return the fence of each job that Redis knows; raise `RedisUnavailable`."""
    fences: dict[str, int] = {}
    for start in range(0, len(job_ids), _PAGE):
        fences |= redis.claims.fences(job_ids[start : start + _PAGE])
    return fences


def settle_restore(backend: Backend) -> bool:
    """Let Redis forget the time before the last restore, once for each; return whether there was something.

    That is before a first message is sent: a flag that was raised then would stop an attempt of now, and a
    worker of then would keep its lease.

    Raises:
        DatabaseUnavailable, RedisUnavailable: when they fail; then it is to be called again.
    """
    with backend.database.read() as session:
        row = session.scalar(select(InstallationRow))
        if row is None or row.restored_at is None:
            return False
        name = to_rfc3339(row.restored_at)
        unfinished = [status.value for status in JobStatus if not status.is_final]
        found = session.execute(select(Job.id, Job.attempt).where(Job.status.in_(unfinished)))
        attempts = {job.id: job.attempt for job in found}
    return settle_redis(backend.redis, name, attempts)


def settle_redis(redis: Coordination, name: str, attempts: Mapping[str, int]) -> bool:
    """See `settle_restore`; `name` is the restore's, `attempts` are those of the jobs that have not ended."""
    if redis.epoch.knows_restore(name):
        return False
    redis.flags.clear()
    for job_id, attempt in attempts.items():
        redis.claims.fence(job_id, attempt)
    redis.epoch.note_restore(name)
    _log.info("restore_settled", restored_at=name, jobs=len(attempts))
    return True

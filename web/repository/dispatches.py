"""Which attempts are with the broker, as the rows say: a light look at them, and the mark on each.

There may be ten thousand of them every few seconds, so neither loads whole jobs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from sqlalchemy import Table, bindparam, or_, select, update
from sqlalchemy.orm import Session

from shared.messages import message_id
from shared.status import JobStatus
from web.models import Job


@dataclass(frozen=True)
class QueuedAttempt:
    """A queued job's attempt as it was read, and when its message was put into the broker, if it was."""

    job_id: str
    attempt: int
    version: int
    dispatched_at: datetime | None

    @classmethod
    def of(cls, job: Job) -> QueuedAttempt:
        """Return a job's present attempt."""
        return cls(job.id, job.attempt, job.version, job.dispatched_at)

    @property
    def message_id(self) -> str:
        """The broker's id for its message."""
        return message_id(self.job_id, self.attempt)


def dispatched_before(session: Session, moment: datetime, *, now: datetime) -> list[QueuedAttempt]:
    """Return the queued attempts whose message was put into the broker before a moment, oldest job first.

    Also those that were sent in what is now the future: the clock was wrong, and may have been by hours.
    """
    sent_long_ago = or_(Job.dispatched_at < moment, Job.dispatched_at > now)
    columns = select(Job.id, Job.attempt, Job.version, Job.dispatched_at)
    query = columns.where(Job.status == JobStatus.QUEUED.value, sent_long_ago)
    return [QueuedAttempt(*row) for row in session.execute(query.order_by(Job.created_at, Job.id))]


def mark_dispatched(session: Session, attempts: Sequence[QueuedAttempt], moment: datetime | None) -> None:
    """Note that messages were put into the broker at a moment, or, without one, that they are due again.

    A job that has changed since it was read, or was sent meanwhile, stays as it is.
    """
    if not attempts:
        return
    jobs = cast(Table, Job.__table__)
    guarded = update(jobs).where(
        jobs.c.id == bindparam("read_id"),
        jobs.c.version == bindparam("read_version"),
        jobs.c.dispatched_at.is_not_distinct_from(bindparam("read_dispatched_at")),
    )
    session.connection().execute(
        guarded.values(dispatched_at=moment),
        [
            {
                "read_id": attempt.job_id,
                "read_version": attempt.version,
                "read_dispatched_at": attempt.dispatched_at,
            }
            for attempt in attempts
        ],
    )

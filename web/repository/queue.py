"""The queue as the database knows it: places in it, and how many jobs are with workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Integer, cast, func, select
from sqlalchemy.orm import Session

from shared.status import JobStatus
from web.models import Job


@dataclass(frozen=True)
class QueueCounts:
    """How many jobs there are of each kind that has not ended; `oldest` is when the first of `depth` came.

    Followers are not in `depth`: no worker has anything to do for them.
    """

    depth: int = 0
    followers: int = 0
    running: int = 0
    paused: int = 0
    oldest: datetime | None = None


def queue_positions(session: Session, job_ids: Sequence[str]) -> dict[str, int]:
    """Return the place of those of the jobs that are queued; 1 is the next to be taken.

    A follower is in nobody's way: it has its leader's place, and none once its leader is being worked on.
    """
    if not job_ids:
        return {}
    place = func.row_number().over(order_by=(Job.created_at, Job.id)).label("place")
    queued = Job.status == JobStatus.QUEUED.value
    queue = select(Job.id, place).where(queued, Job.leader_id.is_(None)).subquery()
    line_id = func.coalesce(Job.leader_id, Job.id).label("line_id")
    in_line = session.execute(select(Job.id, line_id).where(queued, Job.id.in_(job_ids)))
    stands_for = {row.id: row.line_id for row in in_line}
    # Not joined: SQLite would number the whole queue again for each of the jobs.
    places = select(queue.c.id, queue.c.place).where(queue.c.id.in_(set(stands_for.values())))
    found = {row.id: row.place for row in session.execute(places)}
    return {job_id: found[leader] for job_id, leader in stands_for.items() if leader in found}


def count_queued(session: Session) -> int:
    """Return how many jobs are in line; followers are not."""
    queued = Job.status == JobStatus.QUEUED.value, Job.leader_id.is_(None)
    return session.scalar(select(func.count()).select_from(Job).where(*queued)) or 0


def count_with_workers(session: Session) -> int:
    """Return how many jobs workers are busy with."""
    busy = [JobStatus.RUNNING.value, JobStatus.CANCELING.value]
    return session.scalar(select(func.count()).select_from(Job).where(Job.status.in_(busy))) or 0


def count_queue(session: Session) -> QueueCounts:
    """Count the jobs that have not ended, by what they wait for."""
    follows = cast(Job.leader_id.is_not(None), Integer).label("follows")
    query = select(Job.status, follows, func.count().label("jobs"), func.min(Job.queued_at).label("oldest"))
    unfinished = [status.value for status in JobStatus if not status.is_final]
    rows = session.execute(query.where(Job.status.in_(unfinished)).group_by(Job.status, follows)).all()
    found = {(JobStatus(row.status), bool(row.follows)): row for row in rows}

    def jobs(status: JobStatus, *kinds: bool) -> int:
        return sum(found[status, kind].jobs for kind in kinds if (status, kind) in found)

    both = (False, True)
    line = found.get((JobStatus.QUEUED, False))
    return QueueCounts(
        depth=jobs(JobStatus.QUEUED, False),
        followers=jobs(JobStatus.QUEUED, True),
        running=jobs(JobStatus.RUNNING, *both) + jobs(JobStatus.CANCELING, *both),
        paused=jobs(JobStatus.PAUSED, *both),
        oldest=line.oldest if line else None,
    )


def names_of_jobs(session: Session, job_ids: Sequence[str], *, caller: str) -> dict[str, str]:
    """Return what people call those of the jobs that are the caller's: their name, else their pictures."""
    jobs = session.scalars(select(Job).where(Job.id.in_(job_ids), Job.caller == caller))
    return {job.id: job.name or f"{job.content.filename} × {job.style.filename}" for job in jobs}

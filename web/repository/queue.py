"""The queue as the database knows it: places in it, and how many jobs are with workers."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.status import JobStatus
from web.models import Job


def queue_positions(session: Session, job_ids: Sequence[str]) -> dict[str, int]:
    """Return the place of those of the jobs that are queued; 1 is the next to be taken.

    A follower is in nobody's way: it has its leader's place, and none once its leader is being worked on.
    """
    if not job_ids:
        return {}
    place = func.row_number().over(order_by=(Job.created_at, Job.id)).label("place")
    queued = Job.status == JobStatus.QUEUED.value
    queue = select(Job.id, place).where(queued, Job.leader_id.is_(None)).subquery()
    in_line = func.coalesce(Job.leader_id, Job.id)
    found = select(Job.id, queue.c.place).join(queue, queue.c.id == in_line)
    rows = session.execute(found.where(queued, Job.id.in_(job_ids)))
    return {row.id: row.place for row in rows}


def count_queued(session: Session) -> int:
    """Return how many jobs are in line; followers are not."""
    queued = Job.status == JobStatus.QUEUED.value, Job.leader_id.is_(None)
    return session.scalar(select(func.count()).select_from(Job).where(*queued)) or 0


def count_with_workers(session: Session) -> int:
    """Return how many jobs workers are busy with."""
    busy = [JobStatus.RUNNING.value, JobStatus.CANCELING.value]
    return session.scalar(select(func.count()).select_from(Job).where(Job.status.in_(busy))) or 0

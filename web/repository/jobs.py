"""Jobs in the database: adding, reading, listing, counting."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, TypeVarTuple

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, aliased

from shared.errors import NotFound
from shared.ids import new_id
from shared.options import StyleOptions
from shared.status import JobStatus
from web.models import Asset, Job, JobLabel
from web.repository.transitions import add_history, first_entry

_Row = TypeVarTuple("_Row")


@dataclass(frozen=True)
class JobFilter:
    """Which jobs a list shows; an empty field filters nothing."""

    statuses: Sequence[JobStatus] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    batch_id: str | None = None
    created_after: datetime | None = None
    #: A part of the name, in whatever case.
    name: str = ""


def add_job(
    session: Session,
    *,
    caller: str,
    name: str,
    content: Asset,
    style: Asset,
    options: StyleOptions,
    labels: Mapping[str, str],
    max_attempts: int,
    now: datetime,
    extra: Mapping[str, Any] = MappingProxyType({}),
) -> Job:
    """Add a queued job with its first history entry; `extra` names further columns."""
    job = Job(
        **{"id": new_id(), **extra},
        caller=caller,
        name=name,
        status=JobStatus.QUEUED.value,
        version=1,
        attempt=1,
        max_attempts=max_attempts,
        priority=0,
        content=content,
        style=style,
        options=options.model_dump(),
        created_at=now,
        queued_at=now,
        step=0,
        outputs=[],
        metrics={},
        labels=[JobLabel(key=key, value=value) for key, value in labels.items()],
    )
    session.add(job)
    session.flush()
    add_history(session, job.id, after=0, entries=[first_entry()], now=now)
    return job


def get_job(session: Session, job_id: str, *, caller: str | None = None) -> Job:
    """Return a job; with `caller`, only one of theirs.

    Raises:
        NotFound: when there is none with this id.
    """
    query = select(Job).where(Job.id == job_id)
    if caller is not None:
        query = query.where(Job.caller == caller)
    job = session.scalar(query)
    if job is None:
        raise NotFound(f"there is no job with the id '{job_id}'")
    return job


def get_jobs(session: Session, job_ids: Collection[str]) -> dict[str, Job]:
    """Return those of the jobs that are there, by their ids."""
    return {job.id: job for job in session.scalars(select(Job).where(Job.id.in_(job_ids)))}


def get_version(session: Session, job_id: str) -> int | None:
    """Return a job's version, or nothing when the job is gone. Cheap: for those who wait."""
    return session.scalar(select(Job.version).where(Job.id == job_id))


def list_jobs(
    session: Session,
    *,
    caller: str,
    only: JobFilter,
    before_id: str | None = None,
    after_id: str | None = None,
    limit: int,
) -> list[Job]:
    """Return up to `limit` jobs, newest first.

    Args:
        session: The database.
        caller: Whose jobs.
        only: Which of them.
        before_id: Only jobs older than this one; those next to it.
        after_id: Only jobs newer than this one; those next to it, too, so that one can go back.
        limit: How many at most.
    """
    query = _filtered(select(Job), only).where(Job.caller == caller)
    if after_id is not None:
        query = query.where(Job.id > after_id)
        return list(session.scalars(query.order_by(Job.id).limit(limit)))[::-1]
    if before_id is not None:
        query = query.where(Job.id < before_id)
    return list(session.scalars(query.order_by(Job.id.desc()).limit(limit)))


def count_by_status(session: Session, *, caller: str, only: JobFilter) -> dict[JobStatus, int]:
    """Return how many jobs there are of each status that has some; the filter's own statuses do not count."""
    query = select(Job.status, func.count()).where(Job.caller == caller).group_by(Job.status)
    found = session.execute(_filtered(query, replace(only, statuses=())))
    return {JobStatus(status): count for status, count in found}


def jobs_to_dispatch(session: Session, *, limit: int) -> list[Job]:
    """Return queued jobs whose message is not in the broker yet, oldest first."""
    query = select(Job).where(
        Job.status == JobStatus.QUEUED.value, Job.dispatched_at.is_(None), Job.leader_id.is_(None)
    )
    return list(session.scalars(query.order_by(Job.created_at, Job.id).limit(limit)))


def jobs_to_expire(session: Session, now: datetime) -> list[Job]:
    """Return queued jobs whose queue deadline is over; one that was started has kept it."""
    query = select(Job).where(
        Job.status == JobStatus.QUEUED.value, Job.queue_deadline <= now, Job.started_at.is_(None)
    )
    return list(session.scalars(query.order_by(Job.id)))


def followers_to_settle(session: Session) -> list[Job]:
    """Return queued jobs that wait for one which no longer is under way with the same work, oldest first."""
    leader = aliased(Job)
    under_way = select(leader.id).where(
        leader.id == Job.leader_id,
        leader.status.in_([JobStatus.QUEUED.value, JobStatus.RUNNING.value]),
        leader.work_sha256.is_not_distinct_from(Job.work_sha256),
    )
    query = select(Job).where(
        Job.status == JobStatus.QUEUED.value, Job.leader_id.is_not(None), ~under_way.exists()
    )
    return list(session.scalars(query.order_by(Job.id)))


def jobs_held_by_workers(session: Session) -> list[Job]:
    """Return the jobs that a worker should hold a lease on."""
    held = [JobStatus.RUNNING.value, JobStatus.CANCELING.value]
    return list(session.scalars(select(Job).where(Job.status.in_(held)).order_by(Job.id)))


def count_ahead(session: Session, job: Job) -> int:
    """Return how many queued jobs will be taken before this one."""
    query = (
        select(func.count())
        .select_from(Job)
        .where(
            Job.status == JobStatus.QUEUED.value,
            Job.created_at < job.created_at,
            Job.leader_id.is_(None),
        )
    )
    return session.scalar(query) or 0


def recent_run_seconds(session: Session, *, limit: int = 20) -> list[float]:
    """Return how long the last succeeded jobs ran, in seconds, newest first."""
    query = select(Job.metrics).where(Job.status == JobStatus.SUCCEEDED.value, Job.started_at.is_not(None))
    rows = session.scalars(query.order_by(Job.completed_at.desc()).limit(limit))
    return [float(metrics["run_seconds"]) for metrics in rows if metrics.get("run_seconds")]


def _filtered(query: Select[*_Row], only: JobFilter) -> Select[*_Row]:
    if only.statuses:
        query = query.where(Job.status.in_([status.value for status in only.statuses]))
    for key, value in only.labels.items():
        query = query.where(
            select(JobLabel.job_id)
            .where(JobLabel.job_id == Job.id, JobLabel.key == key, JobLabel.value == value)
            .exists()
        )
    if only.batch_id is not None:
        query = query.where(Job.batch_id == only.batch_id)
    if only.created_after is not None:
        query = query.where(Job.created_at > only.created_after)
    if only.name:
        query = query.where(func.lower(Job.name).contains(only.name.lower(), autoescape=True))
    return query

"""Queries of jobs: add, read, count, and which are to be dealt with; `web.jobs.queue` has the queue."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from sqlalchemy import (
    bindparam,
    func,
    select,
    text,
)
from sqlalchemy.orm import Session, aliased

from shared.broker import route_for
from shared.errors import NotFound
from shared.options import StyleOptions
from shared.protocol import new_id
from shared.status import DEFAULT_PRIORITY, JobKind, JobStatus
from shared.trace import go_on
from web.db.models import (
    ENDED_WELL_WORDS,
    IN_LINE_WORDS,
    UNREADABLE_MOMENT,
    Asset,
    Job,
    JobLabel,
    UtcDateTime,
)
from web.db.totals import Total, add
from web.jobs.fairness import FlowKey, next_start
from web.jobs.routing import line_of, queue_rank
from web.jobs.transitions import add_history, first_entry, insert_rows, known_row
from web.jobs.waits import measured_seconds

#: Recent styles are those of so many jobs: they are asked for with every page 'New job'.
_STYLES_OF_JOBS = 100


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
    kind: JobKind = JobKind.JOB,
    priority: int = DEFAULT_PRIORITY,
    estimated_seconds: float = 0.0,
    metrics: Mapping[str, Any] = MappingProxyType({}),
    traceparent: str | None = None,
    extra: Mapping[str, Any] = MappingProxyType({}),
) -> Job:
    """Add a queued job with its first history entry; `extra` names further columns.

    It goes on with the trace of a `traceparent`, or begins one. `estimated_seconds` is how long it is
    reckoned to have a device. Where it stands is read from its flow, unless `extra` has `virtual_start`.
    """
    route = route_for(options.methods)
    values: dict[str, Any] = {
        "id": new_id(),
        "caller": caller,
        "kind": kind.value,
        "name": name,
        "status": JobStatus.QUEUED.value,
        "version": 1,
        "attempt": 1,
        "max_attempts": max_attempts,
        "priority": priority,
        "queue_rank": queue_rank(priority),
        "estimated_seconds": estimated_seconds,
        "sends": 0,
        "route": route,
        "content_asset_id": content.id,
        "style_asset_id": style.id,
        "options": options.shown(),
        "created_at": now,
        "queued_at": now,
        "step": 0,
        "outputs": [],
        "metrics": dict(metrics),
        "traceparent": go_on(traceparent),
        **extra,
    }
    if "virtual_start" not in extra:
        values["virtual_start"] = next_start(session, FlowKey(caller, route, priority))
    insert_rows(session, Job, [values])
    add(session, Total.JOBS_SUBMITTED, kind=kind.value, method=options.method)
    tags = [{"job_id": values["id"], "key": key, "value": value} for key, value in sorted(labels.items())]
    if tags:
        insert_rows(session, JobLabel, tags)
    add_history(session, values["id"], after=0, entries=[first_entry()], now=now)
    kept = [known_row(session, JobLabel, tag) for tag in tags]
    return known_row(session, Job, {**values, "content": content, "style": style, "labels": kept})


def get_job(session: Session, job_id: str, *, caller: str | None = None) -> Job:
    """Return a job; with `caller`, only one of theirs.

    Raises:
        NotFound: when there is none with this id.
    """
    query = _BY_ID if caller is None else _OF_CALLER
    job = session.scalar(query, {"job_id": job_id, "caller": caller})
    if job is None:
        raise NotFound(f"there is no job with the id '{job_id}'")
    return job


# Made once: every request about a job asks one of them.
_BY_ID = select(Job).where(Job.id == bindparam("job_id"))
_OF_CALLER = _BY_ID.where(Job.caller == bindparam("caller"))


def read_row(session: Session, job_id: str, *, caller: str) -> tuple[Any, ...] | None:
    """Return all that is stored in the row of a caller's job, as it is stored; None when it is gone.

    Two that are equal are of the same state, on whichever way it got there: a version alone is not, since
    some changes are no news, and a backup that was put back may count the same versions again.
    """
    found = session.connection().execute(_ROW, {"job_id": job_id, "caller": caller}).first()
    return None if found is None else tuple(found)


#: A text: nothing is made of the values, nor of objects.
_ROW = text("SELECT * FROM jobs WHERE id = :job_id AND caller = :caller")


def get_jobs(session: Session, job_ids: Collection[str]) -> dict[str, Job]:
    """Return those of the jobs that exist, by their ids."""
    return {job.id: job for job in session.scalars(select(Job).where(Job.id.in_(job_ids)))}


def load_in_order(session: Session, ids: Sequence[str]) -> list[Job]:
    """Return jobs in the order of their ids as given."""
    found = get_jobs(session, ids) if ids else {}
    return [found[job_id] for job_id in ids]


def get_version(session: Session, job_id: str) -> int | None:
    """Return a job's version, or None when the job is gone. Cheap, so that it can be polled."""
    return session.scalar(select(Job.version).where(Job.id == job_id))


def recent_styles(session: Session, *, caller: str, limit: int) -> list[Asset]:
    """Return the style pictures of a caller's jobs, newest first, each once; of their last jobs only."""
    last = (
        select(Job.style_asset_id)
        .where(Job.caller == caller, Job.kind == JobKind.JOB.value)
        .order_by(Job.id.desc())
        .limit(_STYLES_OF_JOBS)
    )
    ids = list(dict.fromkeys(session.scalars(last)))[:limit]
    found = {asset.id: asset for asset in session.scalars(select(Asset).where(Asset.id.in_(ids)))}
    return [found[asset_id] for asset_id in ids]


def jobs_to_expire(session: Session, now: datetime) -> list[Job]:
    """Return queued jobs whose queue deadline is over, except those that were started before."""
    return load_in_order(session, list(session.scalars(_OVERDUE, {"now": now})))


def followers_to_settle(session: Session) -> list[Job]:
    """Return followers whose leader is no longer queued or running with the same work, oldest first."""
    return load_in_order(session, list(session.scalars(_LEFT_BEHIND)))


_OVERDUE = (
    select(Job.id)
    .where(
        Job.status == JobStatus.QUEUED.value,
        Job.queue_deadline <= bindparam("now", type_=UtcDateTime()),
        Job.started_at.is_(None),
    )
    .order_by(Job.id)
)
_leader = aliased(Job)
_UNDER_WAY = select(_leader.id).where(
    _leader.id == Job.leader_id,
    _leader.status.in_([JobStatus.QUEUED.value, JobStatus.RUNNING.value]),
    _leader.work_sha256.is_not_distinct_from(Job.work_sha256),
)
_LEFT_BEHIND = (
    select(Job.id)
    .where(Job.status == JobStatus.QUEUED.value, Job.leader_id.is_not(None), ~_UNDER_WAY.exists())
    .order_by(Job.id)
)


def jobs_held_by_workers(session: Session) -> list[Job]:
    """Return the jobs that a worker should hold a lease on."""
    held = [JobStatus.RUNNING.value, JobStatus.CANCELING.value]
    return list(session.scalars(select(Job).where(Job.status.in_(held)).order_by(Job.id)))


def recent_run_seconds(session: Session, route: str, *, limit: int = 20) -> list[float]:
    """Return how long the last succeeded jobs in the line of a route ran, in seconds, newest first."""
    ended = select(Job.completed_at, Job.metrics).where(text(ENDED_WELL_WORDS))
    rows = [
        tuple(row)
        # One by one: the jobs of several routes are in no order in the index.
        for one in line_of(route)
        for row in session.execute(
            ended.where(Job.route == one).order_by(Job.completed_at.desc()).limit(limit)
        )
    ]
    newest = sorted(rows, key=lambda row: row[0] or UNREADABLE_MOMENT, reverse=True)[:limit]
    return [seconds for _, metrics in newest if (seconds := measured_seconds(metrics))]


@dataclass(frozen=True)
class QueueCounts:
    """The numbers of jobs that have not ended; `oldest` is when the first of `depth` was queued.

    Followers are not in `depth`: they need no worker.
    """

    depth: int = 0
    followers: int = 0
    running: int = 0
    paused: int = 0
    oldest: datetime | None = None


#: The same as `IN_LINE`, in the words of the indexes that have only these jobs.
WAITS_IN_LINE = text(IN_LINE_WORDS)


def count_with_workers(session: Session, route: str) -> int:
    """Return the number of jobs in the line of a route that workers hold."""
    busy = Job.status.in_([JobStatus.RUNNING.value, JobStatus.CANCELING.value])
    return (
        session.scalar(select(func.count()).select_from(Job).where(busy, Job.route.in_(line_of(route)))) or 0
    )


def count_queue(session: Session) -> QueueCounts:
    """Count the jobs that have not ended; drafts do not count."""
    line = select(func.count(), func.min(Job.queued_at)).where(WAITS_IN_LINE, Job.kind == JobKind.JOB.value)
    depth, oldest = session.execute(line).one()
    follow = select(func.count()).where(
        Job.status == JobStatus.QUEUED.value, Job.leader_id.is_not(None), Job.kind == JobKind.JOB.value
    )
    held = [JobStatus.RUNNING.value, JobStatus.CANCELING.value, JobStatus.PAUSED.value]
    others = select(Job.status, func.count()).where(Job.status.in_(held), Job.kind == JobKind.JOB.value)
    found = {row[0]: row[1] for row in session.execute(others.group_by(Job.status))}
    return QueueCounts(
        depth=depth,
        followers=session.scalar(follow) or 0,
        running=found.get(JobStatus.RUNNING.value, 0) + found.get(JobStatus.CANCELING.value, 0),
        paused=found.get(JobStatus.PAUSED.value, 0),
        oldest=oldest,
    )


def names_of_jobs(session: Session, job_ids: Sequence[str], *, caller: str) -> dict[str, str]:
    """Return what to call those of the jobs that are the caller's: their name, else their pictures."""
    jobs = session.scalars(select(Job).where(Job.id.in_(job_ids), Job.caller == caller))
    return {job.id: job.name or _pictures_of(job) for job in jobs}


def _pictures_of(job: Job) -> str:
    return " × ".join(asset.filename for asset in (job.content, job.style) if asset is not None)

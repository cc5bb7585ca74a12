"""Queries of jobs: add, read, list, count, places in the queue, and which attempts are due."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from types import MappingProxyType
from typing import Any, NamedTuple

from sqlalchemy import (
    and_,
    bindparam,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.orm import Session, aliased

from shared.broker import ROUTES, route_for
from shared.errors import NotFound
from shared.options import StyleOptions
from shared.protocol import message_id, new_id
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
from web.jobs.routing import HIGHEST_HANDED_BACK, is_handed_back, line_of, queue_rank
from web.jobs.transitions import add_history, first_entry, insert_rows, known_row
from web.jobs.waits import measured_seconds

#: So many jobs are sent at once beside the window; after the loss of a whole fleet many are handed back.
_AT_ONCE = 200
#: SQLite takes so many values in one statement, and some more.
_IDS_AT_ONCE = 500
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


#: The order of the queue: first what a worker has begun, then by priority, then fair between callers, then
#: by age.
IN_ORDER = (Job.queue_rank, Job.virtual_start, Job.created_at, Job.id)
_WAS_HANDED_BACK = Job.queue_rank <= HIGHEST_HANDED_BACK


class QueuePlace(NamedTuple):
    """What the queue orders jobs by, lower first: `IN_ORDER`."""

    rank: int
    virtual_start: float
    created_at: datetime
    job_id: str = ""

    @classmethod
    def of(cls, job: Job) -> QueuePlace:
        """Return that of a job."""
        return cls(job.queue_rank, job.virtual_start, job.created_at, job.id)


@dataclass(frozen=True)
class InBroker:
    """How many jobs of a route have their message in the broker for all its nodes.

    None of them that was not handed back goes after `last`; None where there is none.
    """

    count: int = 0
    last: QueuePlace | None = None


IN_LINE = (Job.status == JobStatus.QUEUED.value, Job.leader_id.is_(None))
# These are asked several times a second, and as a rule find nothing: they are made once, and read ids alone.
_DUE_PLACES = (
    select(*IN_ORDER)
    .where(*IN_LINE, Job.dispatched_at.is_(None), Job.route == bindparam("route"))
    .order_by(*IN_ORDER)
)
_DUE = _DUE_PLACES.with_only_columns(Job.id)
_DUE_AGAIN = _DUE.where(_WAS_HANDED_BACK).limit(_AT_ONCE)
_DUE_FIRST = _DUE.where(~_WAS_HANDED_BACK)
# By two ranges of the index: as one condition on both columns SQLite would go through all that is due.
_DUE_OF_LOWER_RANK = _DUE_PLACES.where(~_WAS_HANDED_BACK, Job.queue_rank < bindparam("rank")).limit(_AT_ONCE)
_DUE_OF_RANK = _DUE_PLACES.where(
    Job.queue_rank == bindparam("rank"), Job.virtual_start < bindparam("virtual_start")
).limit(_AT_ONCE)
# What waits for nodes of some numerics takes no place from what others could do.
_IN_WINDOW = (*IN_LINE, Job.dispatched_at.is_not(None), Job.pinned_to.is_(None))
_DISPATCHED = (
    select(
        Job.route,
        Job.queue_rank,
        func.count().label("jobs"),
        func.max(Job.virtual_start).label("virtual_start"),
        func.max(Job.created_at).label("created_at"),
    )
    .where(*_IN_WINDOW, Job.route.in_(list(ROUTES)))
    .group_by(Job.route, Job.queue_rank)
)


def jobs_to_dispatch(
    session: Session, *, room: Mapping[str, int], in_broker: Mapping[str, InBroker] = MappingProxyType({})
) -> list[Job]:
    """Return the queued jobs whose message is to be in the broker, each route's in the order of the queue.

    Of each route up to its `room`. Beside that come those that were handed back, so that none of them waits,
    and those that go before one that lies in the broker, which is to be taken back for it.
    """
    ids: list[str] = []
    for route, limit in room.items():
        ids += session.scalars(_DUE_AGAIN, {"route": route})
        first = list(session.scalars(_DUE_FIRST.limit(limit), {"route": route})) if limit > 0 else []
        last = in_broker[route].last if route in in_broker else None
        if last is not None and len(first) >= limit:  # else there are no more
            first += _due_before(session, route, last, besides=set(first))
        ids += first
    return _load(session, ids)


def _due_before(session: Session, route: str, last: QueuePlace, *, besides: Collection[str]) -> list[str]:
    """Return the jobs, in order, that are to take the place of others in the broker."""
    where = {"route": route, "rank": last.rank, "virtual_start": last.virtual_start}
    rows = [*session.execute(_DUE_OF_LOWER_RANK, where), *session.execute(_DUE_OF_RANK, where)]
    due = [place for row in rows if (place := QueuePlace(*row)).job_id not in besides]
    if not due:
        return []
    standing = map(QueuePlace.of, last_dispatched(session, route, limit=len(due)))
    # The first of these instead of the last of those, and so on until they meet.
    pairs = takewhile(lambda pair: pair[0] < pair[1], zip(due, standing, strict=False))
    return [one.job_id for one, _ in pairs]


def _load(session: Session, ids: Sequence[str]) -> list[Job]:
    """Return jobs in the order of their ids as given."""
    found = get_jobs(session, ids) if ids else {}
    return [found[job_id] for job_id in ids]


def handed_back_in_broker(session: Session) -> list[Job]:
    """Return the queued jobs that were handed back and whose message was sent, in the order of the queue."""
    query = select(Job).where(
        Job.status == JobStatus.QUEUED.value,
        Job.leader_id.is_(None),
        Job.dispatched_at.is_not(None),
        _WAS_HANDED_BACK,
    )
    return list(session.scalars(query.order_by(*IN_ORDER).limit(_AT_ONCE)))


def pinned_jobs(session: Session) -> list[Job]:
    """Return the queued jobs whose message was sent to the nodes of some numerics alone."""
    query = select(Job).where(*IN_LINE, Job.dispatched_at.is_not(None), Job.pinned_to.is_not(None))
    return list(session.scalars(query))


def count_dispatched(session: Session) -> dict[str, InBroker]:
    """Return what lies in the broker of the queued jobs of each route."""
    found: dict[str, InBroker] = {route: InBroker() for route in ROUTES}
    for row in session.execute(_DISPATCHED):
        if not isinstance(row.queue_rank, int):  # its row is damaged
            continue
        seen = found[row.route]
        last = seen.last
        if not is_handed_back(row.queue_rank) and (last is None or row.queue_rank > last.rank):
            last = QueuePlace(row.queue_rank, row.virtual_start, row.created_at)
        found[row.route] = InBroker(seen.count + row.jobs, last)
    return found


def last_dispatched(session: Session, route: str, *, limit: int) -> list[Job]:
    """Return the last jobs of a route whose message is in the broker, but none that was handed back."""
    last = [column.desc() for column in IN_ORDER]
    query = select(Job).where(*_IN_WINDOW, Job.route == route, ~_WAS_HANDED_BACK).order_by(*last)
    return list(session.scalars(query.limit(limit)))


def places_in_line(session: Session, job_ids: Collection[str]) -> tuple[dict[str, QueuePlace], set[str]]:
    """Return by their ids what the queue orders jobs by, of those that are queued; and which are due."""
    found: dict[str, QueuePlace] = {}
    due: set[str] = set()
    ids = list(job_ids)
    for start in range(0, len(ids), _IDS_AT_ONCE):
        some = Job.id.in_(ids[start : start + _IDS_AT_ONCE])
        query = select(*IN_ORDER, Job.dispatched_at).where(some, Job.status == JobStatus.QUEUED.value)
        for row in session.execute(query):
            found[row.id] = QueuePlace(row.queue_rank, row.virtual_start, row.created_at, row.id)
            if row.dispatched_at is None:
                due.add(row.id)
    return found, due


def jobs_to_expire(session: Session, now: datetime) -> list[Job]:
    """Return queued jobs whose queue deadline is over, except those that were started before."""
    return _load(session, list(session.scalars(_OVERDUE, {"now": now})))


def followers_to_settle(session: Session) -> list[Job]:
    """Return followers whose leader is no longer queued or running with the same work, oldest first."""
    return _load(session, list(session.scalars(_LEFT_BEHIND)))


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


@dataclass(frozen=True)
class QueuedAttempt:
    """A queued job's attempt as it was read, and when its message was sent to the broker, if it was."""

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
    """Return the queued attempts whose message was sent to the broker before a moment, in the queue's order.

    Also those with a sending time in the future: the clock was wrong then, perhaps by hours.
    """
    sent_long_ago = or_(Job.dispatched_at < moment, Job.dispatched_at > now)
    columns = select(Job.id, Job.attempt, Job.version, Job.dispatched_at)
    query = columns.where(Job.status == JobStatus.QUEUED.value, sent_long_ago)
    return [QueuedAttempt(*row) for row in session.execute(query.order_by(*IN_ORDER))]


def open_attempts(session: Session, job_ids: Collection[str]) -> dict[str, int]:
    """Return the attempts that those of the jobs are at that a message may still bring on.

    Also of running ones: the message of a child that died is taken again under the same lease. Not of queued
    ones whose message is due: it may belong elsewhere by now.
    """
    held = [JobStatus.RUNNING.value, JobStatus.CANCELING.value]
    was_sent = and_(Job.status == JobStatus.QUEUED.value, Job.dispatched_at.is_not(None))
    found: dict[str, int] = {}
    ids = list(job_ids)
    for start in range(0, len(ids), _IDS_AT_ONCE):
        some = ids[start : start + _IDS_AT_ONCE]
        query = select(Job.id, Job.attempt).where(Job.id.in_(some), or_(Job.status.in_(held), was_sent))
        found |= {row.id: row.attempt for row in session.execute(query)}
    return found


def mark_dispatched(
    session: Session,
    attempts: Sequence[QueuedAttempt],
    moment: datetime | None,
    *,
    pinned_to: str | None = None,
) -> None:
    """Store that messages were sent to the broker at a moment, or with None that they are due again.

    `pinned_to` are the numerics whose nodes alone see them. A job that has changed or was sent since it was
    read stays as it is.
    """
    if not attempts:
        return
    jobs = Job.metadata.tables[Job.__tablename__]
    guarded = update(jobs).where(
        jobs.c.id == bindparam("read_id"),
        jobs.c.version == bindparam("read_version"),
        jobs.c.dispatched_at.is_not_distinct_from(bindparam("read_dispatched_at")),
    )
    session.connection().execute(
        guarded.values(
            dispatched_at=moment,
            pinned_to=pinned_to,
            sends=jobs.c.sends + (0 if moment is None else 1),
        ),
        [
            {
                "read_id": attempt.job_id,
                "read_version": attempt.version,
                "read_dispatched_at": attempt.dispatched_at,
            }
            for attempt in attempts
        ],
    )

"""The queue: its order, which of its jobs are due, and what of it lies in the broker."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from types import MappingProxyType
from typing import NamedTuple

from sqlalchemy import and_, bindparam, func, or_, select, update
from sqlalchemy.orm import Session

from shared.broker import ROUTES
from shared.protocol import message_id
from shared.status import JobStatus
from web.db.models import Job
from web.jobs.queries import load_in_order
from web.jobs.routing import HIGHEST_HANDED_BACK, is_handed_back

#: So many jobs are sent at once beside the window; after the loss of a whole fleet many are handed back.
_AT_ONCE = 200
#: SQLite takes so many values in one statement, and some more.
_IDS_AT_ONCE = 500

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
    return load_in_order(session, ids)


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

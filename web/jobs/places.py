"""Places in the lines in which jobs wait for workers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any

from sqlalchemy import BindParameter, Double, Integer, Row, String, TextClause, bindparam, select, text
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from shared.status import JobStatus
from web.db.models import IN_LINE_WORDS, UNREADABLE_MOMENT, Job, UtcDateTime
from web.jobs.fairness import FlowKey, next_start
from web.jobs.queue import IN_ORDER, QueuePlace
from web.jobs.routing import LINES, line_of, queue_rank

_Stand = Row[str, str | None, str, str, int, float, datetime]


def places_of(session: Session, jobs: Iterable[Job]) -> dict[str, int]:
    """Return the places of those of some jobs that are queued, each in its own line; 1 is the next to start.

    The jobs are as this transaction sees them. A follower takes no place of its own: it has its leader's, and
    none once its leader runs.
    """
    queued = [job for job in jobs if job.status == JobStatus.QUEUED.value]
    return _places(session, queued) if queued else {}


def place_to_join(
    session: Session, key: FlowKey, moment: datetime, job_id: str, *, start: float | None = None
) -> int:
    """Return the place of a job that joins a flow at a moment from now on; `start` if its start is known."""
    start = next_start(session, key) if start is None else start
    place = QueuePlace(queue_rank(key.priority), start, moment, job_id)
    (ahead,) = _count_gaps(session, line_of(key.route), [place])
    return ahead + 1


def _places(session: Session, stands: Sequence[_Stand | Job]) -> dict[str, int]:
    asked = {stand.id: stand for stand in stands}
    leaders = {row.leader_id for row in asked.values() if row.leader_id is not None} - asked.keys()
    rows = [*asked.values(), *(_queued_among(session, leaders) if leaders else ())]
    waiting = [row for row in rows if row.leader_id is None]
    found: dict[str, int] = {}
    for line in LINES:
        places = sorted(
            QueuePlace(row.queue_rank, row.virtual_start, row.created_at, row.id)
            for row in waiting
            if row.route in line
        )
        # Counted from one to the next: the line is gone through once, whoever stands in it.
        ahead = accumulate(_count_gaps(session, line, places)) if places else ()
        found |= {place.job_id: number for place, number in zip(places, ahead, strict=True)}
    stands_for = {job_id: row.leader_id or job_id for job_id, row in asked.items()}
    return {job_id: found[leader] for job_id, leader in stands_for.items() if leader in found}


def _queued_among(session: Session, job_ids: Collection[str]) -> list[_Stand]:
    # Only by their ids: with its status as a condition SQLite would go through all that is queued.
    columns = select(Job.id, Job.leader_id, Job.status, Job.route, *IN_ORDER[:-1])
    rows = session.execute(columns.where(Job.id.in_(job_ids)))
    return [row for row in rows if row.status == JobStatus.QUEUED.value]


_BEFORE_ALL = QueuePlace(-2_000_000_000, 0.0, UNREADABLE_MOMENT.replace(year=1), "")


def _count_gaps(session: Session, routes: Sequence[str], places: Sequence[QueuePlace]) -> list[int]:
    """Return how many jobs stand up to each of some places in a line, beginning behind the one before."""
    values: dict[str, Any] = {f"route_{number}": route for number, route in enumerate(routes)}
    for number, pair in enumerate(pairwise([_BEFORE_ALL, *places])):
        for side, place in zip(_SIDES, pair, strict=True):
            values |= {f"{side}_{name}_{number}": value for name, value in zip(_ORDER, place, strict=True)}
    return list(session.connection().scalars(_gaps_query(len(places), len(routes)), values))


_SIDES = ("from", "to")
#: By what a line is ordered, with the types of the columns.
_ORDER: dict[str, TypeEngine[Any]] = {
    "rank": Integer(), "start": Double(), "at": UtcDateTime(), "id": String()
}  # fmt: skip


@lru_cache(maxsize=256)
def _gaps_query(places: int, routes: int) -> TextClause:
    """Return the one statement, in text: SQLAlchemy would make it for longer than it takes to answer."""
    rows: list[str] = []
    bound: list[BindParameter[Any]] = []
    for number in range(places):
        names = {f"{side}_{name}_{number}": kind for side in _SIDES for name, kind in _ORDER.items()}
        bound += [bindparam(name, type_=kind) for name, kind in names.items()]
        rows.append(f"({number}, {', '.join(f':{name}' for name in names)})")
    order = "(jobs.queue_rank, jobs.virtual_start, jobs.created_at, jobs.id)"
    since, until = (", ".join(f"{side}_{name}" for name in _ORDER) for side in _SIDES)
    between = f"{order} > ({since}) AND {order} <= ({until})"
    counts = [
        f"(SELECT count(*) FROM jobs WHERE {IN_LINE_WORDS} AND route = :route_{number} AND {between})"  # noqa: S608 - our own words
        for number in range(routes)
    ]
    gaps = f"gaps (number, {since}, {until})"
    query = text(
        f"WITH {gaps} AS (VALUES {', '.join(rows)}) SELECT {' + '.join(counts)} FROM gaps ORDER BY number"  # noqa: S608 - our own words
    )
    bound += [bindparam(f"route_{number}", type_=String()) for number in range(routes)]
    return query.bindparams(*bound)

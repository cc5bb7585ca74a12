"""What waits, by route, memory class and priority: how much, since when, and how many seconds of work it is.

How many wait is counted. What they are is seen from a sample: of a long line every so manieth is looked at,
from its first on, and stands for those behind it. So a look costs the same with a hundred thousand jobs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from shared.broker import ROUTES
from shared.errors import InvalidOptions, PictureTooNarrow
from shared.memory import DeviceKind, Seat, Size
from shared.options import Method, StyleOptions, read_stored_options
from web.db.models import Asset, Job
from web.jobs.estimates import Work, estimate_run, measured_runs
from web.jobs.queries import WAITS_IN_LINE
from web.jobs.queue import IN_ORDER
from web.jobs.routing import priority_of

#: So many of each priority of a route are looked at.
_MOST_SEEN = 100
#: The runs that estimates rest on.
_MOST_RUNS = 50
#: Devices that are sold, by their memory in GB: a job is of the class of the smallest that holds it.
_CLASSES_GB = (2, 4, 8, 16, 24, 32, 48, 80)
LARGER, UNKNOWN = "larger", "unknown"
#: What the optimisation is reckoned with: the weights that take more.
_USUAL_WEIGHTS = "imagenet"


@dataclass(frozen=True)
class Part:
    """What waits in one route, of one memory class and one priority.

    `depth` is a count, of a long line an estimate of it. `backlog_seconds` is how long one device would have
    work with it; None while nothing like it was measured.
    """

    route: str
    memory_class: str
    priority: int
    depth: float
    oldest_seconds: float
    backlog_seconds: float | None


@dataclass(frozen=True)
class _Seen:
    """One job of a sample."""

    memory_class: str
    queued_at: datetime
    work: Work | None


def memory_class(options: StyleOptions, content: Size, style: Size) -> str:
    """Return the class of a job: `8GB` where a device of 8 GB holds it and its process, and none smaller.

    A job of the fast method is reckoned in the memory of its machine, any other one in that of a GPU.

    Args:
        options: The job's.
        content: (width, height) in px.
        style: As well.
    """
    kind = DeviceKind.CPU if options.method == Method.FAST.value else DeviceKind.GPU
    seat = Seat(kind, _USUAL_WEIGHTS, frozenset({options.method}))
    job_bytes = seat.job_bytes(options, content, style)
    if job_bytes is None:
        return UNKNOWN
    needed = seat.process_bytes + job_bytes
    return next((f"{size}GB" for size in _CLASSES_GB if needed <= size * 10**9), LARGER)


def read_parts(session: Session, *, now: datetime) -> list[Part]:
    """Return all that waits for a worker, drafts among it; what waits for another job is left out."""
    ranks = select(Job.route, Job.queue_rank, func.count()).where(WAITS_IN_LINE)
    # One by one: the ranks of a route are in order in the index.
    counts = [
        (row[0], row[1], row[2])
        for route in ROUTES
        for row in session.execute(ranks.where(Job.route == route).group_by(Job.route, Job.queue_rank))
    ]
    runs = measured_runs(session, limit=_MOST_RUNS) if counts else []
    known: dict[Work, float | None] = {}

    def seconds_of(work: Work | None) -> float | None:
        if work is None:
            return None
        if work not in known:
            found = estimate_run(work, runs)
            known[work] = None if found is None else found.seconds
        return known[work]

    tally = _Tally(now)
    for route, rank, count in counts:
        seen = list(_sample(session, route, rank, every=ceil(count / _MOST_SEEN)))
        for one in seen:
            place = (route, one.memory_class, priority_of(rank))
            tally.add(place, one.queued_at, count / len(seen), seconds_of(one.work))
    return tally.parts()


def _sample(session: Session, route: str, rank: int, *, every: int) -> Iterator[_Seen]:
    """Yield each so manieth job that waits with a rank, the first among them."""
    place = func.row_number().over(order_by=IN_ORDER).label("place")
    line = select(Job.id, place).where(WAITS_IN_LINE, Job.route == route, Job.queue_rank == rank).subquery()
    content, style = aliased(Asset), aliased(Asset)
    query = (
        select(Job.options, Job.step, Job.queued_at, content.width, content.height, style.width, style.height)
        .join(line, line.c.id == Job.id)
        .join(content, content.id == Job.content_asset_id)
        .join(style, style.id == Job.style_asset_id)
        .where((line.c.place - 1) % every == 0)
    )
    for options, step, queued_at, *sizes in session.execute(query):
        yield _look(options, step, queued_at, (sizes[0], sizes[1]), (sizes[2], sizes[3]))


def _look(options: Any, step: int, queued_at: datetime, content: Size, style: Size) -> _Seen:  # noqa: ANN401 - a JSON column
    try:
        told = read_stored_options(options)
        work = Work.of_job(told, max(0, told.steps - step), content=content, style=style)
        return _Seen(memory_class(told, content, style), queued_at, work)
    except (InvalidOptions, PictureTooNarrow, TypeError, ValueError, ZeroDivisionError):
        return _Seen(UNKNOWN, queued_at, None)


class _Tally:
    """Adds jobs up by where they wait."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._found: dict[tuple[str, str, int], list[tuple[datetime, float, float | None]]] = {}

    def add(
        self, place: tuple[str, str, int], queued_at: datetime, weight: float, seconds: float | None
    ) -> None:
        """Add a job that stands for `weight` of its kind, each of which takes so many seconds."""
        self._found.setdefault(place, []).append((queued_at, weight, seconds))

    def parts(self) -> list[Part]:
        """Return what was added, in order."""
        return [self._part(place, seen) for place, seen in sorted(self._found.items())]

    def _part(
        self, place: tuple[str, str, int], seen: Sequence[tuple[datetime, float, float | None]]
    ) -> Part:
        depth = sum(weight for _, weight, _ in seen)
        known = [(weight, seconds) for _, weight, seconds in seen if seconds is not None]
        backlog = None
        if known:
            # Those whose run nobody can tell are taken to be like the others.
            share = depth / sum(weight for weight, _ in known)
            backlog = round(share * sum(weight * seconds for weight, seconds in known), 1)
        oldest = min(queued_at for queued_at, _, _ in seen)
        age_seconds = max(0.0, (self._now - oldest).total_seconds())
        return Part(*place, round(depth, 1), round(age_seconds, 3), backlog)

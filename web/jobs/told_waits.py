"""The waits that were told, and what became of them: the error of the estimates, as a number.

Each job that waits is told at its submission between which moments it is likely to begin. That is kept in its
metrics; when it begins, whether it did so between them is kept there, too. Jobs that never began, since they
were canceled or have expired, are not counted, nor are those that were paused before they began.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.broker import route_for
from shared.options import StyleOptions
from web.backend import Backend
from web.db.models import Job
from web.jobs.estimates import wait_ahead
from web.jobs.line import read_queue_to_join
from web.jobs.places import place_to_join
from web.jobs.waits import Range

_KEY = "told_wait"
#: So long a message needs to get from the database to a worker: a job that could start at once starts then.
_MESSAGE_SECONDS = 2.0
#: So many of the jobs that began last are looked at.
_MOST_READ = 200


@dataclass(frozen=True)
class ToldWaits:
    """Of the jobs that began last: how many had been told a wait, and how many of these began as told."""

    count: int = 0
    kept: int = 0

    @property
    def share(self) -> float | None:
        """The share that began as told; None while there are none."""
        return round(self.kept / self.count, 3) if self.count else None


def wait_to_tell(
    backend: Backend, options: StyleOptions, *, job_id: str, priority: int, now: datetime
) -> dict[str, Any]:
    """Return what the metrics of a job that is submitted now keep of the wait it is told; nothing if none is.

    Raises:
        DatabaseUnavailable: when the queue cannot be read.
    """
    route = route_for(options.methods)
    queue = read_queue_to_join(backend, route)  # what the answer then tells rests on the same
    with backend.database.read() as session:
        position = place_to_join(session, route, now, job_id, priority=priority)
    return note_told(wait_ahead(position, queue))


def note_told(wait: Range | None) -> dict[str, Any]:
    """Return what metrics keep of a wait that is told."""
    if wait is None:
        return {}
    return {_KEY: {"likely": wait.likely, "low": wait.low, "high": wait.high}}


def judge_told(metrics: Mapping[str, Any], waited_seconds: float) -> dict[str, Any]:
    """Return the metrics of a job that begins, with whether it waited as told; as they are if none was."""
    told = _told(metrics)
    if told is None:
        return dict(metrics)
    is_kept = told.low - _MESSAGE_SECONDS <= waited_seconds <= told.high + _MESSAGE_SECONDS
    return {**metrics, _KEY: {**metrics[_KEY], "is_kept": is_kept}}


def _told(metrics: object) -> Range | None:
    told = metrics.get(_KEY) if isinstance(metrics, Mapping) else None
    if not isinstance(told, Mapping):
        return None
    values = [told.get(name) for name in ("likely", "low", "high")]
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return None
    likely, low, high = (float(value) for value in values if value is not None)
    return Range(likely, low, high)


def read_told_waits(session: Session) -> ToldWaits:
    """Return what became of the waits that were told to the jobs that began last."""
    query = select(Job.metrics).where(Job.started_at.is_not(None)).order_by(Job.started_at.desc())
    return count_told(session.scalars(query.limit(_MOST_READ)))


def count_told(metrics: Iterable[object]) -> ToldWaits:
    """Return what the metrics of jobs that began say of the waits they were told; others are left out."""
    judged = [
        one[_KEY]["is_kept"]
        for one in metrics
        if _told(one) is not None and isinstance(one, Mapping) and isinstance(one[_KEY].get("is_kept"), bool)
    ]
    return ToldWaits(len(judged), sum(judged))

"""The waits and ends that were told, and what became of them: the error of the estimates, as a number.

Each job that waits is told at its submission between which moments it is likely to begin. That is kept in its
metrics; when it begins, whether it did so between them is kept there, too. Jobs that never began, since they
were canceled or have expired, are not counted, nor are those that were paused before they began. The same
holds for its end: the wait, and the run as `GET /estimate` tells it.
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
from web.jobs.estimates import Estimate, Work, estimate_run, reckon_seconds, wait_ahead
from web.jobs.fairness import FlowKey
from web.jobs.line import read_queue_to_join
from web.jobs.places import place_to_join
from web.jobs.waits import Range

#: What metrics call the two.
WAIT, END = "told_wait", "told_end"
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


@dataclass(frozen=True)
class Prospect:
    """What a new job is reckoned with: its device seconds; and what its metrics keep of its wait."""

    metrics: dict[str, Any]
    estimated_seconds: float


def look_ahead(
    backend: Backend,
    options: StyleOptions,
    work: Work,
    *,
    caller: str,
    job_id: str,
    priority: int,
    now: datetime,
) -> Prospect:
    """Return what a job that is submitted now, and has so much to do, is reckoned with.

    Raises:
        DatabaseUnavailable: when the queue cannot be read.
    """
    route = route_for(options.methods)
    queue = read_queue_to_join(backend, route)  # what the answer then tells rests on the same
    with backend.database.read() as session:
        position = place_to_join(session, FlowKey(caller, route, priority), now, job_id)
    run = estimate_run(work, queue.runs, devices=queue.devices)
    return Prospect(note_told(wait_ahead(position, queue)), reckon_seconds(work, run))


def estimate_end(wait: Range | None, run: Estimate | None) -> Range | None:
    """Return when a job that waits and runs so long is likely to end, from now; None if that is not known."""
    if wait is None or run is None:
        return None
    return Range(wait.likely + run.seconds, wait.low + run.low, wait.high + run.high).rounded()


def note_told(wait: Range | None, end: Range | None = None) -> dict[str, Any]:
    """Return what metrics keep of a wait and an end that are told."""
    told = ((WAIT, wait), (END, end))
    return {
        key: {"likely": one.likely, "low": one.low, "high": one.high} for key, one in told if one is not None
    }


def judge_told(metrics: Mapping[str, Any], waited_seconds: float) -> dict[str, Any]:
    """Return the metrics of a job that begins, with whether it waited as told; as they are if none was."""
    return _judge(metrics, WAIT, waited_seconds)


def judge_end(metrics: Mapping[str, Any], took_seconds: float) -> dict[str, Any]:
    """Return the metrics of a job that succeeds so long after its submission, with whether that was told.

    What was judged before stays: a job that is extended, or made once more, has kept its word or has not.
    """
    return dict(metrics) if judged(metrics, END) else _judge(metrics, END, took_seconds)


def _judge(metrics: Mapping[str, Any], key: str, seconds: float) -> dict[str, Any]:
    told = _told(metrics, key)
    if told is None:
        return dict(metrics)
    is_kept = told.low - _MESSAGE_SECONDS <= seconds <= told.high + _MESSAGE_SECONDS
    return {**metrics, key: {**metrics[key], "is_kept": is_kept}}


@dataclass(frozen=True)
class Judged:
    """What was told, in seconds from the submission, and whether it was so."""

    range: Range
    is_kept: bool


def judged(metrics: object, key: str) -> Judged | None:
    """Return what became of what was told, `WAIT` or `END`; None where nothing was, or it is not known."""
    told = _told(metrics, key)
    is_kept = metrics[key].get("is_kept") if told is not None and isinstance(metrics, Mapping) else None
    return None if told is None or not isinstance(is_kept, bool) else Judged(told, is_kept)


def _told(metrics: object, key: str) -> Range | None:
    told = metrics.get(key) if isinstance(metrics, Mapping) else None
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
    known = [found for one in metrics if (found := judged(one, WAIT)) is not None]
    return ToldWaits(len(known), sum(one.is_kept for one in known))

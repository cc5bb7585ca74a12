"""The projector: event stream → database. Each report is applied exactly once, then acknowledged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from shared.coordination.flags import Flag, Flags
from shared.coordination.progress import ProgressBoard
from shared.coordination.stream import Delivery, EventStream
from shared.errors import UnreadableMessage
from shared.events import EventType, WorkerEvent, read_event
from shared.logs import get_logger
from web.control.projection import decide_projection, write_projection
from web.database import Database
from web.models import Job
from web.repository.history import enter_inbox
from web.repository.jobs import get_jobs
from web.states import PAUSING

_log = get_logger(__name__)
_BATCH = 100
#: Reports to a transaction: many to one wait for the disk, and few enough that others come to write, too.
_TRANSACTION = 50


@dataclass(frozen=True)
class _Applied:
    """A report that was dealt with: the attempt its job was at, and why it was ignored, if it was."""

    event: WorkerEvent
    attempt: int
    ignored: str | None


class Projector:
    """Applies reports in the order of the stream."""

    def __init__(
        self,
        database: Database,
        stream: EventStream,
        board: ProgressBoard,
        flags: Flags,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._stream = stream
        self._board = board
        self._flags = flags
        self._clock = clock
        self._has_pending = True

    def step(self, *, block_ms: int | None) -> int:
        """Apply the next reports, waiting up to `block_ms` milliseconds for one; return how many there were.

        Raises:
            RedisUnavailable, DatabaseUnavailable: what was applied stays applied, and is not applied again.
        """
        # What was delivered but not acknowledged before a fault comes first, or order would be lost.
        deliveries = self._stream.pending(count=_BATCH) if self._has_pending else []
        if not deliveries:
            self._has_pending = False
            deliveries = self._stream.fresh(count=_BATCH, block_ms=block_ms)
        if deliveries:
            self._has_pending = True
            self._apply_all([event for delivery in deliveries if (event := _event(delivery))])
            self._stream.acknowledge(deliveries)
            self._has_pending = False
        return len(deliveries)

    def drain(self) -> None:
        """Apply everything that is in the stream now, however much is added meanwhile."""
        left = self._stream.length()
        while left > 0 and (count := self.step(block_ms=None)):
            left -= count

    def apply(self, event: WorkerEvent) -> None:
        """Apply one report, unless it was applied before; then wake those who watch the job."""
        self._apply_all([event])

    def _apply_all(self, events: list[WorkerEvent]) -> None:
        for start in range(0, len(events), _TRANSACTION):
            with self._database.write() as session:
                applied = self._write(session, events[start : start + _TRANSACTION])
            for told in applied:
                self._tell(told)
            self._board.notify(*{told.event.job_id for told in applied})

    def _write(self, session: Session, events: list[WorkerEvent]) -> list[_Applied]:
        now = self._clock()
        fresh = enter_inbox(session, [event.event_id for event in events], now=now)
        jobs = get_jobs(session, {event.job_id for event in events})
        applied = []
        for event in events:
            if event.event_id not in fresh:
                _log.info("report_repeated", event_id=event.event_id)
                continue
            fresh.remove(event.event_id)  # it may come twice in one group
            applied.append(_write_one(session, jobs.get(event.job_id), event, now=now))
        return applied

    def _tell(self, applied: _Applied) -> None:
        """Log what is committed, and tell those whom it concerns."""
        event = applied.event
        _log.info(
            "report_applied" if applied.ignored is None else "report_ignored",
            job_id=event.job_id, attempt=event.attempt, type=event.type, reason=applied.ignored,
        )  # fmt: skip
        if event.type is EventType.CLAIMED and applied.ignored and event.attempt <= applied.attempt:
            # It was claimed in the very moment it was canceled, paused, expired or deleted. Or Redis lost its
            # fences, and who had lost the job took its lease again, away from the next attempt.
            self._flags.raise_flag(event.job_id, event.attempt, Flag.CANCEL)


def _write_one(session: Session, job: Job | None, event: WorkerEvent, *, now: datetime) -> _Applied:
    if job is None:
        # It was deleted while its message was still about: nobody wants the work.
        return _Applied(event, event.attempt, "there is no such job")
    attempt, pausing = job.attempt, job.status_reason == PAUSING
    projection = decide_projection(job.job_status, attempt, event, pausing=pausing)
    write_projection(session, job, event, projection, now=now)
    return _Applied(event, attempt, projection.ignored)


def _event(delivery: Delivery) -> WorkerEvent | None:
    try:
        return read_event(delivery.text)
    except UnreadableMessage as error:
        _log.error("report_unreadable", entry_id=delivery.entry_id, reason=error.detail)
        return None

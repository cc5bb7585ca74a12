"""The projector: event stream → database. Each report is applied exactly once, then acknowledged."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from shared.coordination.flags import Flag, Flags
from shared.coordination.progress import ProgressBoard
from shared.coordination.stream import Delivery, EventStream
from shared.errors import NotFound, UnreadableMessage
from shared.events import EventType, WorkerEvent, read_event
from shared.logs import get_logger
from web.control.projection import decide_projection, write_projection
from web.database import Database
from web.repository.history import enter_inbox
from web.repository.jobs import get_job
from web.states import PAUSING

_log = get_logger(__name__)
_BATCH = 100


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
            for delivery in deliveries:
                self._apply_delivery(delivery)
            self._stream.acknowledge(deliveries)
            self._has_pending = False
        return len(deliveries)

    def drain(self) -> None:
        """Apply everything that is in the stream now."""
        while self.step(block_ms=None):
            pass

    def apply(self, event: WorkerEvent) -> None:
        """Apply one report, unless it was applied before; then wake those who watch the job."""
        with self._database.write() as session:
            now = self._clock()
            if not enter_inbox(session, event.event_id, now=now):
                _log.info("report_repeated", event_id=event.event_id)
                return
            try:
                job = get_job(session, event.job_id)
            except NotFound:
                _log.warning("report_of_unknown_job", event_id=event.event_id)
                job = None
            if job is not None:
                status, attempt = job.job_status, job.attempt
                pausing = job.status_reason == PAUSING
                projection = decide_projection(status, attempt, event, pausing=pausing)
                write_projection(session, job, event, projection, now=now)
        if job is None:
            if event.type is EventType.CLAIMED:
                # It was deleted, and its message had still been about: nobody wants the work.
                self._flags.raise_flag(event.job_id, event.attempt, Flag.CANCEL)
            return
        _log.info(
            "report_applied" if projection.ignored is None else "report_ignored",
            job_id=event.job_id, attempt=event.attempt, type=event.type, reason=projection.ignored,
        )  # fmt: skip
        if event.type is EventType.CLAIMED and projection.ignored and event.attempt <= attempt:
            # It was claimed in the very moment it was canceled, paused or expired; or Redis lost its fences,
            # and one who had lost the job took its lease again, away from the next attempt: tell the worker.
            self._flags.raise_flag(event.job_id, event.attempt, Flag.CANCEL)
        self._board.notify(event.job_id)

    def _apply_delivery(self, delivery: Delivery) -> None:
        try:
            event = read_event(delivery.text)
        except UnreadableMessage as error:
            _log.error("report_unreadable", entry_id=delivery.entry_id, reason=error.detail)
            return
        self.apply(event)

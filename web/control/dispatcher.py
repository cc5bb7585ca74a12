"""The dispatcher: sends the messages of queued jobs to the broker; a job's row says whether it was sent."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from shared.broker import Dispatch
from shared.logs import get_logger
from shared.options import read_stored_options
from shared.protocol import InputPicture, JobMessage, Origin
from shared.storage.layout import asset_key
from web.backend import Backend
from web.control.projector import Projector
from web.db.models import Job
from web.jobs.queries import QueuedAttempt, dispatched_before, jobs_to_dispatch, mark_dispatched

_log = get_logger(__name__)
_BATCH = 200
_GRACE = timedelta(seconds=5)


def message_for(job: Job) -> JobMessage:
    """Return the message for a job's current attempt."""
    return JobMessage(
        job_id=job.id,
        attempt=job.attempt,
        content=InputPicture(key=asset_key(job.content.sha256), sha256=job.content.sha256),
        style=InputPicture(key=asset_key(job.style.sha256), sha256=job.style.sha256),
        options=read_stored_options(job.options),
        checkpoints_since=job.checkpoints_since,
        origin=_origin(job),
        run_timeout_seconds=job.run_timeout_seconds,
    )


def _origin(job: Job) -> Origin | None:
    if job.origin is None:
        return None
    return Origin(key=job.origin["key"], sha256=job.origin["sha256"], step=job.origin["step"])


class Dispatcher:
    """Sends due messages, and finds messages that the broker has lost."""

    def __init__(self, backend: Backend, dispatch: Dispatch, *, clock: Callable[[], datetime]) -> None:
        self._backend = backend
        self._dispatch = dispatch
        self._taken_for = timedelta(seconds=backend.settings.lease_seconds)
        self._clock = clock

    def send_due(self) -> int:
        """Send the message of every queued job that has none; return how many were sent.

        Raises:
            RedisUnavailable: messages that were not sent stay due.
        """
        with self._backend.database.read() as session:
            due = jobs_to_dispatch(session, limit=_BATCH)
        sent: list[QueuedAttempt] = []
        try:
            for job in due:
                self._dispatch.send(message_for(job))
                sent.append(QueuedAttempt.of(job))
        finally:
            self._mark(sent, self._clock())
        return len(sent)

    def send_lost(self, projector: Projector) -> int:
        """Make attempts due again whose message was sent, but is neither in the broker nor with a worker.

        The order matters: rows, broker, leases, then the rest of the stream; only what is still queued after
        that is lost. A mistake is cheap, since the claim drops a duplicate.
        """
        with self._backend.database.read() as session:
            now = self._clock()
            sent = dispatched_before(session, now - _GRACE, now=now)
        if not sent:
            return 0
        waiting = self._dispatch.waiting_ids(held_since=self._clock() - self._taken_for)
        missing = [attempt for attempt in sent if attempt.message_id not in waiting]
        unheld = set(self._backend.redis.claims.without_lease(attempt.job_id for attempt in missing))
        projector.drain()
        lost = [attempt for attempt in missing if attempt.job_id in unheld]
        if lost:
            _log.warning("messages_lost", count=len(lost), job_ids=[attempt.job_id for attempt in lost[:10]])
        self._mark(lost, None)
        return len(lost)

    def _mark(self, attempts: list[QueuedAttempt], moment: datetime | None) -> None:
        if attempts:
            with self._backend.database.write() as session:
                mark_dispatched(session, attempts, moment)

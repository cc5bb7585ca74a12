"""Deadlines: a job that no worker has started by its queue deadline expires."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

from shared.errors import QueueDeadlinePassed, StaleJob
from shared.logs import get_logger
from shared.redis.live import Flag
from web.backend import Backend
from web.control.alone import FailingJobs
from web.db.models import Job
from web.jobs.queries import jobs_to_expire
from web.jobs.states import Trigger
from web.jobs.transitions import apply_trigger

_log = get_logger(__name__)


class Deadlines:
    """Expires jobs that waited too long."""

    def __init__(self, backend: Backend, *, clock: Callable[[], datetime]) -> None:
        self._backend = backend
        self._clock = clock
        self._failing = FailingJobs(clock=clock)

    @property
    def skipped(self) -> int:
        """How many jobs could not be expired since the start, each counted once a minute."""
        return self._failing.count

    def expire(self) -> int:
        """Expire every queued job whose queue deadline is over; return how many there were."""
        now = self._clock()
        with self._backend.database.read() as session:
            due = jobs_to_expire(session, now)
        return sum(bool(self._failing.attempt(job.id, partial(self._expire_one, job, now))) for job in due)

    def _expire_one(self, job: Job, now: datetime) -> bool:
        deadline = job.queue_deadline or now
        error = QueueDeadlinePassed(f"the deadline was {deadline:%-d %b %Y, %H:%M:%S} UTC")
        try:
            with self._backend.database.write() as session:
                current = session.merge(job, load=False)
                values = {"error": error.to_json(), "leader_id": None}
                apply_trigger(session, current, Trigger.EXPIRE, now=now, values=values)
        except StaleJob:
            return False  # it was claimed, canceled or paused in this very moment
        _log.info("job_expired", job_id=job.id)
        self._backend.redis.flags.raise_flag(job.id, job.attempt, Flag.CANCEL)
        self._backend.redis.progress.notify(job.id)
        return True

"""The rescuer: a job with a lost lease is repaired from its commit marker, tried again, or ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from shared.errors import StaleJob, WorkerLost
from shared.logs import get_logger
from shared.redis.live import Flag
from shared.status import JobStatus
from shared.trace import trace_facts
from web.backend import Backend
from web.control.alone import FailingJobs
from web.control.projector import Projector
from web.control.results import find_result, success_event
from web.control.stale import StaleAttempts
from web.db.models import Job
from web.db.totals import Total, add
from web.jobs.actions import next_attempt
from web.jobs.queries import get_job, get_jobs, jobs_held_by_workers
from web.jobs.routing import queue_rank
from web.jobs.states import PAUSING, RESULT_MISSING, WORKER_LOST, Trigger
from web.jobs.transitions import apply_trigger, method_of, save_attempt

_log = get_logger(__name__)
#: A client of NFS remembers for up to a minute that a file is not there.
_SIGHT_DELAY = timedelta(seconds=60)


@dataclass(frozen=True)
class Rescue:
    """What to do about a lost lease: the trigger, and the number of the next attempt, if there is one."""

    trigger: Trigger
    next_attempt: int | None = None


def decide_rescue(
    status: JobStatus, attempt: int, *, lost_workers: int, max_attempts: int, pausing: bool = False
) -> Rescue:
    """Decide about a job without lease and marker; `lost_workers` is how many were lost before this one."""
    if status is JobStatus.CANCELING:
        return Rescue(Trigger.LEASE_LOST)
    if pausing:
        return Rescue(Trigger.PAUSED)
    if lost_workers + 1 >= max_attempts:
        return Rescue(Trigger.ATTEMPTS_EXHAUSTED)
    return Rescue(Trigger.LEASE_LOST, next_attempt=attempt + 1)


class Rescuer:
    """Finds and rescues running jobs that no worker holds a lease on."""

    def __init__(self, backend: Backend, stale: StaleAttempts, *, clock: Callable[[], datetime]) -> None:
        self._backend = backend
        self._stale = stale
        self._clock = clock
        self._missing_since: dict[tuple[str, int], datetime] = {}
        self._failing = FailingJobs(clock=clock)

    @property
    def skipped(self) -> int:
        """How many jobs could not be rescued since the start, each counted once a minute."""
        return self._failing.count

    def rescue(self, projector: Projector) -> int:
        """Rescue every job without a lease; return how many there were.

        The order matters: leases first, then the rest of the stream, then the markers. Otherwise a job that
        ends in between would count as lost, and be computed twice.
        """
        with self._backend.database.read() as session:
            held = jobs_held_by_workers(session)
        for job in held:
            if job.status == JobStatus.CANCELING.value:
                self._backend.redis.flags.raise_flag(job.id, job.attempt, Flag.CANCEL)
            elif job.status_reason == PAUSING:
                self._backend.redis.flags.raise_flag(job.id, job.attempt, Flag.PAUSE)
        lost = set(self._backend.redis.claims.without_lease(job.id for job in held))
        if not lost:
            return 0
        self._backend.check_storage()
        projector.drain()
        with self._backend.database.read() as session:
            rows = get_jobs(session, lost)
        # A job that has ended or was claimed again by those reports is not lost.
        suspects = [rows[job.id] for job in held if job.id in lost and _is_as_seen(rows.get(job.id), job)]
        still_lost = set(self._backend.redis.claims.without_lease(job.id for job in suspects))
        fences = self._backend.redis.claims.fences(sorted(still_lost))
        return sum(
            bool(self._failing.attempt(job.id, partial(self._rescue_one, job, projector, fences.get(job.id))))
            for job in suspects
            if job.id in still_lost
        )

    def _rescue_one(self, seen: Job, projector: Projector, fence: int | None) -> bool:
        marker = find_result(self._backend, seen, seen.attempt)
        if marker is not None:
            facts = trace_facts(seen.traceparent)
            _log.warning("report_repaired", job_id=seen.id, attempt=seen.attempt, **facts)
            projector.apply(success_event(seen, marker))
            return True
        # A fence right above is that of this attempt's own end.
        if fence is not None and fence > seen.attempt + 1:
            return self._stale.settle(seen, fence)
        if seen.status_reason == RESULT_MISSING and self._may_appear(seen):
            return False
        try:
            with self._backend.database.write() as session:
                job = get_job(session, seen.id)
                if not _is_as_seen(job, seen):
                    return False
                rescue = decide_rescue(
                    job.job_status, job.attempt, lost_workers=job.lost_workers,
                    max_attempts=job.max_attempts, pausing=job.status_reason == PAUSING,
                )  # fmt: skip
                save_attempt(session, job.id, job.attempt, ended_at=self._clock(), outcome=WORKER_LOST)
                apply_trigger(
                    session, job, rescue.trigger, now=self._clock(), reason=WORKER_LOST,
                    values=_values(job, rescue),
                )  # fmt: skip
                add(session, Total.LEASE_LOSSES, method=method_of(job))
                status, attempt = job.job_status, job.attempt
        except StaleJob as error:
            _log.info("rescue_stale", job_id=seen.id, reason=error.detail)
            return False
        _log.warning(
            "job_rescued",
            job_id=seen.id, attempt=attempt, status=status, worker_id=seen.worker_id,
            **trace_facts(seen.traceparent),
        )  # fmt: skip
        # Also when the job ended: a worker that was only suspended must learn that it lost the job.
        self._backend.redis.claims.fence(seen.id, seen.attempt + 1)
        self._backend.redis.progress.notify(seen.id)
        return True

    def _may_appear(self, seen: Job) -> bool:
        """Whether a result that was reported may still come in sight."""
        now = self._clock()
        recent = {key: since for key, since in self._missing_since.items() if now - since < 2 * _SIGHT_DELAY}
        since = recent.setdefault((seen.id, seen.attempt), now)
        self._missing_since = recent
        return abs(now - since) < _SIGHT_DELAY


def _is_as_seen(job: Job | None, seen: Job) -> bool:
    """Whether a job still has the attempt and worker that `seen` has."""
    if job is None or job.job_status not in (JobStatus.RUNNING, JobStatus.CANCELING):
        return False
    return (job.attempt, job.worker_id) == (seen.attempt, seen.worker_id)


def _values(job: Job, rescue: Rescue) -> dict[str, Any]:
    lost = {"lost_workers": job.lost_workers + 1}
    if rescue.next_attempt is not None:
        return lost | next_attempt(job) | {"queue_rank": queue_rank(job.priority, is_handed_back=True)}
    if rescue.trigger is Trigger.ATTEMPTS_EXHAUSTED:
        detail = f"its workers were lost {job.lost_workers + 1} times; no more than that is tried unasked"
        return lost | {"error": WorkerLost(detail).to_json()}
    return lost

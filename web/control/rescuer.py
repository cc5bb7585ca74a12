"""The rescuer: a job with a lost lease is repaired from its commit marker, tried again, or ended."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.errors import ArtifactCorrupt, ArtifactMissing, StaleJob, WorkerLost
from shared.logs import get_logger
from shared.protocol import EventType, JobMessage, ResultMarker, WorkerEvent, read_marker
from shared.redis.live import Flag
from shared.status import JobStatus
from shared.storage.layout import marker_key
from shared.storage.verify import file_fault
from web.backend import Backend
from web.control.dispatcher import message_for
from web.control.projector import Projector
from web.db.models import Job
from web.jobs.actions import next_attempt
from web.jobs.queries import get_job, get_jobs, jobs_held_by_workers
from web.jobs.states import PAUSING, WORKER_LOST, Trigger
from web.jobs.transitions import apply_trigger, save_attempt

_log = get_logger(__name__)


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

    def __init__(self, backend: Backend, *, clock: Callable[[], datetime]) -> None:
        self._backend = backend
        self._clock = clock

    def rescue(self, projector: Projector) -> int:
        """Rescue every job without a lease; return how many there were.

        The order matters: leases first, then the rest of the stream, then the markers. Otherwise a job that
        ends in between would count as lost, and be computed twice.
        """
        with self._backend.database.read() as session:
            held = jobs_held_by_workers(session)
        for job in held:
            if job.job_status is JobStatus.CANCELING:
                self._backend.redis.flags.raise_flag(job.id, job.attempt, Flag.CANCEL)
            elif job.status_reason == PAUSING:
                self._backend.redis.flags.raise_flag(job.id, job.attempt, Flag.PAUSE)
        lost = set(self._backend.redis.claims.without_lease(job.id for job in held))
        if not lost:
            return 0
        projector.drain()
        with self._backend.database.read() as session:
            rows = get_jobs(session, lost)
        # A job that has ended or was claimed again by those reports is not lost.
        suspects = [job for job in held if job.id in lost and _is_as_seen(rows.get(job.id), job)]
        still_lost = set(self._backend.redis.claims.without_lease(job.id for job in suspects))
        return sum(self._rescue_one(job, projector) for job in suspects if job.id in still_lost)

    def _rescue_one(self, seen: Job, projector: Projector) -> bool:
        marker = self._marker(seen)
        if marker is not None:
            _log.warning("report_repaired", job_id=seen.id, attempt=seen.attempt)
            projector.apply(_success(message_for(seen), marker, self._clock()))
            return True
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
                status, attempt = job.job_status, job.attempt
        except StaleJob as error:
            _log.info("rescue_stale", job_id=seen.id, reason=error.detail)
            return False
        _log.warning("job_rescued", job_id=seen.id, attempt=attempt, status=status, worker_id=seen.worker_id)
        # Also when the job ended: a worker that was only suspended must learn that it lost the job.
        self._backend.redis.claims.fence(seen.id, seen.attempt + 1)
        self._backend.redis.progress.notify(seen.id)
        return True

    def _marker(self, seen: Job) -> ResultMarker | None:
        """Return the marker of a job's attempt, if it is of what the row asks for, and its outputs are there.

        One that is of something else (another timeline, after a backup was put back) is set aside: the place
        is this attempt's own.
        """
        storage, key = self._backend.storage, marker_key(seen.id, seen.attempt)
        try:
            data = storage.read(key)
        except ArtifactMissing:
            return None
        try:
            marker = read_marker(data)
            mismatch = marker.mismatch(message_for(seen))
        except ArtifactCorrupt as error:
            mismatch = error.detail
        if mismatch is not None:
            _log.error("marker_set_aside", job_id=seen.id, attempt=seen.attempt, reason=mismatch)
            storage.set_aside(key, sha256=hashlib.sha256(data).hexdigest())
            return None
        for output in marker.outputs:
            fault = file_fault(storage, output.key, size_bytes=output.size_bytes, sha256=output.sha256)
            if fault is not None:
                _log.error("marker_not_believed", job_id=seen.id, attempt=seen.attempt, reason=fault)
                return None
        return marker


def _is_as_seen(job: Job | None, seen: Job) -> bool:
    """Whether a job still has the attempt and worker that `seen` has."""
    if job is None or job.job_status not in (JobStatus.RUNNING, JobStatus.CANCELING):
        return False
    return (job.attempt, job.worker_id) == (seen.attempt, seen.worker_id)


def _values(job: Job, rescue: Rescue) -> dict[str, Any]:
    lost = {"lost_workers": job.lost_workers + 1}
    if rescue.next_attempt is not None:
        return lost | next_attempt(job)
    if rescue.trigger is Trigger.ATTEMPTS_EXHAUSTED:
        detail = f"its workers were lost {job.lost_workers + 1} times; no more than that is tried unasked"
        return lost | {"error": WorkerLost(detail).to_json()}
    return lost


def _success(message: JobMessage, marker: ResultMarker, now: datetime) -> WorkerEvent:
    return WorkerEvent(
        event_id=f"{message.message_id}:{EventType.SUCCEEDED}",
        type=EventType.SUCCEEDED,
        job_id=message.job_id,
        attempt=message.attempt,
        at=now,
        data=marker.model_dump(mode="json"),
    )

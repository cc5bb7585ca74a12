"""The blame for a job that a node handed back: what control itself sees, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from shared.errors import AtelierError, RedisUnavailable, ServiceError
from shared.installation import check_identity
from shared.logs import get_logger
from shared.protocol import EventType, WorkerEvent
from shared.status import JobStatus
from shared.storage.layout import asset_key
from shared.storage.verify import file_fault
from web.backend import Backend
from web.db.models import Job
from web.jobs.faults import OF_FILES, decide_fault, earlier_faults, read_fault
from web.jobs.queries import get_jobs
from web.jobs.states import PAUSING

_log = get_logger(__name__)


def find_failures(backend: Backend, events: Iterable[WorkerEvent]) -> dict[str, dict[str, Any]]:
    """Return the errors of those reports that do not only give a job back, but make it fail, by event id.

    To be called before the transaction that applies them: storage and Redis are asked. The faults of one
    group are judged one after the other, since the row knows of none of them yet.

    Raises:
        DatabaseUnavailable: when the rows cannot be read.
    """
    faults = [
        (event, fault)
        for event in events
        if event.type is EventType.RELEASED and (fault := read_fault(event.data)) is not None
    ]
    if not faults:
        return {}
    with backend.database.read() as session:
        jobs = get_jobs(session, {event.job_id for event, _ in faults})
    earlier = {job_id: earlier_faults(job.metrics) for job_id, job in jobs.items()}
    failures = {}
    for event, fault in faults:
        job = jobs.get(event.job_id)
        if job is None or event.attempt != job.attempt:
            continue
        error = decide_fault(
            fault,
            earlier[job.id],
            has_others=_has_others(backend, fault.worker),
            damage=_damage(backend, job) if fault.code in OF_FILES else None,
        )
        earlier[job.id] = [*earlier[job.id], fault.to_json()]
        _log.warning(
            "job_handed_back", job_id=job.id, worker_id=fault.worker, code=fault.code, fails=error is not None
        )
        if error is not None:
            failures[event.event_id] = error
    return failures


def as_failure(job: Job, event: WorkerEvent, failures: Mapping[str, dict[str, Any]]) -> WorkerEvent:
    """Return a report that gives a job back as that of a failure, if it is one and nobody stops the job."""
    error = failures.get(event.event_id)
    is_wanted = job.job_status in (JobStatus.QUEUED, JobStatus.RUNNING) and job.status_reason != PAUSING
    if error is None or not is_wanted:
        return event
    return event.model_copy(update={"type": EventType.FAILED, "data": {"error": error}})


def _has_others(backend: Backend, worker: str) -> bool:
    try:
        alive = backend.redis.workers.alive()
    except RedisUnavailable:
        return True  # to fail a job is what cannot be taken back
    return any(beat.takes_jobs and beat.worker_id != worker for beat in alive)


def _damage(backend: Backend, job: Job) -> str | None:
    """Return what is wrong with the files that a job needs; None also when they cannot be looked at."""
    storage = backend.storage
    files = [(asset_key(asset.sha256), asset.sha256) for asset in (job.content, job.style)]
    if job.origin is not None:
        files.append((job.origin["key"], job.origin["sha256"]))
    try:
        check_identity(storage, backend.redis.names)
        return next(
            (fault for key, sha256 in files if (fault := file_fault(storage, key, sha256=sha256))), None
        )
    except ServiceError as error:
        _log.error("inputs_not_seen", job_id=job.id, code=error.code, reason=error.detail)
        return None
    except AtelierError as error:
        return error.detail

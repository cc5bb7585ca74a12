"""What people ask of a job, carried out: the row first, then the word to whoever works on it or watches."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

from sqlalchemy.orm import Session

from shared.coordination.flags import Flag
from shared.errors import ArtifactMissing, RedisUnavailable, StaleJob, StorageUnavailable
from shared.logs import get_logger
from shared.status import JobStatus
from shared.storage.layout import job_folder
from web.kept_checkpoint import find_kept
from web.models import Job
from web.repository import requests
from web.repository.idempotency import NoteKey, note_no_key
from web.repository.jobs import get_job
from web.services import Services

_TRIES = 5
#: A queued job counts: its message may have been taken in this very moment.
_PERHAPS_HELD = (JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.CANCELING)
_log = get_logger(__name__)

#: A write of a job's row, as `web.repository.requests` has them.
Write = Callable[[Session, Job], None]


def cancel_job(services: Services, job_id: str, *, caller: str, now: datetime) -> None:
    """Cancel a caller's job.

    Raises:
        NotFound: when there is none with this id.
        InvalidState: when its status does not allow it.
        StaleJob: when others kept changing it. The same holds for all functions here.
    """
    write = partial(requests.cancel_job, now=now)
    _change(services, job_id, write, caller=caller, flag=Flag.CANCEL)


def pause_job(services: Services, job_id: str, *, caller: str, now: datetime) -> None:
    """Pause a caller's job; a running one is paused when its worker has saved a checkpoint."""
    write = partial(requests.pause_job, now=now)
    _change(services, job_id, write, caller=caller, flag=Flag.PAUSE)


def resume_job(services: Services, job_id: str, *, caller: str, now: datetime) -> None:
    """Let a caller's paused job go on."""
    _change(services, job_id, partial(requests.resume_job, now=now), caller=caller)


def retry_job(services: Services, job_id: str, *, caller: str, now: datetime, from_zero: bool) -> None:
    """Let a caller's job that did not succeed be tried again."""
    write = partial(requests.retry_job, now=now, from_zero=from_zero)
    _change(services, job_id, write, caller=caller)


def extend_job(
    services: Services,
    job_id: str,
    *,
    caller: str,
    now: datetime,
    steps: int,
    note_key: NoteKey = note_no_key,
) -> None:
    """Let a caller's succeeded job make more steps.

    Raises:
        NotReady: when its last checkpoint is not kept.
        InvalidOptions: when a job may not have so many steps.
        StorageUnavailable: when it cannot be told whether the checkpoint is kept.
    """
    with services.database.read() as session:
        job = get_job(session, job_id, caller=caller)
    # The row may be there while the file is not: then the worker could only fail.
    if job.job_status is JobStatus.SUCCEEDED:
        find_kept(services, job, job.step)

    def write(session: Session, job: Job) -> None:
        requests.extend_job(session, job, steps=steps, now=now)
        note_key(session, job.id)

    _change(services, job_id, write, caller=caller)


def delete_job(services: Services, job_id: str, *, caller: str) -> None:
    """Remove a caller's job that has ended, and all of its files.

    The row goes first: what a crash or a failing storage leaves is a folder without a job, and the pruner's.

    Raises:
        NotTerminal: when it has not ended.
    """
    _change(services, job_id, requests.delete_job, caller=caller)
    try:
        services.storage.delete_tree(job_folder(job_id))
    except (StorageUnavailable, ArtifactMissing) as error:
        _log.warning("files_left", job_id=job_id, detail=error.detail)
    _log.info("job_deleted", job_id=job_id)


def decide_flag(before: JobStatus, flag: Flag | None) -> Flag | None:
    """Decide what a worker is told after a request of a job that was at this status."""
    return flag if before in _PERHAPS_HELD else None


def _change(
    services: Services,
    job_id: str,
    write: Write,
    *,
    caller: str,
    flag: Flag | None = None,
) -> None:
    """Write a change, again while others are quicker; then tell worker and watchers."""
    for left in reversed(range(_TRIES)):
        try:
            with services.database.write() as session:
                job = get_job(session, job_id, caller=caller)
                before, attempt = job.job_status, job.attempt
                write(session, job)
            break
        except StaleJob:
            if not left:
                raise
    _tell(services, job_id, attempt, decide_flag(before, flag))


def _tell(services: Services, job_id: str, attempt: int, flag: Flag | None) -> None:
    """Tell the worker and those who watch; the control process raises a flag again that gets lost."""
    try:
        if flag is not None:
            services.flags.raise_flag(job_id, attempt, flag)
        services.board.notify(job_id)
    except RedisUnavailable as error:
        _log.warning("request_not_told", job_id=job_id, flag=flag, detail=error.detail)
